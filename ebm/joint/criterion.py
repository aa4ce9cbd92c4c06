"""Criteria: functions of a batch of codes that say whether they agree and whether they are alive.

    L(Z¹, ..., Z^V) ∈ ℝ,        Z^v (N, D), the codes of view v, row i of all views from the same example

A criterion is no energy: it looks at all rows at once. What it shapes is one, the energy of a pair (s_x, s_y)
beside it (`Criterion.energy`), low where two codes may belong to one example. `OnCodes` makes a criterion a
loss.

Under torch.distributed a criterion gathers the codes of all processes, with their gradients, so its value is
that of one process which holds all rows, in every process (see `ebm.processes`).
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from ebm.energy import Energy
from ebm.joint.pair import SquaredDistance
from ebm.loss import LossOutput
from ebm.measure.codes import CollapseWarning, constant
from ebm.processes import gather


class Criterion(nn.Module, ABC):
    """A function of the codes of one or several views; subclasses write `forward(*codes, generator)`.

    Call it with codes (N, D), or (..., D) where `any_shape`, all of one shape, dtype and device. Half
    precision is widened to float32, also under autocast: no sum over a batch is taken in 8 or 11 bits.

    Raises:
        TypeError: if codes aren't floating-point tensors.
        ValueError: on a wrong number of views, shapes that differ, a batch of one, codes that are NaN or
            infinite (on the CPU; elsewhere `fit` sees it in the loss).
    """

    views: ClassVar[tuple[int, int | None]] = (2, 2)  # how many codes it takes: from, to (None: any number)

    @property
    def energy(self) -> Energy:
        """The energy of a pair (s_x, s_y) that this criterion shapes, (N, D) x (N, D) -> (N,)."""
        return SquaredDistance()

    @property
    def label(self) -> str:
        """The name under which a loss reports this criterion."""
        return type(self).__name__

    @abstractmethod
    def forward(self, *codes: Tensor, generator: torch.Generator | None = None) -> LossOutput:
        """The criterion of codes (N, D) that were checked and gathered, and its terms, all 0-dimensional."""

    def __call__(self, *codes: Tensor, generator: torch.Generator | None = None) -> LossOutput:
        self._check(codes)
        whole = tuple(widened(gather(z)) for z in codes)
        if len(whole[0]) < 2:
            raise ValueError(
                f"{self.label} compares the codes of different examples, so a batch needs 2 rows or more; "
                f"got {len(whole[0])}."
            )
        with torch.autocast(whole[0].device.type, enabled=False):  # sums of squares of a batch need 24 bits
            output: LossOutput = super().__call__(*whole, generator=generator)
        if output.loss.device.type == "cpu" and not bool(torch.isfinite(output.loss)):
            self._refuse_nonfinite(whole, output)
        if constant(whole[0]):
            warnings.warn(
                f"{self.label}: all {len(whole[0])} codes of view 0 are the same (complete collapse); "
                f"no criterion can tell the examples apart.",
                CollapseWarning,
                stacklevel=2,
            )
        return output

    def _check(self, codes: tuple[Tensor, ...]) -> None:
        least, most = self.views
        if len(codes) < least or (most is not None and len(codes) > most):
            count = (
                f"{least}" if least == most else f"{least} or more" if most is None else f"{least} to {most}"
            )
            raise ValueError(f"{self.label} takes the codes of {count} views; got {len(codes)}.")
        for z in codes:
            if not isinstance(z, Tensor) or not z.is_floating_point():
                got = z.dtype if isinstance(z, Tensor) else type(z).__name__
                raise TypeError(f"{self.label} takes codes as floating-point tensors (N, D); got {got}.")
            if z.ndim != 2 or not z.shape[1]:
                raise ValueError(
                    f"{self.label} takes codes (N, D), one example a row; got shape {tuple(z.shape)}."
                )
        kinds = {(tuple(z.shape), z.dtype, z.device) for z in codes}
        if len(kinds) > 1:
            raise ValueError(
                f"{self.label} needs codes of one shape, dtype and device, row i of all from the same "
                f"example; got {' and '.join(f'{tuple(z.shape)} {z.dtype} on {z.device}' for z in codes)}."
            )

    def _refuse_nonfinite(self, codes: tuple[Tensor, ...], output: LossOutput) -> None:
        for number, z in enumerate(codes):
            bad = (~torch.isfinite(z).all(1)).nonzero().flatten().tolist()
            if bad:
                raise ValueError(
                    f"{self.label}: the codes of view {number} hold NaN or infinity in {len(bad)} rows, "
                    f"{bad[:5]}."
                )
        raise ValueError(
            f"{self.label} is {output.loss.item()} on codes that are finite: they are too large for "
            f"{codes[0].dtype} (greatest {max(float(z.abs().max()) for z in codes):.1e}); scale them down."
        )


def widened(z: Tensor) -> Tensor:
    """Codes in float32 or wider; bfloat16 and float16 hold too few digits for sums over a batch."""
    return z.float() if z.dtype in (torch.bfloat16, torch.float16) else z
