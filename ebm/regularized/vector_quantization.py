"""Vector quantization: of K codes the nearest.

    E(h, z) = |h - c_z|²,        z*(h) = argmin_z |h - c_z|²,        z ∈ {0, ..., K-1}

Only K points have energy 0. While an encoder h = f(y) and the codes are learned, the energy is split: codes
move to what is assigned to them, and what is assigned commits itself to its code,

    learning cost = |sg h - c_z|² + β |h - sg c_z|²                                             (by gradient)
    N_i ← γ N_i + (1-γ) n_i,    m_i ← γ m_i + (1-γ) Σ_{z=i} h,    c_i = m_i / Ñ_i                    (by EMA)
    Ñ_i = (N_i + ε) / (N + K ε) · N,    N = Σ_i N_i                                      (Laplace smoothing)

n_i counts the vectors of a batch nearest to code i; γ = 0 is a step of Lloyd's algorithm. A code which few
come to is dead: it never moves again. Where N_i falls below a threshold, a vector of the batch takes its
place.

Reference: van den Oord, Vinyals & Kavukcuoglu (2017), "Neural Discrete Representation Learning", eq. 3 and
appendix A.1; smoothing as in their published code; dead codes: Dhariwal et al. (2020), "Jukebox", sect. 3.1.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ebm.infer.method import count, fraction, positive
from ebm.processes import average, share, world_size
from ebm.regularized.nearest import nearest
from ebm.regularized.quantizer import Quantizer, distance, rotated, straight_through

SMOOTHING = 1e-5  # ε

Learning = Literal["ema", "gradient"]
Estimator = Literal["straight-through", "rotation"]


class VectorQuantization(Quantizer):
    """E(h, z) = Σ_cells |h - c_z|², for vectors h (B, *cells, D) and z (B, *cells) int64.

    Args:
        codebook: c, (K, D), one code a row.
        learning: how codes are learned: "ema", by `update`, or "gradient", by `learning_cost`.
        estimator: the gradient of quantizing: "straight-through" or "rotation".
        commitment: β >= 0.
        decay: γ in [0, 1), also of the counts by which dead codes are known.
        expire: a code is dead where N_i, in vectors a batch, is below this; 0 keeps all. N_i begins at twice
            this, or at 1 if that is more, so that a new code has time to be found.

    Raises:
        ValueError: if the codebook is no matrix or holds NaN or infinity, or a setting is out of its range.

    Example:
        >>> quantizer = VectorQuantization(torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
        >>> h = torch.tensor([[0.9, 0.8], [0.1, -0.2]])
        >>> quantizer.quantize(h).z, quantizer.infer(h).energy
        (tensor([1, 0]), tensor([0.0500, 0.0500]))
    """

    codebook: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(
        self,
        codebook: Tensor,
        learning: Learning = "ema",
        estimator: Estimator = "straight-through",
        commitment: float = 0.25,
        decay: float = 0.99,
        expire: float = 0.0,
    ):
        super().__init__()
        if codebook.ndim != 2 or not codebook.numel() or not codebook.is_floating_point():
            raise ValueError(
                f"a codebook is (K, D), one code a row, of floating dtype; got shape "
                f"{tuple(codebook.shape)}, {codebook.dtype}."
            )
        _refuse_bad_rows(codebook, "the codebook")
        if learning not in ("ema", "gradient"):
            raise ValueError(f"learning is 'ema' or 'gradient'; got {learning!r}.")
        if estimator not in ("straight-through", "rotation"):
            raise ValueError(f"estimator is 'straight-through' or 'rotation'; got {estimator!r}.")
        positive("commitment", commitment, zero=True)
        positive("expire", expire, zero=True)
        self.decay = fraction("decay", decay)
        self.choices, self.size = codebook.shape
        self.learning, self.estimator = learning, estimator
        self.commitment, self.expire = float(commitment), float(expire)
        codebook = codebook.detach().clone()
        if learning == "gradient":
            self.codebook = nn.Parameter(codebook)
        else:
            self.register_buffer("codebook", codebook)
        self.register_buffer("counts", torch.full_like(codebook[:, 0], self.weight))  # N
        self.register_buffer("sums", self.weight * codebook)  # m

    @classmethod
    def from_data(
        cls,
        h: Tensor,
        codes: int,
        learning: Learning = "ema",
        estimator: Estimator = "straight-through",
        commitment: float = 0.25,
        decay: float = 0.99,
        expire: float = 0.0,
        *,
        generator: torch.Generator | None = None,
    ) -> VectorQuantization:
        """A quantizer whose codes are random vectors of the data.

        Args:
            h: (..., D), encoded data.
            codes: K, at most as many as there are vectors.

        Raises:
            ValueError: if there are fewer vectors than codes, or one holds NaN or infinity.
        """
        rows = vectors(h)
        if len(rows) < count("codes", codes):
            raise ValueError(f"{codes} codes need as many vectors; there are {len(rows)}.")
        _refuse_bad_rows(rows, "h")
        return cls(rows[_some(len(rows), codes, generator)], learning, estimator, commitment, decay, expire)

    @property
    def weight(self) -> float:
        """N_i of a code that is new, in vectors."""
        return max(1.0, 2 * self.expire)

    def forward(self, h: Tensor, z: Tensor) -> Tensor:
        return distance(h, self.decode(self.check_pair(h, z)))

    def assign(self, h: Tensor) -> Tensor:
        """The nearest codes of vectors (B, *cells, D): z, (B, *cells) int64."""
        with torch.no_grad():
            rows = self.check_vectors(h).detach().reshape(-1, self.size).to(self.codebook.dtype)
            index, _ = nearest(rows, self.codebook.detach())
        return index.view(h.shape[:-1])

    def decode(self, z: Tensor) -> Tensor:
        """c_z, (B, *cells) -> (B, *cells, D)."""
        return self.codebook[self.check_codes(z)]

    def estimate(self, h: Tensor, z: Tensor) -> Tensor:
        code = self.decode(self.check_pair(h, z)).detach()
        return straight_through(h, code) if self.estimator == "straight-through" else rotated(h, code)

    def learning_cost(self, h: Tensor, z: Tensor) -> Tensor:
        """β |h - sg c_z|², (B,), and |sg h - c_z|² where codes are learned by gradient."""
        code = self.decode(self.check_pair(h, z))
        cost = self.commitment * distance(h, code.detach())
        return cost + distance(h.detach(), code) if self.learning == "gradient" else cost

    @torch.no_grad()
    def update(self, h: Tensor, z: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Count what came to each code, move codes learned by EMA there, and replace dead ones.

        Under torchrun the vectors of all processes count.

        Args:
            h: (B, *cells, D).
            z: (B, *cells), their codes.
            generator: which vectors replace dead codes.

        Returns:
            "expired", how many codes were replaced.
        """
        rows = self.check_vectors(h).reshape(-1, self.size).to(self.codebook.dtype)
        index = self.check_codes(self.check_pair(h, z)).reshape(-1)
        counts = torch.bincount(index, minlength=self.choices).to(self.counts)
        sums = torch.zeros_like(self.sums).index_add_(0, index, rows)
        if not bool(torch.isfinite(sums.sum())):
            _refuse_bad_rows(rows, "h")
        average([counts, sums])
        self.counts.lerp_(world_size() * counts, 1 - self.decay)
        self.sums.lerp_(world_size() * sums, 1 - self.decay)
        if self.learning == "ema":
            total = self.counts.sum()
            smoothed = (self.counts + SMOOTHING) / (total + self.choices * SMOOTHING) * total
            known = self.counts > 0  # without memory, a code that nothing came to stays where it is
            self.codebook[known] = (self.sums / smoothed.unsqueeze(1))[known]
        dead = (self.counts < self.expire).nonzero().flatten()[: len(rows)]
        if len(dead):
            chosen = rows[_some(len(rows), len(dead), generator)]
            share([chosen])
            self.codebook[dead] = chosen
            self.counts[dead] = self.weight
            self.sums[dead] = self.weight * chosen
        return {"expired": torch.tensor(float(len(dead)), device=h.device)}


def vectors(h: Tensor) -> Tensor:
    """Data (..., D) as vectors (N, D), detached.

    Raises:
        TypeError: if they are no tensor of floating point numbers.
        ValueError: if they are (D,) alone.
    """
    if not isinstance(h, Tensor) or not h.is_floating_point():
        came = h.dtype if isinstance(h, Tensor) else type(h).__name__
        raise TypeError(f"vectors are a tensor of floating point numbers; got {came}.")
    if h.ndim < 2:
        raise ValueError(
            f"vectors are (..., D), one dimension at least before D; got shape {tuple(h.shape)}."
        )
    return h.detach().reshape(-1, h.shape[-1])


def _some(rows: int, wanted: int, generator: torch.Generator | None) -> Tensor:
    """Different row numbers in random order, at most as many as there are."""
    home = None if generator is None else generator.device
    return torch.randperm(rows, generator=generator, device=home)[:wanted]


def _refuse_bad_rows(rows: Tensor, name: str) -> None:
    bad = (~torch.isfinite(rows).all(1)).nonzero().flatten().tolist()
    if bad:
        raise ValueError(f"{name} holds NaN or infinity in {len(bad)} rows, {bad[:5]}; drop or repair them.")
