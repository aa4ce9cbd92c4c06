"""Contrastive divergence, persistent and improved: gradients in closed form, known Gaussians, buffers."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ebm import Energy
from ebm.checkpoint import Checkpoint
from ebm.contrastive import (
    ContrastiveDivergence,
    ImprovedContrastiveDivergence,
    PersistentContrastiveDivergence,
    ReplayBuffer,
)
from ebm.contrastive.improved_contrastive_divergence import log_distance
from ebm.contrastive.negatives import draw_negatives
from ebm.infer import HMC, MALA, Langevin
from ebm.infer.starts import Normal, Uniform
from ebm.loss import Loss
from ebm.train import fit

DOUBLE = torch.float64
STEP = 0.1  # of Langevin


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Bowl(Energy):
    """E(y) = ½ (y - μ)ᵀ Λ (y - μ), Λ symmetric."""

    def __init__(self, dim: int = 1, precision: float = 1.0):
        super().__init__()
        self.center = nn.Parameter(torch.zeros(dim, dtype=DOUBLE))
        self.precision = nn.Parameter(precision * torch.eye(dim, dtype=DOUBLE))

    def forward(self, y: Tensor) -> Tensor:
        d = y - self.center
        return 0.5 * (d @ (0.5 * (self.precision + self.precision.T)) * d).sum(1)


def data(rows: int, dim: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, dim, generator=seeded(seed), dtype=DOUBLE)


def buffer(dim: int, capacity: int, fresh: float = 0.0) -> ReplayBuffer:
    return ReplayBuffer(Normal(dim), capacity, fresh=fresh, dtype=DOUBLE, generator=seeded(9))


def test_the_gradient_is_the_difference_of_means() -> None:
    bowl, y = Bowl(2), 1.0 + data(50, 2)
    sampler = MALA(0.3)
    negatives = draw_negatives(bowl, "y", y, {}, sampler, 3, generator=seeded(1))
    output = ContrastiveDivergence(sampler, 3)(bowl, seeded(1), y=y)
    output.loss.backward()
    assert bowl.center.grad is not None
    # E = ½ |y - μ|²: ∂E/∂μ = μ - y
    torch.testing.assert_close(bowl.center.grad, negatives.value.mean(0) - y.mean(0))
    torch.testing.assert_close(output.terms["acceptance"], negatives.acceptance)
    torch.testing.assert_close(output.loss, -output.gap)


def test_long_chains_give_the_gradient_of_the_likelihood() -> None:
    bowl, y = Bowl(2, 0.5), data(20_000, 2)
    ContrastiveDivergence(HMC(0.8, 3), 40)(bowl, seeded(1), y=y).loss.backward()
    assert bowl.precision.grad is not None
    # ⟨∂E/∂Λ⟩ = ½ ⟨y yᵀ⟩, of the model ½ Λ⁻¹ = I; standard errors of ½ y_i y_j for variance 1 and for 2
    exact = 0.5 * y.T @ y / len(y) - torch.eye(2, dtype=DOUBLE)
    error = 0.5 * 2 * torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=DOUBLE).sqrt() / len(y) ** 0.5
    assert bool(((bowl.precision.grad - exact).abs() < 4 * error).all())
    # one step from the data has forgotten little, so its gradient is far from that
    bowl.zero_grad()
    ContrastiveDivergence(MALA(0.01), 1)(bowl, seeded(1), y=y).loss.backward()
    assert float((bowl.precision.grad - exact).abs().max()) > 20 * float(error.max())


@pytest.mark.parametrize(
    ("kind", "dim"), [(kind, dim) for kind in ("CD", "PCD", "improved") for dim in (1, 2, 8)]
)
def test_a_gaussian_is_found(kind: str, dim: int) -> None:
    root = torch.eye(dim, dtype=DOUBLE) + 0.3 / dim**0.5 * torch.randn(
        dim, dim, generator=seeded(2), dtype=DOUBLE
    )
    y, truth = data(1000, dim) @ root, torch.linalg.inv(root.T @ root)
    exact = torch.linalg.inv(torch.cov(y.T, correction=0).view(dim, dim))  # where the likelihood is greatest
    if kind == "improved":  # Langevin of step ε has the precision Λ - ½εΛ² in the end, not Λ
        s, axes = torch.linalg.eigh(exact)
        exact = axes @ torch.diag((1 - (1 - 2 * STEP * s).sqrt()) / STEP) @ axes.T
    loss: Loss = {
        "CD": lambda: ContrastiveDivergence(MALA(0.15), 4),
        "PCD": lambda: PersistentContrastiveDivergence(MALA(0.15), buffer(dim, 1000), 3),
        # with the paper's weights on the other terms it is another loss
        "improved": lambda: ImprovedContrastiveDivergence(
            STEP, buffer(dim, 1100), 3, divergence=0.0, entropy=0.0
        ),
    }[kind]()
    bowl, late = Bowl(dim), []

    def watch(step: int, history: object) -> None:
        if step > 50:
            late.append(0.5 * (bowl.precision + bowl.precision.T).detach())

    fit(
        bowl,
        loss,
        y,
        optimizer=partial(torch.optim.SGD, lr=0.4),
        steps=120,
        batch_size=1000,
        callbacks=[watch],
        generator=seeded(3),
        progress=False,
    )
    found = torch.stack(late).mean(0)
    # the standard error of a precision from n rows: √((Λ_ii Λ_jj + Λ_ij²) / n)
    d = truth.diagonal()
    error = ((d[:, None] * d[None] + truth**2) / len(y)).sqrt()
    assert bool(((found - exact).abs() < 4 * error).all())


def test_the_way_through_the_sampler_is_that_of_the_paper() -> None:
    start, rate, theta = data(40, 1, 5), 0.1, 1.3

    def gradient(divergence: float) -> tuple[Tensor, Tensor]:
        bowl, chains = Bowl(1, theta), buffer(1, 50)
        loss = ImprovedContrastiveDivergence(
            rate, chains, 1, divergence=divergence, entropy=0.0, neighbors=10
        )
        before = chains.points.clone()
        loss(bowl, seeded(6), y=start).loss.backward()
        moved = (chains.points != before).any(1)
        assert bowl.precision.grad is not None and int(moved.sum()) == 40
        return bowl.precision.grad, (before[moved] * chains.points[moved]).mean()

    (plain, _), (whole, product) = gradient(0.0), gradient(1.0)
    # x₁ = x₀ - λθx₀ + w: d/dθ of E_sg(x₁) is θx₁ · (-λx₀)
    torch.testing.assert_close(whole - plain, (-theta * rate * product).view(1, 1))


def test_entropy_is_differentiated_through_the_last_step() -> None:
    def look(entropy: float, theta: float) -> tuple[Tensor, Tensor]:
        bowl = Bowl(1, theta)
        loss = ImprovedContrastiveDivergence(
            0.1, buffer(1, 200), 1, divergence=0.0, entropy=entropy, neighbors=100
        )
        output = loss(bowl, seeded(6), y=data(80, 1))
        output.loss.backward()
        assert bowl.precision.grad is not None
        return bowl.precision.grad, output.terms["log distance"]

    step = 1e-6
    slope = (look(1.0, 2.0 + step)[1] - look(1.0, 2.0 - step)[1]) / (2 * step)
    torch.testing.assert_close(look(1.0, 2.0)[0] - look(0.0, 2.0)[0], -slope.view(1, 1), rtol=1e-5, atol=0)


def test_distances_are_those_to_the_nearest() -> None:
    y, others = data(20, 3), data(30, 3, 1)
    nearest = torch.stack([(others - row).square().sum(1).min().sqrt() for row in y])
    torch.testing.assert_close(log_distance(y, others), nearest.log().mean())


def test_chains_of_a_buffer_go_on_and_age() -> None:
    bowl, chains = Bowl(2), buffer(2, 100)
    loss = PersistentContrastiveDivergence(Langevin(0.1), chains, 4)
    for turn in (1, 2, 3):
        output = loss(bowl, seeded(turn), y=data(100, 2))
        assert float(output.terms["buffer age"]) == 4 * turn
    before = chains.points.clone()
    loss.eval()
    loss(bowl, seeded(), y=data(100, 2))
    assert torch.equal(chains.points, before) and int(chains.age[0]) == 12
    fresh = buffer(2, 100, fresh=0.25)
    fresh.age.fill_(7)
    ages = torch.stack([fresh.draw(100, seeded(i)).age for i in range(50)]).double()
    assert abs(float((ages == 0).double().mean()) - 0.25) < 4 * (0.25 * 0.75 / 5000) ** 0.5


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_chains_begin_anew_or_go_on_from_where_they_stand(share: float) -> None:
    chains = ReplayBuffer(Normal(2, scale=0.5), 1000, fresh=share)
    chains.points.fill_(9.0)
    chains.age.fill_(7)
    drawn = chains.draw(1000, seeded())
    fresh = drawn.age == 0
    assert bool((drawn.points[~fresh] == 9).all() and (drawn.points[fresh] != 9).all())
    assert abs(float(fresh.double().mean()) - share) <= 4 * (share * (1 - share) / 1000) ** 0.5
    if share:
        n = 2 * int(fresh.sum())
        assert abs(float(drawn.points[fresh].std()) / 0.5 - 1) < 4 / (2 * n) ** 0.5
    assert bool((chains.points == 9).all())  # until they are put back


def test_different_chains_are_drawn() -> None:
    drawn = buffer(1, 30).draw(30, seeded())
    assert drawn.slots.sort().values.tolist() == list(range(30))


@pytest.mark.parametrize("capacity", [1, 2, 30, 31, 64])
def test_all_chains_are_as_likely_to_be_drawn(capacity: int) -> None:
    chains, size, draws = buffer(1, capacity), max(1, capacity // 4), 4000
    seen = torch.zeros(draws, capacity)
    for i, row in enumerate(seen):
        slots = chains.draw(size, seeded(i)).slots
        assert len(set(slots.tolist())) == size
        row[slots] = 1
    share = size / capacity
    error = (share * (1 - share) / draws) ** 0.5
    assert bool(((seen.mean(0) - share).abs() <= 4.5 * error).all())  # 4.5: many chains are looked at
    if capacity == 31:  # a prime: any two are together as if drawn independently, but for the stride N -> 1
        together, pairs = (seen.T @ seen / draws)[0, 1:], share * (size - 1) / (capacity - 1)
        assert bool(((together - pairs).abs() <= 4.5 * (pairs / draws) ** 0.5 + share / capacity).all())


def test_a_uniform_start_is_uniform() -> None:
    points = ReplayBuffer(Uniform(2, low=-1.0, high=3.0), 4000, dtype=DOUBLE, generator=seeded()).points
    assert float(points.min()) >= -1 and float(points.max()) < 3
    assert abs(float(points.mean()) - 1) < 4 * (16 / 12 / 8000) ** 0.5


def test_a_killed_training_goes_on_with_its_buffer(tmp_path: Path) -> None:
    def run(path: Path | None, *steps: int) -> tuple[Bowl, PersistentContrastiveDivergence]:
        for count in steps:
            bowl, chains = Bowl(2, 0.7), buffer(2, 300, fresh=0.1)
            loss = PersistentContrastiveDivergence(MALA(0.2), chains, 2)
            fit(
                bowl,
                loss,
                data(200, 2),
                optimizer=partial(torch.optim.Adam, lr=0.05),
                steps=count,
                batch_size=50,
                generator=seeded(4),
                progress=False,
                checkpoint=None if path is None else Checkpoint(path),
            )
        return bowl, loss

    whole, parts = run(None, 20), run(tmp_path / "run", 7, 20)
    assert torch.equal(whole[0].precision, parts[0].precision)
    assert torch.equal(whole[1].buffer.points, parts[1].buffer.points)
    assert torch.equal(whole[1].buffer.age, parts[1].buffer.age)


def test_compiled_chains_are_the_same_and_learn_along() -> None:
    """Parameters change from step to step: a compiled chain must see them, and not be compiled anew."""
    losses = {}
    for compile in (False, True):
        bowl = Bowl(2, 0.7)
        loss, g = ContrastiveDivergence(Langevin(0.1), 7, compile=compile), seeded(1)
        optimizer = torch.optim.SGD(bowl.parameters(), 0.1)
        torch._dynamo.utils.counters.clear()
        for _ in range(4):
            optimizer.zero_grad()
            value = loss(bowl, g, y=data(50, 2)).loss
            value.backward()
            optimizer.step()
            losses.setdefault(compile, []).append(value.item())
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == int(compile)
    assert losses[True] == pytest.approx(losses[False], rel=1e-9)
    assert len(set(losses[True])) == 4


def test_history_tells_of_the_chains() -> None:
    history = fit(
        Bowl(1),
        PersistentContrastiveDivergence(MALA(0.5), buffer(1, 64), 3),
        data(64, 1),
        optimizer=partial(torch.optim.SGD, lr=0.1),
        steps=3,
        batch_size=64,
        generator=seeded(),
        progress=False,
    )
    assert {"loss", "gradient norm", "energy gap", "acceptance", "buffer age"} <= set(history.columns)
    assert history.column("buffer age").tolist() == [3.0, 6.0, 9.0]
    assert bool((history.column("acceptance") > 0.5).all())


def test_chains_see_the_energy_in_evaluation_mode() -> None:
    class Dropped(Bowl):
        def __init__(self) -> None:
            super().__init__()
            self.dropout = nn.Dropout(0.5)

        def forward(self, y: Tensor) -> Tensor:
            return super().forward(self.dropout(y))

    energy = Dropped().train()
    ContrastiveDivergence(Langevin(0.1), 2)(energy, seeded(), y=data(10, 1))
    assert energy.training and energy.dropout.training


def test_bad_input_is_told() -> None:
    y = data(10, 2)
    with pytest.raises(ValueError, match="steps must be an integer of at least 1"):
        ContrastiveDivergence(Langevin(0.1), 0)
    with pytest.raises(TypeError, match="sampler is one of"):
        ContrastiveDivergence("langevin")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="capacity"):
        ReplayBuffer(Normal(2), 0)
    with pytest.raises(ValueError, match="probability"):
        ReplayBuffer(Normal(2), 5, fresh=1.5)
    with pytest.raises(TypeError, match="start object"):
        ReplayBuffer(torch.zeros(3, 2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="holds 5 chains, of which 10"):
        PersistentContrastiveDivergence(Langevin(0.1), buffer(2, 5))(Bowl(2), y=y)
    with pytest.raises(ValueError, match="give the buffer's start the shape"):
        PersistentContrastiveDivergence(Langevin(0.1), buffer(1, 50))(Bowl(2), y=y)
    with pytest.raises(TypeError, match="'y' is missing"):
        ContrastiveDivergence(Langevin(0.1))(Bowl(2), x=y)
    falls = Bowl(2, -50.0)
    with pytest.raises(ValueError, match="left the points where the energy is finite"):
        ContrastiveDivergence(Langevin(1.0), 400)(falls, seeded(), y=y)


def test_a_conditional_energy_has_no_persistent_chains() -> None:
    class Conditional(Energy):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return 0.5 * (y - x).square().sum(1)

    x, y = data(30, 2, 1), data(30, 2)
    output = ContrastiveDivergence(MALA(0.3), 5)(Conditional(), seeded(), x=x, y=y)
    assert float(output.terms["energy off data"]) > 0
    with pytest.raises(TypeError, match="another row's x"):
        PersistentContrastiveDivergence(MALA(0.3), buffer(2, 50))(Conditional(), seeded(), x=x, y=y)
