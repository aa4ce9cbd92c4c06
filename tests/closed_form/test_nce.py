"""Losses that classify, NCE, conditional NCE and InfoNCE, against their formulas and limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal

from ebm import Energy, energy, min_over
from ebm.binder import Binder
from ebm.contrastive import NCE, ConditionalNCE, ConditionalNoise, InfoNCE
from ebm.contrastive.pairs import all_pairs
from ebm.infer import LBFGS
from ebm.infer.starts import Zeros
from ebm.regularized import Flow
from ebm.targets import Banana, Gaussian, Rosenbrock
from ebm.testing.loss_problem import Ellipsoid, Precisions
from ebm.testing.loss_recovery import LossMember, estimated
from ebm.train import fit

DOUBLE = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DOUBLE)


def normal(dim: int, variance: float = 1.0) -> Gaussian:
    return Gaussian(torch.zeros(dim, dtype=DOUBLE), variance * torch.eye(dim, dtype=DOUBLE))


# --- NCE ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ratio", "value"), [(1, 1.38629), (2, 1.90954), (5, 2.70337)])
def test_nce_of_a_model_that_is_the_noise(ratio: int, value: float) -> None:
    noise = normal(2)
    output = NCE(noise, ratio, log_z=noise.log_z).double()(noise, seeded(), y=draw(5, 2))
    exact = (1 + ratio) * math.log(1 + ratio) - ratio * math.log(ratio)
    assert exact == pytest.approx(value, abs=1e-5)
    torch.testing.assert_close(output.loss.item(), exact, rtol=1e-6, atol=0)  # log_z was a float32


def test_nce_is_its_formula() -> None:
    noise, ratio, y = normal(2, 1.7), 3, draw(6, 2)
    loss, model = NCE(noise, ratio, log_z=0.25).double(), Ellipsoid(2)
    output = loss(model, seeded(4), y=y)
    drawn = noise.exact_samples(18, seeded(4))
    known = MultivariateNormal(torch.zeros(2, dtype=DOUBLE), 1.7 * torch.eye(2, dtype=DOUBLE))

    def classified(points: Tensor) -> Tensor:
        ratio_of_densities = torch.exp(-model(y=points) - loss.log_z - known.log_prob(points))
        return ratio_of_densities / (ratio_of_densities + ratio)  # p / (p + ν p_n), the posterior of data

    expected = -classified(y).log().mean() - ratio * (1 - classified(drawn)).log().mean()
    torch.testing.assert_close(output.loss, expected)
    torch.testing.assert_close(output.terms["energy off data"], model(y=drawn).mean().detach())


@pytest.mark.parametrize("dim", [1, 2])  # and in more the contract of losses does
def test_nce_finds_log_z(dim: int) -> None:
    member = LossMember(lambda d, y: NCE(normal(d, 1.5), 4, variable=y))
    estimate, errors = estimated(member, dim)
    log_z = 0.5 * (math.log(2 * math.pi) - Precisions().truth(dim).log()).sum()
    assert abs(estimate[-1] - log_z) < 4 * errors[-1]
    assert errors[-1] < 0.1


def test_fit_learns_log_z_and_shows_the_gap() -> None:
    y = draw(500, 1)
    model, loss = Ellipsoid(1), NCE(normal(1, 2.0), 2)
    adam = partial(torch.optim.Adam, lr=0.02)
    history = fit(model, loss, y, optimizer=adam, steps=200, batch_size=100, progress=False)
    assert abs(loss.log_z.item() - 0.5 * math.log(2 * math.pi)) < 0.15
    assert history.rows[-1]["energy gap"] > 0
    assert history.rows[0]["log Z"] == 0


def test_nce_takes_a_flow_as_noise_and_leaves_it_alone() -> None:
    y = draw(50, 2)
    flow = Flow.from_data(y, couplings=1)
    loss = NCE(flow, noise_log_z=0.0)
    loss(Ellipsoid(2), seeded(), y=y).loss.backward()
    assert all(p.grad is None for p in flow.parameters())


def test_nce_says_what_it_needs() -> None:
    with pytest.raises(TypeError, match=r"log Z of Rosenbrock is not known.*noise_log_z"):
        NCE(Rosenbrock(3))
    with pytest.raises(TypeError, match="neither `exact_samples"):
        NCE(energy(lambda y: y.sum(1)), noise_log_z=0.0)
    with pytest.raises(TypeError, match="energy of one variable"):
        NCE(energy(lambda x, y: (x + y).sum(1)))
    with pytest.raises(ValueError, match="ratio must be an integer"):
        NCE(normal(1), 0)
    with pytest.raises(ValueError, match=r"draws points of shape \(2,\).*\(3,\).*3"):
        NCE(Banana().double())(Ellipsoid(3), y=draw(2, 3))
    with pytest.raises(ValueError, match=r"density 0 at 1 rows of the data, \[1\]"):
        NCE(Half(), noise_log_z=0.0)(Ellipsoid(1), seeded(), y=torch.tensor([[0.5], [-0.5]], dtype=DOUBLE))


class Half(Energy):
    """Uniform on [0, 1]."""

    def forward(self, y: Tensor) -> Tensor:
        return torch.where((y >= 0) & (y <= 1), 0.0, torch.inf).sum(1)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        return torch.rand(n, 1, generator=generator, dtype=DOUBLE)


def test_noise_of_vectors_fits_data_of_images() -> None:
    def image(y: Tensor) -> Tensor:
        return 0.5 * y.flatten(1).square().sum(1)

    y = draw(5, 2, 3)
    loss = NCE(normal(6), log_z=normal(6).log_z).double()
    torch.testing.assert_close(
        loss(energy(image), seeded(), y=y).loss.item(), 2 * math.log(2), rtol=1e-6, atol=0
    )


# --- conditional NCE ----------------------------------------------------------------------------------------


class BothWays(ConditionalNoise):
    """y' = y ± ε, once each."""

    def __init__(self, step: float):
        self.step = step

    def draw(self, y: Tensor, k: int, generator: torch.Generator | None = None) -> Tensor:
        return torch.stack([y + self.step, y - self.step], 1)

    def log_ratio(self, y: Tensor, there: Tensor) -> Tensor:
        return y.new_zeros(there.shape[:2])


def test_conditional_nce_with_small_noise_is_score_matching() -> None:
    step, y = 1e-2, draw(9, 1)
    model = energy(lambda y: (0.3 * y**4 - y**2 + 0.5 * y).sum(1))
    slope, curvature = 1.2 * y**3 - 2 * y + 0.5, 3.6 * y**2 - 2
    expected = (0.5 * slope**2 - curvature).mean()
    came = ConditionalNCE(BothWays(step), 2)(model, y=y).loss
    torch.testing.assert_close((came - 2 * math.log(2)) / (0.5 * step**2), expected, rtol=1e-3, atol=1e-3)
    flat = ConditionalNCE(0.7, 3)(energy(lambda y: 0 * y.sum(1)), seeded(), y=y).loss
    torch.testing.assert_close(flat, torch.tensor(2 * math.log(2), dtype=DOUBLE))


class Shrinking(ConditionalNoise):
    """y' = ½y + 0.8 ξ, which is not symmetric."""

    def draw(self, y: Tensor, k: int, generator: torch.Generator | None = None) -> Tensor:
        return 0.5 * y.unsqueeze(1) + 0.8 * torch.randn(
            len(y), k, *y.shape[1:], generator=generator, dtype=y.dtype
        )

    def log_ratio(self, y: Tensor, there: Tensor) -> Tensor:
        y = y.unsqueeze(1)
        forth = Normal(0.5 * y, 0.8).log_prob(there).sum(2)
        return forth - Normal(0.5 * there, 0.8).log_prob(y).sum(2)


@pytest.mark.parametrize("dim", [1, 2])
def test_conditional_nce_with_noise_that_is_not_symmetric(dim: int) -> None:
    member = LossMember(lambda d, y: ConditionalNCE(Shrinking(), 4, variable=y))
    estimate, errors = estimated(member, dim)
    assert bool(((estimate - Precisions().truth(dim)).abs() < 4 * errors).all())
    # with the symmetric formula it would not come near
    Unaware = type("Unaware", (Shrinking,), {"log_ratio": lambda self, y, there: 0.0 * there.sum(2)})
    wrong, errors = estimated(LossMember(lambda d, y: ConditionalNCE(Unaware(), 4, variable=y)), dim)
    assert bool(((wrong - Precisions().truth(dim)).abs() > 8 * errors).all())


def test_conditional_nce_does_not_see_what_depends_on_x_alone() -> None:
    y, x = draw(6, 2), 100 * draw(6, seed=3)
    plain, loss = energy(lambda y: y.square().sum(1)), ConditionalNCE(torch.tensor([0.5, 2.0]), 3)
    shifted = energy(lambda x, y: y.square().sum(1) + x)
    torch.testing.assert_close(loss(shifted, seeded(), x=x, y=y).loss, loss(plain, seeded(), y=y).loss)
    steps = loss.noise.draw(torch.zeros(40_000, 2, dtype=DOUBLE), 1, seeded())[:, 0]
    torch.testing.assert_close(steps.std(0), torch.tensor([0.5, 2.0], dtype=DOUBLE), rtol=0.015, atol=0)
    with pytest.raises(TypeError, match="a scale, or a ConditionalNoise"):
        ConditionalNCE("wide")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must be finite and positive"):
        ConditionalNCE(-1.0)


# --- InfoNCE ------------------------------------------------------------------------------------------------


def test_info_nce_is_its_formula_and_bounded() -> None:
    x, y = draw(6, 2), draw(6, 2, seed=1)
    model = energy(lambda x, y: 3 * (x - y).square().sum(1))
    output = InfoNCE(0.5)(model, x=x, y=y)
    terms = []
    for i in range(6):
        scores = [-0.5 * 3 * (x[i] - y[j]).square().sum() for j in range(6)]
        terms.append(torch.stack(scores).logsumexp(0) - scores[i])
    torch.testing.assert_close(output.loss, torch.stack(terms).mean())
    torch.testing.assert_close(output.terms["information"], math.log(6) - output.loss)
    apart = [model(x=x[i : i + 1], y=y[j : j + 1]) for i in range(6) for j in range(6) if i != j]
    torch.testing.assert_close(output.terms["energy off data"], torch.cat(apart).mean())
    perfect = InfoNCE()(model, x=1000 * x, y=1000 * x)
    torch.testing.assert_close(perfect.terms["information"].item(), math.log(6))  # all that K rows can show
    blind = InfoNCE()(energy(lambda x, y: x.sum(1)), x=x, y=y)
    torch.testing.assert_close(blind.loss.item(), math.log(6))


class Counted(nn.Module):
    """A layer that remembers how many rows it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.rows = nn.Linear(2, 3, dtype=DOUBLE), 0

    def forward(self, y: Tensor) -> Tensor:
        self.rows += len(y)
        out: Tensor = self.layer(y)
        return out


def test_all_pairs_encodes_every_row_once() -> None:
    class Pair(Energy):
        def forward(self, s_x: Tensor, s_y: Tensor, y: Tensor, tilt: Tensor) -> Tensor:
            return (s_x - s_y).square().sum(1) + y[:, 0] * tilt

    f, g = Counted(), Counted()
    x, y, tilt = draw(5, 2), draw(5, 2, seed=1), draw(5, seed=2)
    both = 0.5 * Pair().compose(s_x=(f, "x"), s_y=(g, "y")) + energy(lambda x, y: (x * y).sum(1))
    came = all_pairs(both, "y", y, {"x": x, "tilt": tilt})
    assert f.rows == 5 and g.rows == 5
    InfoNCE()(both, x=x, y=y, tilt=tilt)
    assert f.rows == 10 and g.rows == 10
    for i in range(5):
        for j in range(5):
            one = both(x=x[i : i + 1], tilt=tilt[i : i + 1], y=y[j : j + 1])
            torch.testing.assert_close(came[i, j], one[0])


def test_all_pairs_of_an_energy_that_solves_inside() -> None:
    inner = energy(lambda x, y, z: (x - z).square().sum(1) + (y - z).square().sum(1))
    free = min_over(inner, "z", LBFGS(), Zeros(2))  # ½|x - y|²
    x, y = draw(4, 2), draw(4, 2, seed=1)
    torch.testing.assert_close(all_pairs(free, "y", y, {"x": x}), 0.5 * torch.cdist(x, y).square())


class Prepared(Energy):
    """|x - y|², of which x is prepared where it is known; where y is known, something else is."""

    def prepare(self, binder: Binder, given: Mapping[str, Any]) -> dict[str, Any]:
        return {"known": given["x"] if "x" in given else 7 * given["y"]}

    def forward(self, x: Tensor, y: Tensor, known: Tensor | None = None) -> Tensor:
        return (known - y).square().sum(1)


def test_all_pairs_of_an_energy_that_prepares() -> None:
    x, y = draw(4, 2), draw(4, 2, seed=1)
    torch.testing.assert_close(all_pairs(Prepared(), "y", y, {"x": x}), torch.cdist(x, y).square())


def test_info_nce_says_what_it_needs() -> None:
    with pytest.raises(TypeError, match="has no other"):
        InfoNCE()(Ellipsoid(1), y=draw(3, 1))
    with pytest.raises(ValueError, match="2 rows or more"):
        InfoNCE()(energy(lambda x, y: (x * y).sum(1)), x=draw(1, 1), y=draw(1, 1))
