"""Finite scalar quantization: each number is bounded and rounded, and the codebook is the grid that is left.

    E(h, z) = |b(h) - k_z|²,    b_i(h) = ℓ_i tanh(h_i + s_i) - o_i,    k_z ∈ Π_i {-⌊L_i/2⌋, ..., ⌈L_i/2⌉ - 1}

ℓ_i = (L_i - 1)/2 · (1 + ε). For an even L_i the range is shifted by half a step, o_i = ½, and
s_i = artanh(o_i / ℓ_i) keeps b(0) = 0; for an odd one both are 0. Rounding b is the minimum over z, number by
number. Nothing is learned and no code can die: the grid limits how much can have low energy. Decoders see
k_i / ⌊L_i/2⌋ in [-1, 1], with the gradient of b.

    z = Σ_i (k_i + ⌊L_i/2⌋) Π_{j<i} L_j      is a bijection onto {0, ..., Π L_i - 1}

Reference: Mentzer, Minnen, Agustsson & Tschannen (2023), "Finite Scalar Quantization: VQ-VAE Made Simple",
sect. 3.1 and appendix A.1, whose shift is tan(o/ℓ) in place of artanh(o/ℓ).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ebm.regularized.quantizer import Quantizer, distance, straight_through

MARGIN = 1e-3  # ε: how far b reaches beyond the outermost levels


class FiniteScalarQuantization(Quantizer):
    """E(h, z) = Σ_cells |b(h) - k_z|², for vectors h (B, *cells, D) and z (B, *cells) int64.

    Args:
        levels: (L_1, ..., L_D), each at least 2. The paper takes L_i >= 5: (8, 6, 5) for 240 codes,
            (8, 5, 5, 5) for 1,000, (7, 5, 5, 5, 5) for 4,375.

    Raises:
        ValueError: if there are no levels, fewer than 2 of one, or more than 2⁶² codes.

    Example:
        >>> quantizer = FiniteScalarQuantization((3, 2))
        >>> quantizer.choices, quantizer.decode(torch.arange(6)).tolist()
        (6, [[-1.0, -1.0], [0.0, -1.0], [1.0, -1.0], [-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
        >>> quantizer.quantize(torch.tensor([[3.0, -9.0]])).z
        tensor([2])
    """

    counts: Tensor
    places: Tensor
    reach: Tensor
    offset: Tensor
    shift: Tensor

    def __init__(self, levels: Sequence[int]):
        super().__init__()
        if isinstance(levels, int):
            raise ValueError(f"levels are whole numbers, one for each number of h, (8, 6, 5); got {levels}.")
        self.levels = tuple(levels)
        if not self.levels or any(not isinstance(n, int) or n < 2 for n in self.levels):
            raise ValueError(f"levels are whole numbers, at least 2 each and one at least; got {levels}.")
        if math.prod(self.levels) > 2**62:
            raise ValueError(
                f"{math.prod(self.levels):.2g} codes have no number in an int64; take fewer levels."
            )
        self.size, self.choices = len(self.levels), math.prod(self.levels)
        counts = torch.tensor(self.levels)
        reach = (counts - 1).double() / 2 * (1 + MARGIN)
        offset = torch.where(counts % 2 == 0, 0.5, 0.0).double()
        self.register_buffer("counts", counts)
        self.register_buffer("places", torch.tensor([math.prod(self.levels[:i]) for i in range(self.size)]))
        like = torch.get_default_dtype()
        self.register_buffer("reach", reach.to(like))
        self.register_buffer("offset", offset.to(like))
        self.register_buffer("shift", torch.atanh(offset / reach).to(like))

    def bounded(self, h: Tensor) -> Tensor:
        """b(h), (B, *cells, D), in units of a step between levels."""
        return torch.tanh(self.check_vectors(h) + self.shift) * self.reach - self.offset

    def forward(self, h: Tensor, z: Tensor) -> Tensor:
        return distance(self.bounded(h), self.steps(self.check_pair(h, z)).to(h.dtype))

    def assign(self, h: Tensor) -> Tensor:
        """The nearest grid points of b(h): z, (B, *cells) int64."""
        with torch.no_grad():
            bounded = self.bounded(h)
            if bool(bounded.isnan().any()):
                bad = bounded.isnan().flatten(1).any(1).nonzero().flatten().tolist()
                raise ValueError(
                    f"h holds NaN in {len(bad)} of {len(h)} rows, {bad[:5]}; drop or repair them."
                )
            return self.number(bounded.round().long())

    def number(self, steps: Tensor) -> Tensor:
        """z of grid points k, (..., D) int64 -> (...)."""
        digits = steps + self.counts // 2
        outside = (digits < 0) | (digits >= self.counts)
        if bool(outside.any()):
            raise ValueError(
                f"grid points have {self.levels} levels; {int(outside.any(-1).sum())} lie outside."
            )
        return (digits * self.places).sum(-1)

    def steps(self, z: Tensor) -> Tensor:
        """The grid points k of z, (...) -> (..., D) int64."""
        return self.check_codes(z).unsqueeze(-1) // self.places % self.counts - self.counts // 2

    def decode(self, z: Tensor) -> Tensor:
        """k_z / ⌊L/2⌋ in [-1, 1], (B, *cells) -> (B, *cells, D)."""
        return self.steps(z) / (self.counts // 2).to(self.reach)

    def estimate(self, h: Tensor, z: Tensor) -> Tensor:
        return straight_through(self.bounded(h) / (self.counts // 2), self.decode(z))

    def learning_cost(self, h: Tensor, z: Tensor) -> Tensor:
        """0: an encoder cannot leave the grid."""
        return h.new_zeros(len(h))

    def update(self, h: Tensor, z: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Nothing: the grid is not learned."""
        return {}
