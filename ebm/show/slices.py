"""Slices: some numbers of a large variable are moved, all the others stay where they are.

    v(t) = base with v[entries_k] = t_k,  k = 1..K        E(v(t)) is an energy of t

So the energy over two coordinates of an image, of a code or of a plan is a landscape like any other:
`landscape(E.compose(y=(Slice(y0, 3, 7), "t")), "t", ax, extent)`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

Entries = int | slice | tuple[int | slice, ...]


class Slice(nn.Module):
    """From the numbers that are moved, (B, K), to the whole variable, (B, *shape).

    Args:
        base: where everything stays, one row without its row dimension, (*shape).
        entries: K indices into `base`, of one number (3, or (0, 1)) or of several that move together:
            (slice(0, 8), 1) is the second action in the first eight steps of a plan.

    Raises:
        TypeError: if the base isn't of floating-point numbers.
        ValueError: if there are no entries, one is outside of the base, or two of them overlap.

    Example:
        >>> Slice(torch.zeros(3, 2), 0, (slice(1, 3), 1))(torch.tensor([[5.0, 7.0]]))
        tensor([[[5., 5.],
                 [0., 7.],
                 [0., 7.]]])
    """

    base: Tensor
    chosen: Tensor

    def __init__(self, base: Tensor, *entries: Entries):
        super().__init__()
        if not isinstance(base, Tensor) or not base.is_floating_point():
            raise TypeError(f"a slice is through a floating-point tensor; got {base!r}.")
        if not entries:
            raise ValueError("say which entries are moved: Slice(base, 0, 1) moves the first two.")
        chosen = base.new_zeros(len(entries), *base.shape)
        for k, index in enumerate(entries):
            try:
                chosen[k][index] = 1
            except IndexError as error:
                raise ValueError(f"there is no {index!r} in a variable of {tuple(base.shape)}.") from error
            if not bool(chosen[k].any()):
                raise ValueError(f"{index!r} chooses nothing of a variable of {tuple(base.shape)}.")
        if bool((chosen.sum(0) > 1).any()):
            raise ValueError(f"entries overlap: {entries!r} move the same number twice.")
        self.register_buffer("base", base.detach().clone())
        self.register_buffer("chosen", chosen)

    def forward(self, t: Tensor) -> Tensor:
        if t.ndim != 2 or t.shape[1] != len(self.chosen):
            raise ValueError(
                f"a slice of {len(self.chosen)} entries takes (B, {len(self.chosen)}); got {tuple(t.shape)}."
            )
        fixed = self.base.masked_fill(self.chosen.bool().any(0), 0.0)
        return fixed + torch.tensordot(t, self.chosen.to(t), 1)
