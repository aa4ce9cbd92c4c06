"""K-means: an exact inference, Lloyd's steps against scikit-learn's, repaired centers, and good starts."""

from __future__ import annotations

import warnings

import pytest
import torch
from sklearn.cluster import KMeans as SklearnKMeans
from sklearn.cluster import kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor, nn

from ebm import Choices, min_over, minimize
from ebm.infer import Enumerate, GradientDescent
from ebm.infer.starts import Zeros
from ebm.regularized import KMeans
from ebm.regularized.lloyd import plus_plus
from ebm.solution import Stop


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(rows: int, k: int, seed: int = 0) -> Tensor:
    which = torch.randint(0, k, (rows,), generator=seeded(seed))
    return 10 * draw(k, 3, seed=seed + 1)[which] + draw(rows, 3, seed=seed + 2)


@pytest.fixture
def model():
    return KMeans(draw(6, 3))


@pytest.fixture
def y():
    return draw(40, 3, seed=1)


def test_inference_is_enumeration(model, y):
    oracle = minimize(model, Choices(torch.zeros(40, dtype=torch.int64), 6), Enumerate(), given={"y": y})
    found = model.infer(y)
    assert torch.equal(found.value, oracle.value) and found.converged.all()
    torch.testing.assert_close(found.energy, oracle.energy)
    assert set(found.stopped_by.tolist()) == {Stop.EXHAUSTED}
    torch.testing.assert_close(model.decode(found.value), model.centers[oracle.value])


def test_free_energy_and_its_gradient(model, y):
    free = min_over(model, "z", Enumerate(), Choices(Zeros(), 6))
    torch.testing.assert_close(model.free_energy(y=y), free(y=y))
    y.requires_grad_()
    (slope,) = torch.autograd.grad(model.free_energy(y=y).sum(), y)
    torch.testing.assert_close(slope, 2 * (y - model.decode(model.infer(y).value)).detach())
    ended = minimize(model.free_energy, y.detach(), GradientDescent(0.25), max_steps=200, tol=1e-8)
    torch.testing.assert_close(ended.value, model.decode(model.infer(ended.value).value), atol=1e-7, rtol=0)


def test_a_row_of_nan_poisons_itself_alone(model, y):
    clean = model.free_energy(y=y)
    y[3, 1] = torch.nan
    poisoned = model.free_energy(y=y)
    assert poisoned[3].isnan() and torch.equal(poisoned[4:], clean[4:])
    with pytest.raises(ValueError, match=r"1 of 40 rows, \[3\]"):
        model.infer(y)


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("tol", [0.0, 1e-3])
def test_lloyd_is_that_of_scikit_learn(offset, tol):
    y = draw(1500, 4) + offset
    start = y[:20].clone()
    model = KMeans(start.clone())
    history = model.fit(y, tol=tol)
    theirs = SklearnKMeans(20, init=start.numpy(), n_init=1, tol=tol, algorithm="lloyd").fit(y.numpy())
    torch.testing.assert_close(model.centers, torch.from_numpy(theirs.cluster_centers_))
    assert history.rows[-1]["inertia"] == pytest.approx(theirs.inertia_, rel=1e-8)
    assert torch.equal(model.infer(y).value, torch.from_numpy(theirs.labels_).long())
    assert len(history) == theirs.n_iter_ + (tol > 0)  # ours looks once more where the centers still moved


def test_inertia_falls_and_is_the_energy_of_the_data():
    y = draw(800, 3)
    model = KMeans.from_data(y, 12, start="random", generator=seeded())
    before = float(model.free_energy(y=y).sum())
    history = model.fit(y, tol=0)
    inertia = history.column("inertia")
    assert float(inertia[0]) == pytest.approx(before, rel=1e-10)
    assert (inertia.diff() <= 1e-9 * inertia[0]).all() and inertia[-1] < 0.9 * inertia[0]
    assert float(inertia[-1]) == pytest.approx(float(model.free_energy(y=y).sum()), rel=1e-10)
    assert history.column("moved")[-1] == 0
    one_more = model.centers.clone()
    model.fit(y, tol=0)  # at rest
    torch.testing.assert_close(model.centers, one_more)


def test_every_center_is_the_mean_of_its_rows():
    y = blobs(600, 5)
    model = KMeans.from_data(y, 5, generator=seeded())
    model.fit(y, tol=0)
    z = model.infer(y).value
    for k in range(5):
        torch.testing.assert_close(model.centers[k], y[z == k].mean(0))


@pytest.mark.parametrize("steps", [1, 300])
def test_a_center_without_rows_takes_the_farthest_row(steps):
    y = torch.cat([draw(50, 2), draw(50, 2, seed=1) + 20, torch.tensor([[60.0, 60.0]], dtype=torch.float64)])
    start = torch.stack([y[0], y[50], torch.tensor([-500.0, 500.0], dtype=torch.float64)])
    model = KMeans(start.clone())
    history = model.fit(y, tol=0, max_steps=steps)
    theirs = SklearnKMeans(3, init=start.numpy(), n_init=1, tol=0, algorithm="lloyd", max_iter=steps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs.fit(y.numpy())
    assert history.rows[0]["repaired"] == 1 and sum(history.column("repaired")) == 1
    torch.testing.assert_close(model.centers, torch.from_numpy(theirs.cluster_centers_))
    assert model.centers[2].tolist() == pytest.approx([60.0, 60.0])


def test_more_centers_than_places():
    y = torch.eye(2, dtype=torch.float64).repeat(5, 1)
    model = KMeans(y[:4].clone())
    history = model.fit(y)
    assert history.rows[-1]["inertia"] < 1e-12 and torch.isfinite(model.centers).all()


def test_restarts_keep_the_best():
    y = blobs(400, 8)
    start = y[torch.zeros(8, dtype=torch.int64)] + 0.01 * draw(8, 3)  # all in one blob
    once, often = KMeans(start.clone()), KMeans(start.clone())
    stuck = once.fit(y).rows[-1]["inertia"]
    history = often.fit(y, n_init=6, generator=seeded())
    assert history.rows[-1]["inertia"] < 0.7 * stuck
    assert float(often.free_energy(y=y).sum()) == pytest.approx(history.rows[-1]["inertia"], rel=1e-9)


def test_plus_plus_draws_in_proportion_to_the_squared_distance():
    """With one draw a center (K = 2 has 2 draws, so the odds of the better of two) on three places."""
    y = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)
    generator, counts = seeded(), torch.zeros(3, 3)
    for _ in range(4000):
        pair = plus_plus(y, 2, generator).flatten().tolist()
        counts[[0, 1, 3].index(pair[0]), [0, 1, 3].index(pair[1])] += 1
    # after row 0: distances 0, 1, 9; either center leaves 1 (center 3: row 1 costs 1) or 4 (center 1)
    for first, second, chance in (
        (0, 2, 1 - 0.1**2),
        (1, 2, 1 - 0.2**2),
    ):  # that one draw of two is the better
        total = float(counts[first].sum())
        error = (chance * (1 - chance) / total) ** 0.5
        assert abs(float(counts[first, second]) / total - chance) < 4 * error
    assert abs(float(counts.sum(1)[0]) / 4000 - 1 / 3) < 4 * (2 / 9 / 4000) ** 0.5
    assert counts.diagonal().sum() == 0


def test_plus_plus_is_as_good_as_scikit_learns():
    y = draw(1500, 4)

    def inertia(centers: Tensor) -> float:
        return float(KMeans(centers).free_energy(y=y).sum())

    ours = torch.tensor([inertia(plus_plus(y, 30, seeded(s))) for s in range(20)])
    theirs = torch.tensor(
        [inertia(torch.from_numpy(kmeans_plusplus(y.numpy(), 30, random_state=s)[0])) for s in range(20)]
    )
    error = ((ours.var() + theirs.var()) / 20).sqrt()
    assert (ours.mean() - theirs.mean()).abs() < 4 * error and error < 0.02 * theirs.mean()
    plain = torch.tensor([inertia(y[torch.randperm(1500, generator=seeded(s))[:30]]) for s in range(20)])
    assert ours.mean() < plain.mean() - 4 * error


def test_the_same_generator_the_same_answer():
    y = blobs(300, 4)
    one, other = (KMeans.from_data(y, 6, generator=seeded(5)) for _ in range(2))
    assert torch.equal(one.centers, other.centers)
    assert len({tuple(row) for row in KMeans.from_data(y, 6, start="random").centers.tolist()}) == 6


def test_float32_data_and_parameters():
    y = blobs(300, 4).float()
    model = KMeans(nn.Parameter(y[:4].clone()))
    model.fit(y)
    assert model.centers.dtype == torch.float32 and isinstance(model.centers, nn.Parameter)
    assert set(model.state_dict()) == {"centers"}


def test_bad_input(model, y):
    with pytest.raises(ValueError, match=r"centers are \(K, D\)"):
        KMeans(torch.zeros(3))
    with pytest.raises(ValueError, match=r"y must be \(B, 3\)"):
        model.infer(y[:, :2])
    with pytest.raises(TypeError, match=r"z numbers centers, \(B,\) int64"):
        model(y=y, z=torch.zeros(40, 1))
    with pytest.raises(ValueError, match="at least 41 rows of data are needed; there are 40"):
        KMeans.from_data(y, 41)
    with pytest.raises(ValueError, match="start is one of 'k-means\\+\\+', 'random'; got 'best'"):
        KMeans.from_data(y, 4, start="best")
    with pytest.raises(ValueError, match="n_init must be an integer"):
        model.fit(y, n_init=0)
    y[7, 0] = torch.inf
    with pytest.raises(ValueError, match=r"NaN or infinity in 1 of 40 rows, \[7\]"):
        model.fit(y)
    with pytest.raises(ValueError, match=r"data are \(N, 3\)"):
        model.fit(y[:, :2])
