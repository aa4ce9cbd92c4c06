"""Contrastive and sketching criteria, value and gradient for both views, beside lightly's.

Codes in float32, the second view the first with noise. Recorded beside the figures: how far value and
gradient are from the same criterion in float64, as |difference| / |exact|, for both sides. Random directions
are the same on both sides, drawn anew in each call from one seed. What differs is the work: half of the
matrix of similarities, and one product for its gradient rather than two; exp(i t_k x) as powers of one
number, in blocks of directions that are done with before the next.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.bench_variance_criteria import differentiated, too_far
from benchmarks.case import Answers, Case
from benchmarks.lightly_loss import lightly_loss
from ebm.joint import DCL, Criterion, NTXent, SIGReg, SwAV, VISReg

SEED, TEMPERATURE, PROTOTYPES = 1, 0.1, 3000


class State(NamedTuple):
    """The codes of the views, and our criterion."""

    codes: tuple[Tensor, ...]
    criterion: Criterion


CRITERIA: dict[str, Callable[[int], Criterion]] = {
    "NT-Xent": lambda d: NTXent(TEMPERATURE),
    "DCL": lambda d: DCL(TEMPERATURE),
    "SIGReg, 1024 slices": lambda d: SIGReg(slices=1024, weight=1.0),
    "VISReg, 1024 slices": lambda d: VISReg(slices=1024, global_views=1),
    "SwAV, 3000 prototypes": lambda d: SwAV(d, PROTOTYPES, generator=torch.Generator().manual_seed(SEED)),
}


def setup(name: str, n: int, d: int) -> State:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=generator)
    views = (x, x + 0.3 * torch.randn(n, d, generator=generator))
    return State(views[:1] if name.startswith("SIGReg") else views, CRITERIA[name](d))


def ours(state: State) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(SEED)
    return differentiated(lambda *z: state.criterion(*z, generator=generator).loss, state.codes)


def theirs(state: State, lightly: Any, name: str) -> tuple[Tensor, ...]:
    losses = lightly_loss()
    torch.manual_seed(SEED)  # of the directions
    if name == "NT-Xent":
        return differentiated(losses.NTXentLoss(TEMPERATURE), state.codes)
    if name == "DCL":
        return differentiated(losses.DCLLoss(TEMPERATURE), state.codes)
    if name.startswith("SIGReg"):
        return differentiated(losses.SIGReg(num_vectors=1024), state.codes)
    if name.startswith("VISReg"):
        loss = losses.VISRegLoss(num_slices=1024, eps=1e-12)
        return differentiated(lambda x, y: loss(global_proj=x[None], local_proj=y[None]), state.codes)
    swav, prototypes = losses.SwaVLoss(), next(state.criterion.parameters())
    return differentiated(
        lambda *views: swav([normalize(z) @ normalize(prototypes).T for z in views], []).squeeze(),
        state.codes,
    )


def errors(state: State, found: tuple[Tensor, ...], name: str) -> Answers:
    """Of a value and gradients against the criterion in float64, which the tests hold to its equation."""
    codes = tuple(z.double() for z in state.codes)
    exact = ours(State(codes, CRITERIA[name](codes[0].shape[1]).double()))
    value, *gradients = (
        float(torch.linalg.vector_norm(a - b) / torch.linalg.vector_norm(b))
        for a, b in zip(found, exact, strict=True)
    )
    return {"value error": value, "gradient error": max(gradients)}


def value_too_far(ours: Answers, theirs: Answers) -> str:
    """For a criterion that sorts: float32 may order numbers otherwise that are nearly equal."""
    return too_far(*({"value error": side["value error"]} for side in (ours, theirs)))


def case(
    name: str, n: int, d: int, at_least: float | None = None, unit: Literal["cpu s", "MiB"] = "cpu s"
) -> Case:
    return Case(
        f"{name}, {n} x {d}, {'memory' if unit == 'MiB' else 'time'}, against lightly",
        ours,
        partial(theirs, name=name),
        partial(setup, name, n, d),
        partial(errors, name=name),
        value_too_far if name.startswith("VISReg") else too_far,
        peer="lightly",
        unit=unit,
        at_least=at_least,
    )


CASES = [
    case("NT-Xent", 1024, 2048, 1.5),
    case("NT-Xent", 1024, 2048, 1.0, "MiB"),
    case("DCL", 1024, 128, 1.0),
    case("SIGReg, 1024 slices", 1024, 256, 6.0),
    case("SIGReg, 1024 slices", 1024, 256, 10.0, "MiB"),
    case("VISReg, 1024 slices", 256, 512),
    case("SwAV, 3000 prototypes", 1024, 128),
]
