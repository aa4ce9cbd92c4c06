"""LARS: against a plain loop in numpy, against SGD where its ratio is 1, and through a checkpoint."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from ebm.checkpoint import Checkpoint
from ebm.joint import OnCodes, SquaredDistance, VICReg
from ebm.train import fit
from ebm.training import LARS

DOUBLE = torch.float64
SHAPES = [(3, 4), (2, 3, 2, 2), (5,), (), (4, 1)]


def start(seed: int = 0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(s, generator=generator, dtype=DOUBLE)) for s in SHAPES]


def gradients(step: int, scale: float = 1.0) -> list[torch.Tensor]:
    return [scale * g.detach() for g in start(100 + step)]


def by_hand(
    steps: int, lrs: list[float], m: float, beta: float, eta: float, clip: bool, vectors: bool, scale: float
) -> list[np.ndarray]:
    """Algorithm 1 of the paper for one tensor at a time, the learning rate outside of the velocity."""
    found = []
    for index, parameter in enumerate(start()):
        w, v = parameter.detach().numpy().copy(), None
        for step in range(steps):
            g = gradients(step, scale)[index].numpy()
            d = g
            if w.ndim >= 2 or vectors:
                norm_w, norm_g = np.sqrt((w**2).sum()), np.sqrt((g**2).sum())
                rate = eta * norm_w / (norm_g + beta * norm_w)
                if clip:
                    rate = min(rate / lrs[step], 1.0)
                d = rate * (g + beta * w)
            v = d if v is None else m * v + d
            w = w - lrs[step] * v
        found.append(w)
    return found


@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize(("clip", "scale"), [(False, 1.0), (True, 30.0), (True, 1e-3), (True, 0.1)])
@pytest.mark.parametrize(("momentum", "decay"), [(0.0, 0.0), (0.9, 0.0), (0.9, 0.3)])
def test_lars_is_the_papers_algorithm(
    momentum: float, decay: float, clip: bool, scale: float, vectors: bool
) -> None:
    parameters, lrs = start(), [0.3, 0.2, 0.5, 0.1, 0.4]
    settings = {"momentum": momentum, "weight_decay": decay, "eta": 0.02, "clip": clip, "vectors": vectors}
    optimizer = LARS(parameters, lr=9.0, **settings)
    for step, lr in enumerate(lrs):
        optimizer.param_groups[0]["lr"] = lr  # as a schedule does
        for p, g in zip(parameters, gradients(step, scale), strict=True):
            p.grad = g
        optimizer.step()
    expected = by_hand(5, lrs, momentum, decay, 0.02, clip, vectors, scale)
    for p, w in zip(parameters, expected, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), w, rtol=1e-13, atol=1e-15)


def test_settings_that_are_not_told() -> None:
    """A momentum of 0.9 and steps of 0.001 |w|, without decay."""
    parameters = start()
    optimizer = LARS(parameters, lr=2.0)
    for step in range(2):
        for p, g in zip(parameters, gradients(step), strict=True):
            p.grad = g
        optimizer.step()
    for p, w in zip(parameters, by_hand(2, [2.0, 2.0], 0.9, 0.0, 1e-3, False, False, 1.0), strict=True):
        np.testing.assert_allclose(p.detach().numpy(), w, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("vectors", [False, True])
def test_where_the_ratio_is_one_lars_is_sgd(vectors: bool) -> None:
    """Clipped, with a trust coefficient so large that no step is cut; SGD decays all that LARS does."""
    mine, other = start(), start()
    lars = LARS(mine, lr=0.1, weight_decay=0.2, eta=1e6, clip=True, vectors=vectors)
    decayed = [p for p in other if p.ndim > 1 or vectors]
    rest = {"params": [p for p in other if not (p.ndim > 1 or vectors)], "weight_decay": 0.0}
    groups = [{"params": decayed, "weight_decay": 0.2}, *([rest] if rest["params"] else [])]
    sgd = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    for step in range(4):
        for p, q, g in zip(mine, other, gradients(step), strict=True):
            p.grad, q.grad = g.clone(), g.clone()
        lars.step()
        sgd.step()
    for p, q in zip(mine, other, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-14, atol=1e-15)


def test_zeros_take_plain_steps() -> None:
    weight, still = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.ones(2, 2))
    optimizer = LARS([weight, still], lr=0.5, momentum=0.0, weight_decay=0.1, eta=1e-3)
    weight.grad, still.grad = torch.ones(2, 2), torch.zeros(2, 2)
    optimizer.step()
    assert torch.equal(weight.detach(), torch.full((2, 2), -0.5))
    torch.testing.assert_close(still.detach(), torch.full((2, 2), 1 - 0.5 * 0.1))


def test_a_step_at_rate_zero_changes_nothing() -> None:
    parameters = start()
    optimizer = LARS(parameters, lr=0.0, eta=0.02, clip=True)
    for p, g in zip(parameters, gradients(0), strict=True):
        p.grad = g
    optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(parameters, start(), strict=True))
    assert all(v["momentum_buffer"].isfinite().all() for v in optimizer.state.values())


def test_what_has_no_gradient_stays_and_gradients_are_left_as_they_are() -> None:
    parameters, seen = start(), (0, 2)  # a matrix and a vector
    for i in seen:
        parameters[i].grad = gradients(0)[i]
    optimizer = LARS(parameters, lr=0.1, weight_decay=0.1)
    optimizer.step()
    optimizer.step()
    for i, (p, before) in enumerate(zip(parameters, start(), strict=True)):
        assert torch.equal(p, before) == (i not in seen)
    for i in seen:
        assert torch.equal(parameters[i].grad, gradients(0)[i])
    parameters[1].grad = gradients(0)[1]
    optimizer.step()  # begins its velocity two steps later than its neighbors
    assert len(optimizer.state) == 3


def test_parameters_of_several_dtypes_and_a_closure() -> None:
    a, b = nn.Parameter(torch.ones(2, 2, dtype=DOUBLE)), nn.Parameter(torch.ones(2, 2))
    optimizer = LARS([a, b], lr=1.0, eta=0.1, momentum=0.0)

    def closure() -> float:
        optimizer.zero_grad()
        loss = a.sum() + b.sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 8.0
    torch.testing.assert_close(a.detach(), torch.full((2, 2), 0.9, dtype=DOUBLE))  # |w| = |g| = 2
    torch.testing.assert_close(b.detach(), torch.full((2, 2), 0.9))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -0.1}, "a learning rate of at least 0, finite; got lr=-0.1"),
        ({"lr": float("nan")}, "got lr=nan"),
        ({"lr": float("inf")}, "got lr=inf"),
        ({"lr": 0.1, "weight_decay": float("inf")}, "at least 0, finite; got inf"),
        ({"lr": 0.1, "eta": float("inf")}, "a trust coefficient above 0, .*; got inf"),
        ({"lr": 0.1, "momentum": 1.0}, r"a momentum in \[0, 1\), such as 0.9; got 1.0"),
        ({"lr": 0.1, "weight_decay": -1.0}, "a weight decay of at least 0, finite; got -1.0"),
        ({"lr": 0.1, "eta": 0.0}, "a trust coefficient above 0, such as eta=0.001; got 0.0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LARS(start(), **settings)


def test_a_training_goes_on_from_its_checkpoint_bit_for_bit(tmp_path: Path) -> None:
    def train(steps: int, path: Path) -> list[torch.Tensor]:
        torch.manual_seed(0)
        f = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4)).double()
        data = torch.randn(40, 3, generator=torch.Generator().manual_seed(1), dtype=DOUBLE)
        fit(
            SquaredDistance().compose(s_x=(f, "x"), s_y=(f, "y")),
            OnCodes(VICReg(), "s_x", "s_y"),
            {"x": data, "y": data + 0.1},
            optimizer=partial(LARS, lr=0.3, eta=0.02, weight_decay=1e-2, clip=True),
            schedule=partial(CosineAnnealingLR, T_max=12),
            steps=steps,
            batch_size=8,
            generator=torch.Generator().manual_seed(2),
            progress=False,
            checkpoint=Checkpoint(path, every=3),
        )
        return [p.detach().clone() for p in f.parameters()]

    whole = train(12, tmp_path / "whole")
    train(7, tmp_path / "cut")
    assert all(torch.equal(a, b) for a, b in zip(whole, train(12, tmp_path / "cut"), strict=True))
