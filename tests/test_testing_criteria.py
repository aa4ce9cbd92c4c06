"""The contract of criteria is one that can be broken: each way to break it is found, and named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from ebm.joint import Criterion
from ebm.loss import LossOutput
from ebm.processes import share
from ebm.testing import CriterionContractError
from ebm.testing.criterion import CriterionMember, check_alone, check_processes, in_processes
from ebm.testing.processes import run_processes


class Sound(Criterion):
    """|Z¹ - Z²|² and a random direction of the mean, as it should be."""

    def direction(self, z: Tensor, generator: torch.Generator | None) -> Tensor:
        a = torch.randn(z.shape[1], generator=generator, dtype=z.dtype)
        share([a])
        return a

    def value(self, x: Tensor, y: Tensor, a: Tensor) -> Tensor:
        return (x - y).square().sum(1).mean() + (x.mean(0) @ a).square()

    def forward(self, *codes: Tensor, generator: torch.Generator | None = None) -> LossOutput:
        loss = self.value(*codes, self.direction(codes[0], generator))
        return LossOutput(loss, {"value": loss.detach()})


class Random(Sound):
    def direction(self, z: Tensor, generator: torch.Generator | None) -> Tensor:
        return torch.randn(z.shape[1], dtype=z.dtype)


class Ordered(Sound):
    def value(self, x: Tensor, y: Tensor, a: Tensor) -> Tensor:
        return super().value(x, y, a) + x[0].sum()


class Cut(Sound):
    def value(self, x: Tensor, y: Tensor, a: Tensor) -> Tensor:
        return super().value(x, y.detach(), a)


class Narrow(Sound):
    def value(self, x: Tensor, y: Tensor, a: Tensor) -> Tensor:
        return super().value(x, y, a).float()


class Rounded(Sound):
    def value(self, x: Tensor, y: Tensor, a: Tensor) -> Tensor:
        return super().value(
            *(z.bfloat16().to(z.dtype) if z.dtype == torch.float32 else z for z in (x, y)), a
        )


class Swallows(Sound):
    def value(self, x: Tensor, y: Tensor, a: Tensor) -> Tensor:
        return super().value(x.nan_to_num(), y, a)


class Silent(Sound):
    def __call__(self, *codes: Tensor, generator: torch.Generator | None = None) -> LossOutput:
        shift = torch.zeros_like(codes[0]).index_fill(0, torch.tensor([0]), 1e-9)
        return super().__call__(codes[0] + shift, *codes[1:], generator=generator)


class Single(Sound):
    def __call__(self, *codes: Tensor, generator: torch.Generator | None = None) -> LossOutput:
        return super().__call__(*(torch.cat([z, z]) for z in codes), generator=generator)


class Graph(Sound):
    def forward(self, *codes: Tensor, generator: torch.Generator | None = None) -> LossOutput:
        loss = super().forward(*codes, generator=generator).loss
        return LossOutput(loss, {"value": loss})


class Rows(Sound):
    def forward(self, *codes: Tensor, generator: torch.Generator | None = None) -> LossOutput:
        return LossOutput(super().forward(*codes, generator=generator).loss, {"codes": codes[0].detach()})


class Bare(Sound):
    def forward(self, *codes: Tensor, generator: torch.Generator | None = None) -> LossOutput:
        return LossOutput(super().forward(*codes, generator=generator).loss, {})


class OwnDirection(Sound):
    """Every process draws, and keeps what it drew."""

    def direction(self, z: Tensor, generator: torch.Generator | None) -> Tensor:
        return torch.randn(z.shape[1], generator=generator, dtype=z.dtype)


class OwnRows(Sound):
    """Every process compares its own rows alone, and refuses nothing."""

    def __call__(self, *codes: Tensor, generator: torch.Generator | None = None) -> LossOutput:
        return self.forward(*codes, generator=generator)


def member(kind: Callable[[], Criterion]) -> CriterionMember:
    codes = torch.randn(2, 8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return CriterionMember(kind(), tuple(codes))


def test_a_sound_criterion_passes() -> None:
    check_alone(member(Sound))


@pytest.mark.parametrize(
    "kind, message",
    [
        (Random, "Random is the same for the same generator"),
        (Ordered, "Ordered is the same for examples in another order"),
        (Cut, "the gradient of Cut .* torch.float64; got|the gradient of Cut is that of finite differences"),
        (Narrow, r"the loss of Narrow of torch.float64 codes is torch.float64; got torch.float32"),
        (Rounded, r"Rounded of torch.float32 codes: expected about .*, came"),
        (Swallows, "Swallows with NaN in a code of view 0 is refused with a ValueError; it was taken"),
        (Silent, "Silent warns of codes that are all the same"),
        (Single, "Single of a batch of one is refused with a ValueError; it was taken"),
        (Graph, "the term 'value' of Graph is detached"),
        (Rows, "'codes' of Rows is a finite number, 0-dimensional"),
        (Bare, "Bare reports its terms; there are none"),
    ],
)
def test_each_broken_promise_is_named(kind: Callable[[], Criterion], message: str) -> None:
    with pytest.raises(CriterionContractError, match=message):
        check_alone(member(kind))


@pytest.fixture(scope="module")
def reports() -> list[dict[str, Any]]:
    kinds = (Sound, OwnDirection, OwnRows)
    return run_processes(in_processes, 2, {kind.__name__: member(kind) for kind in kinds})


@pytest.mark.parametrize(
    "kind, message",
    [
        (Sound, None),
        (OwnDirection, "OwnDirection in process . of 2: .* is that of one process"),
        (OwnRows, "OwnRows in process 0 of 2: 'loss' is that of one process"),
    ],
)
def test_each_broken_promise_between_processes_is_named(
    kind: Callable[[], Criterion], message: str | None, reports: list[dict[str, Any]]
) -> None:
    found = [report[kind.__name__] for report in reports]  # type: ignore[attr-defined]
    if message is None:
        check_processes(member(kind), found)
        found[1]["unequal"] = ""
        message = "Sound in process 1 of 2 refuses unequal batches; it said ''"
    with pytest.raises(CriterionContractError, match=message):
        check_processes(member(kind), found)
