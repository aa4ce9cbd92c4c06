"""Contrastive divergence of E(x, y) and E(y, z): known regressions, exact likelihoods, chains that keep."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ebm import Energy
from ebm.checkpoint import Checkpoint
from ebm.contrastive import (
    ClassifierEnergy,
    ContrastiveDivergence,
    ImprovedContrastiveDivergence,
    MinimizedLatent,
    PersistentContrastiveDivergence,
    ReplayBuffer,
    SampledLatent,
)
from ebm.infer import HMC, LBFGS, MALA, Langevin
from ebm.infer.starts import Normal, Zeros
from ebm.loss import Loss
from ebm.train import fit

DOUBLE = torch.float64
WEIGHTS = ((1.0, 0.5), (-0.5, 1.0), (0.3, 0.0))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DOUBLE)


class Regression(Energy):
    """E(x, y) = ½ a (y - w x)²."""

    def __init__(self, w: float = 0.0, a: float = 1.0):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w, dtype=DOUBLE))
        self.a = nn.Parameter(torch.tensor(a, dtype=DOUBLE))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return 0.5 * self.a * (y - self.w * x).square().sum(1)


class Factors(Energy):
    """E(y, z) = ½ |y - W z|² / v + ½ |z|², p(y) = N(0, W Wᵀ + v I) (probabilistic PCA)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(WEIGHTS, dtype=DOUBLE))
        self.log_v = nn.Parameter(torch.tensor(-0.7, dtype=DOUBLE))

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        error = (y - z @ self.weight.T).square().sum(1)
        return 0.5 * (error * (-self.log_v).exp() + z.square().sum(1))


def data() -> tuple[Tensor, Tensor]:
    x = 1.0 + randn(1000, 1, seed=1)
    return x, 1.5 * x + 0.6 * randn(1000, 1, seed=2)


def chains(capacity: int = 1000, fresh: float = 0.0, **keep: Tensor) -> ReplayBuffer:
    return ReplayBuffer(Normal(1), capacity, fresh=fresh, keep=keep, dtype=DOUBLE, generator=seeded(9))


@pytest.mark.parametrize("kind", ["CD", "PCD", "PCD, half the rows", "improved"])
def test_a_regression_is_found(kind: str) -> None:
    x, y = data()
    loss: Loss = {
        "CD": lambda: ContrastiveDivergence(MALA(0.15), 8),
        "PCD": lambda: PersistentContrastiveDivergence(MALA(0.15), chains(x=x[0]), 5),
        "PCD, half the rows": lambda: PersistentContrastiveDivergence(MALA(0.15), chains(2000, x=x[0]), 5),
        "improved": lambda: ImprovedContrastiveDivergence(
            0.02, chains(1100, x=x[0]), 10, divergence=0.0, entropy=0.0
        ),
    }[kind]()
    line, late = Regression(), []

    def watch(step: int, history: object) -> None:
        if step > 100:
            late.append((line.w.item(), line.a.item()))

    fit(
        line,
        loss,
        {"x": x, "y": y},
        optimizer=partial(torch.optim.SGD, lr=0.3),
        steps=200,
        batch_size=500 if "half" in kind else 1000,
        callbacks=[watch],
        generator=seeded(3),
        progress=False,
    )
    w, a = torch.tensor(late, dtype=DOUBLE).mean(0)
    slope = (x * y).sum() / x.square().sum()  # where the likelihood is greatest
    precision = 1 / (y - slope * x).square().mean()
    errors = (1 / (precision * x.square().sum())).sqrt(), precision * (2 / len(x)) ** 0.5
    # Langevin without a test adds bias to the precision
    assert (
        abs(w - slope) < 4 * errors[0] and abs(a - precision) < (6 if kind == "improved" else 4) * errors[1]
    )


@pytest.mark.parametrize("kind", ["CD", "PCD"])
def test_a_latent_gives_the_gradient_of_the_likelihood(kind: str) -> None:
    y = randn(400, 3, seed=4) @ torch.tensor([[1.0, 0.3, 0], [0, 1.2, 0.5], [0, 0, 0.8]], dtype=DOUBLE)
    # five leapfrog steps would be half a period of the posterior, which its chains never forget
    exact_of, found, sampler = Factors(), [], HMC(0.35, 3)
    cov = exact_of.weight @ exact_of.weight.T + exact_of.log_v.exp() * torch.eye(3, dtype=DOUBLE)
    normal = torch.distributions.MultivariateNormal(torch.zeros(3, dtype=DOUBLE), cov)
    (-normal.log_prob(y).mean()).backward()
    latent = SampledLatent({"z": Normal(2)}, sampler, 15)
    buffer = ReplayBuffer(
        Normal(3), 400, fresh=0.0, keep={"z": torch.zeros(2, dtype=DOUBLE)}, dtype=DOUBLE, generator=seeded(8)
    )
    loss = {
        "CD": ContrastiveDivergence(sampler, 15, latent=latent),
        "PCD": PersistentContrastiveDivergence(sampler, buffer, 15, latent=latent),
    }[kind]
    for seed in range(34):
        factors = Factors()
        loss(factors, seeded(100 + seed), y=y).loss.backward()
        found.append(torch.cat([factors.weight.grad.flatten(), factors.log_v.grad.view(1)]))  # type: ignore[union-attr]
    draws = torch.stack(found[4:])  # the chains of PCD begin far from the model
    exact = torch.cat([exact_of.weight.grad.flatten(), exact_of.log_v.grad.view(1)])  # type: ignore[union-attr]
    error = draws.std(0) / len(draws) ** 0.5
    assert bool(((draws.mean(0) - exact).abs() < 4 * error).all())
    assert bool((error < 0.15 * exact.abs().max()).all())


def test_a_minimized_latent_is_the_posterior_mean_of_a_gaussian() -> None:
    factors, y = Factors(), randn(20, 3)
    z = MinimizedLatent({"z": Zeros(2)}, LBFGS(), tol=1e-10).infer(factors, {"y": y}, 1.0, None)["z"]
    w, v = factors.weight.detach(), float(factors.log_v.detach().exp())
    torch.testing.assert_close(z, torch.linalg.solve(w.T @ w + v * torch.eye(2, dtype=DOUBLE), w.T @ y.T).T)
    output = ContrastiveDivergence(
        HMC(0.3, 3), 3, latent=MinimizedLatent({"z": Zeros(2)}, LBFGS(), tol=1e-10)
    )(factors, seeded(), y=y)
    torch.testing.assert_close(output.terms["energy on data"], factors(y=y, z=z).mean().detach())


def test_chains_keep_their_own_condition() -> None:
    x, y = data()
    buffer = chains(40, x=x[0])
    loss = PersistentContrastiveDivergence(MALA(0.005), buffer, 300)
    for turn in range(3):
        loss(Regression(1.0, 100.0), seeded(turn), x=x[20 * turn :][:20], y=y[20 * turn :][:20])
    begun = buffer.age > 0
    # every x is one of the first rows, and y⁻ has gone to where its own x leads, 1 ± 0.1
    assert bool((buffer.kept["x"][begun] == x[:60].T).any(1).all()) and bool(
        (buffer.kept["x"][~begun] == 0).all()
    )
    assert float((buffer.points - buffer.kept["x"])[begun].abs().max()) < 0.6
    before = {name: value.clone() for name, value in buffer.state_dict().items()}
    drawn = buffer.draw(40, seeded(5), {"x": 7 + torch.zeros(30, 1, dtype=DOUBLE)})
    taken = drawn.age[:30] == 0
    assert bool((drawn.kept["x"][:30][taken] == 7).all())
    assert torch.equal(drawn.kept["x"][:30][~taken], buffer.kept["x"][drawn.slots[:30]][~taken])
    loss.eval()
    loss(Regression(), seeded(6), x=x[:40], y=y[:40])
    assert all(torch.equal(before[name], value) for name, value in buffer.state_dict().items())


def test_labels_are_kept_as_integers() -> None:
    energy = ClassifierEnergy(nn.Linear(2, 3))
    labels, x = torch.tensor([0, 1, 2, 1]), torch.randn(4, 2, generator=seeded())
    buffer = ReplayBuffer(Normal(2), 4, fresh=0.0, keep={"y": labels[0]}, generator=seeded(1))
    loss = PersistentContrastiveDivergence(Langevin(0.01), buffer, 3, variable="x")
    for turn in range(2):
        output = loss(energy, seeded(turn), x=x, y=labels)
    assert buffer.kept["y"].dtype == torch.int64 and sorted(buffer.kept["y"].tolist()) == [0, 1, 1, 2]
    high = energy(x=buffer.points, y=buffer.kept["y"]).mean()
    torch.testing.assert_close(output.terms["energy off data"], high.detach())


def test_a_killed_training_goes_on_with_what_chains_keep(tmp_path: Path) -> None:
    x, y = data()

    def run(path: Path | None, *steps: int) -> tuple[Regression, ReplayBuffer]:
        for count in steps:
            line, buffer = Regression(), chains(300, 0.1, x=x[0])
            fit(
                line,
                PersistentContrastiveDivergence(MALA(0.2), buffer, 2),
                {"x": x[:200], "y": y[:200]},
                optimizer=partial(torch.optim.Adam, lr=0.05),
                steps=count,
                batch_size=50,
                generator=seeded(4),
                progress=False,
                checkpoint=None if path is None else Checkpoint(path),
            )
        return line, buffer

    whole, parts = run(None, 20), run(tmp_path / "run", 7, 20)
    assert torch.equal(whole[0].w, parts[0].w) and torch.equal(whole[0].a, parts[0].a)
    kept = parts[1].state_dict()
    assert set(kept) == {"points", "age", "kept_x"}
    assert all(torch.equal(value, kept[name]) for name, value in whole[1].state_dict().items())


def test_bad_input_is_told() -> None:
    x, y = data()
    line, mala = Regression(), MALA(0.1)
    with pytest.raises(TypeError, match=r"another row's x. Have it keep its own: .*keep=\{'x': x\[0\]\}"):
        PersistentContrastiveDivergence(mala, chains())(line, x=x, y=y)
    with pytest.raises(ValueError, match=r"rows of 'x' have the shape \(1,\); the buffer keeps rows of"):
        PersistentContrastiveDivergence(mala, chains(x=torch.zeros(2)))(line, x=x, y=y)
    with pytest.raises(TypeError, match="the buffer keeps label with its chains, and the data has none"):
        PersistentContrastiveDivergence(mala, chains(x=x[0], label=x[0]))(line, x=x, y=y)
    with pytest.raises(TypeError, match="keep tells a row of each variable"):
        ReplayBuffer(Normal(1), 5, keep={"x": 3})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="keeps x with its chains; got nothing"):
        buffer = chains(4, x=x[0])
        buffer.put(torch.arange(2), buffer.points[:2], buffer.age[:2])
    with pytest.raises(TypeError, match="'z' is to be inferred as a latent variable, and it is no variable"):
        ContrastiveDivergence(mala, latent=SampledLatent({"z": Zeros(1)}, mala))(line, x=x, y=y)
    with pytest.raises(TypeError, match="and it comes with the data"):
        ContrastiveDivergence(mala, latent=SampledLatent({"x": Zeros(1)}, mala))(line, x=x, y=y)
    with pytest.raises(TypeError, match="starts tells where each latent variable begins"):
        SampledLatent({}, mala)
    with pytest.raises(TypeError, match="sampler is one of"):
        SampledLatent({"z": Zeros(1)}, LBFGS())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="steps must be an integer of at least 1"):
        SampledLatent({"z": Zeros(1)}, mala, 0)
    with pytest.raises(TypeError, match="method is a minimizer"):
        MinimizedLatent({"z": Zeros(1)}, mala)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="latent is a SampledLatent or a MinimizedLatent"):
        ContrastiveDivergence(mala, latent="z")  # type: ignore[arg-type]
