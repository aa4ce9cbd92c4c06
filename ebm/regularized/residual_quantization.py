"""Residual vector quantization: what the first code misses goes to a second codebook, and so on.

    E(h, z) = |h - Σ_s c^s_{z_s}|²,        r_1 = h,    r_{s+1} = r_s - c^s_{z_s}

S codebooks of K codes reach K^S points, with S·K codes to learn and S·K distances to compute. The points are
taken stage by stage: each chooses the code nearest to what is left, z_s = argmin_k |r_s - c^s_k|², which is a
beam search of width 1. A wider beam keeps the best W beginnings; no width below K^{S-1} promises the minimum.

Reference: Juang & Gray (1982), "Multiple stage vector quantization for speech coding"; Zeghidour et al.
(2021), "SoundStream: An End-to-End Neural Audio Codec", sect. III-C and alg. 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ebm.infer.method import count
from ebm.regularized.exact import exactly
from ebm.regularized.quantizer import Quantizer, distance, rotated, straight_through
from ebm.regularized.vector_quantization import Estimator, Learning, VectorQuantization, vectors
from ebm.solution import Solution, Stop


class ResidualQuantization(Quantizer):
    """E(h, z) = Σ_cells |h - Σ_s c^s_{z_s}|², for vectors h (B, *cells, D) and z (B, *cells, S) int64.

    Args:
        levels: S vector quantizations with K codes of D numbers each; the first one's estimator and
            commitment β are those of the whole.

    Raises:
        ValueError: if there is no stage, or codebooks differ in shape.

    Example:
        >>> coarse = VectorQuantization(torch.tensor([[0.0], [10.0]]))
        >>> fine = VectorQuantization(torch.tensor([[-1.0], [1.0]]))
        >>> quantizer = ResidualQuantization([coarse, fine])
        >>> z = quantizer.infer(torch.tensor([[9.2], [0.7]])).value
        >>> z, quantizer.decode(z)
        (tensor([[1, 0],
                [0, 1]]), tensor([[9.],
                [1.]]))
    """

    def __init__(self, levels: Sequence[VectorQuantization]):
        super().__init__()
        if strange := [level for level in levels if not isinstance(level, VectorQuantization)]:
            raise TypeError(f"a stage is a VectorQuantization; got {type(strange[0]).__name__}.")
        shapes = {tuple(level.codebook.shape) for level in levels}
        if len(shapes) != 1:
            raise ValueError(
                f"residual quantization needs at least one stage, and codebooks of one shape (K, D); got "
                f"{len(levels)} stages with shapes {sorted(shapes)}."
            )
        self.levels = nn.ModuleList(levels)
        self.stages, self.size, self.choices = len(levels), levels[0].size, levels[0].choices
        self.estimator, self.commitment = levels[0].estimator, levels[0].commitment

    @classmethod
    def from_data(
        cls,
        h: Tensor,
        codes: int,
        stages: int,
        learning: Learning = "ema",
        estimator: Estimator = "straight-through",
        commitment: float = 0.25,
        decay: float = 0.99,
        expire: float = 0.0,
        *,
        generator: torch.Generator | None = None,
    ) -> ResidualQuantization:
        """A quantizer whose codes at each stage are random residuals of the stages before it.

        Args:
            h: (..., D), encoded data.
            codes: K, at most as many as there are vectors.
            stages: S.

        Raises:
            ValueError: if there are fewer vectors than codes, or one holds NaN or infinity.
        """
        residual, levels = vectors(h), []
        for _ in range(count("stages", stages)):
            level = VectorQuantization.from_data(
                residual, codes, learning, estimator, commitment, decay, expire, generator=generator
            )
            levels.append(level)
            residual = residual - level.decode(level.assign(residual)).detach()
        return cls(levels)

    def forward(self, h: Tensor, z: Tensor) -> Tensor:
        return distance(h, self.decode(self.check_pair(h, z)))

    def assign(self, h: Tensor) -> Tensor:
        """The codes that a beam of width 1 finds for vectors (B, *cells, D): z, (B, *cells, S) int64."""
        numbers, residual = [], self.check_vectors(h).detach()
        for level in self._levels():
            numbers.append(level.assign(residual))
            residual = residual - level.decode(numbers[-1]).detach()
        return torch.stack(numbers, -1)

    def search(self, h: Tensor, width: int) -> Tensor:
        """The codes that a beam of this width finds, (B, *cells, S) int64.

        Of all continuations of the W best beginnings the W nearest to h go on.

        Args:
            h: (B, *cells, D).
            width: W >= 1; K^{S-1} looks at everything.
        """
        count("width", width)
        with torch.no_grad():
            rows = self.check_vectors(h).reshape(-1, 1, self.size)  # (N, W, D): what each beginning leaves
            paths = torch.zeros(len(rows), 1, 0, dtype=torch.int64, device=h.device)
            for level in self._levels():
                kept, codes = rows.shape[1], level.codebook
                exact = "donot_use_mm_for_euclid_dist"  # the expanded square loses digits
                left = torch.cdist(rows.reshape(-1, self.size), codes, compute_mode=exact)
                left = left.view(len(rows), kept * self.choices)
                best = left.topk(min(width, left.shape[1]), largest=False).indices  # (N, W)
                begin, number = best // self.choices, best % self.choices
                rows = rows.gather(1, begin.unsqueeze(2).expand(-1, -1, self.size)) - codes[number]
                before = paths.gather(1, begin.unsqueeze(2).expand(-1, -1, paths.shape[2]))
                paths = torch.cat([before, number.unsqueeze(2)], 2)
            nearest = rows.square().sum(2).argmin(1)
            chosen = paths[torch.arange(len(paths), device=h.device), nearest]
        return chosen.view(*h.shape[:-1], self.stages)

    def infer(self, h: Tensor, width: int = 1) -> Solution:
        """The codes that a beam finds, with their energy; "exhausted" where the beam was wide enough for all.

        Args:
            h: (B, *cells, D).
            width: of the beam, W.
        """
        with torch.no_grad():
            z = self.assign(h) if width == 1 else self.search(h, width)
            energy = self(h=h, z=z)
        everything = width >= self.choices ** (self.stages - 1)
        return exactly(z, energy, Stop.EXHAUSTED if everything else Stop.STALLED)

    def decode(self, z: Tensor) -> Tensor:
        """Σ_s c^s_{z_s}, (B, *cells, S) -> (B, *cells, D)."""
        if z.ndim < 2 or z.shape[-1] != self.stages:
            raise ValueError(
                f"there are {self.stages} stages, so z is (B, *cells, {self.stages}); got {tuple(z.shape)}."
            )
        parts = [level.decode(numbers) for level, numbers in zip(self._levels(), z.unbind(-1), strict=True)]
        return torch.stack(parts).sum(0)

    def estimate(self, h: Tensor, z: Tensor) -> Tensor:
        code = self.decode(self.check_pair(h, z)).detach()
        return straight_through(h, code) if self.estimator == "straight-through" else rotated(h, code)

    def learning_cost(self, h: Tensor, z: Tensor) -> Tensor:
        """The learning costs of the stages, each of what the stages before it left, (B,)."""
        total = h.new_zeros(len(h))
        for level, residual, numbers in self._residuals(h, z):
            total = total + level.learning_cost(residual, numbers)
        return total

    def update(self, h: Tensor, z: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Each stage learns from what the stages before it, as they were, left; see `VectorQuantization`."""
        parts = list(self._residuals(h.detach(), z))  # before any codebook moves
        replaced = [level.update(left, numbers, generator)["expired"] for level, left, numbers in parts]
        return {"expired": torch.stack(replaced).sum()}

    def _residuals(self, h: Tensor, z: Tensor) -> list[tuple[VectorQuantization, Tensor, Tensor]]:
        """For each stage its quantization, r_s, and z_s; codes are held fixed."""
        found, residual = [], h
        self.check_pair(h, z)
        for level, numbers in zip(self._levels(), z.unbind(-1), strict=True):
            found.append((level, residual, numbers))
            residual = residual - level.decode(numbers).detach()
        return found

    def _levels(self) -> list[VectorQuantization]:
        return [level for level in self.levels if isinstance(level, VectorQuantization)]
