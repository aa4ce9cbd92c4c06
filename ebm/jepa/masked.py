"""A loss of random masks: each step hides other patches, and asks for them.

    L(E, data) = L'(E, context = C, targets = T, data),        C, T drawn for every row and step

What is hidden is what has to be predicted. So masks belong to the loss, as views and corruptions do; the
energy stays a function of (x, context, targets).

Reference: Assran et al. (2023), "Self-Supervised Learning from Images with a Joint-Embedding Predictive
Architecture", sect. 3.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ebm.binder import map_rows
from ebm.energy import Energy
from ebm.jepa.masks import Masks
from ebm.loss import Loss, LossOutput


class Masked(Loss):
    """A loss whose energy is told which patches it sees and which it is to predict.

    Args:
        loss: of the energy with its masks, e.g. `AverageEnergy()`.
        masks: e.g. `MultiBlock(encoder.grid)` or `vjepa_masks(encoder.grid)`.
        of: the name of the data that is masked; it says how many rows there are.

    Raises:
        TypeError: if these are no masks; on a call, if the data has no such variable, or the energy no
            variables `context` and `targets`.
        ValueError: on a call, if the data comes with masks of its own.

    Example:
        >>> from ebm.jepa import IJEPA, MultiBlock
        >>> from ebm.loss import AverageEnergy
        >>> from ebm.nets import PatchPredictor, PatchViT
        >>> f = PatchViT(28, 4, channels=1, width=16, depth=1, heads=2)
        >>> E = IJEPA(f, PatchPredictor(f.grid, 16, width=8, depth=1, heads=2))
        >>> loss = Masked(AverageEnergy(), MultiBlock(f.grid))
        >>> loss(E, torch.Generator().manual_seed(0), x=torch.zeros(2, 1, 28, 28)).loss > 0
        tensor(True)
    """

    def __init__(self, loss: Loss, masks: Masks, of: str = "x"):
        super().__init__()
        if not isinstance(masks, Masks):
            raise TypeError(f"masks are `Masks` of ebm.jepa, such as MultiBlock((14, 14)); got {masks!r}.")
        self.part, self.masks, self.of = loss, masks, of

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        x = data.get(self.of)
        if not isinstance(x, Tensor):
            raise TypeError(
                f"{self.label} masks {self.of!r}, a tensor (B, *shape) in the data; the data holds "
                f"{', '.join(data) or 'nothing'}."
            )
        if not {"context", "targets"} <= set(energy.variables):
            raise TypeError(
                f"Masked tells an energy its `context` and `targets`, as IJEPA has them; {energy.label} has "
                f"{', '.join(energy.variables)}."
            )
        if taken := [name for name in ("context", "targets") if name in data]:
            raise ValueError(f"{taken[0]!r} is drawn by the masks and cannot come with the data as well.")
        drawn = self.masks.draw(len(x), generator)
        context, targets = (map_rows(each, lambda index: index.to(x.device)) for each in drawn)
        output: LossOutput = self.part(energy, generator, context=context, targets=targets, **data)
        return output

    @property
    def label(self) -> str:
        return self.part.label

    @property
    def described(self) -> str:
        return f"{self.part.described} of {type(self.masks).__name__} masks"
