"""VICReg and Barlow Twins, value and gradient for both views, beside lightly's.

Codes in float32, the second view the first with noise. Recorded beside the figures: how far value and
gradient are from the same criterion in float64, as |difference| / |exact|. lightly's classes have the
official numbers too, once Barlow Twins gets λ = 0.0051. What differs is the work: lightly builds the D × D
matrices and picks their off-diagonal entries by a mask; here the smaller of D × D and N × N is built and the
gradient is a closed form.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from benchmarks.case import Answers, Case
from benchmarks.lightly_loss import lightly_loss
from ebm.joint import BarlowTwins, Criterion, VICReg

REDUNDANCY = 0.0051
ERROR = 1e-4  # of value and gradient, beyond which it is another criterion or a careless one

CRITERIA: dict[str, Callable[[], Criterion]] = {
    "VICReg": VICReg,
    "Barlow Twins": partial(BarlowTwins, REDUNDANCY),
}


def setup(n: int, d: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=generator)
    return x, x + 0.3 * torch.randn(n, d, generator=generator)


def differentiated(loss: Callable[..., Tensor], codes: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The value and the gradient for each view."""
    leaves = [z.detach().requires_grad_() for z in codes]
    value = loss(*leaves)
    value.backward()
    return value.detach(), *(z.grad for z in leaves if z.grad is not None)


def ours(codes: tuple[Tensor, Tensor], name: str) -> tuple[Tensor, ...]:
    criterion = CRITERIA[name]()
    return differentiated(lambda x, y: criterion(x, y).loss, codes)


def theirs(codes: tuple[Tensor, Tensor], lightly: Any, name: str) -> tuple[Tensor, ...]:
    losses = lightly_loss()
    loss = losses.VICRegLoss() if name == "VICReg" else losses.BarlowTwinsLoss(lambda_param=REDUNDANCY)
    return differentiated(loss, codes)


def errors(codes: tuple[Tensor, Tensor], found: tuple[Tensor, ...], name: str) -> Answers:
    """Of a value and gradients against the criterion in float64, which the tests hold to its equation."""
    exact = ours((codes[0].double(), codes[1].double()), name)
    value, *gradients = (
        float(torch.linalg.vector_norm(a - b) / torch.linalg.vector_norm(b))
        for a, b in zip(found, exact, strict=True)
    )
    return {"value error": value, "gradient error": max(gradients)}


def too_far(ours: Answers, theirs: Answers) -> str:
    """Why the times say nothing, or ""."""
    wrong = [
        f"{who} {name} is {error:.1e}"
        for who, answers in (("our", ours), ("their", theirs))
        for name, error in answers.items()
        if not error <= ERROR
    ]
    return "; ".join(wrong)


def case(
    name: str, n: int, d: int, at_least: float | None = None, unit: Literal["cpu s", "MiB"] = "cpu s"
) -> Case:
    return Case(
        f"{name}, {n} x {d}, {'memory' if unit == 'MiB' else 'time'}, against lightly",
        partial(ours, name=name),
        partial(theirs, name=name),
        partial(setup, n, d),
        partial(errors, name=name),
        too_far,
        peer="lightly",
        unit=unit,
        at_least=at_least,
    )


CASES = [
    case("VICReg", 1024, 2048, 3.5),
    case("VICReg", 256, 8192, 30.0),
    case("VICReg", 4096, 512),  # N > D: both build D × D
    case("VICReg", 256, 8192, 10.0, "MiB"),
    case("Barlow Twins", 1024, 2048, 1.1),
    case("Barlow Twins", 256, 8192, 20.0),
    case("Barlow Twins", 4096, 512),
    case("Barlow Twins", 256, 8192, 10.0, "MiB"),
]
