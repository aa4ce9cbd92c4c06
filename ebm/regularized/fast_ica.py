"""Fast independent components: the rotation of white data whose coordinates are least Gaussian.

    x = A s,   s independent:   w_k ← E[x̃ g(w_k x̃)] - E[g'(w_k x̃)] w_k,   W ← (W Wᵀ)^(-1/2) W

x̃ are the white data, so W is a rotation; each row takes an approximate Newton step towards an extremum of
E[G(w_k x̃)], g = G', whatever the sign of the source's kurtosis; then all rows are made orthogonal at once
(the parallel, or symmetric, form). The convergence is cubic for symmetric sources.

| contrast | G(s) | good for |
|---|---|---|
| "logcosh" | log cosh s | most sources |
| "exp" | -exp(-s²/2) | sources with heavy tails, outliers |
| "cube" | s⁴/4 | sources with light tails, no outliers |

Reference: Hyvärinen & Oja (2000), "Independent Component Analysis: Algorithms and Applications", sect. 6.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ebm.infer.method import count, positive
from ebm.regularized.checks import check_parameters, check_width
from ebm.regularized.exact import check_data, home
from ebm.regularized.pca import principal
from ebm.steps import Steps

Contrast = Literal["logcosh", "exp", "cube"]
ON_CPU = 2**16  # numbers of a block, for a cache of a megabyte
ELSEWHERE = 2**26


@dataclass(frozen=True)
class FastICA:
    """An unmixing of data into sources of variance 1, uncorrelated and as independent as a rotation can make.

    Attributes:
        mean: m, (D,).
        unmixing: W in s = (y - m)Wᵀ, (K, D).
        mixing: A in y ≈ m + sAᵀ, (D, K), the pseudo-inverse of W.
        steps: how many were taken.
        converged: whether the last changed no row's direction by more than the tolerance.
        interrupted: whether Ctrl-C ended it before.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> sources = torch.rand(5000, 2, generator=g, dtype=torch.float64)
        >>> mixing = torch.tensor([[1.0, 2.0], [0.5, -1.0]], dtype=torch.float64)
        >>> found = FastICA.fit(sources @ mixing.T, generator=g)
        >>> p = (found.unmixing @ mixing).abs()  # a scaled permutation
        >>> bool(((p / p.amax(1, keepdim=True)).amin(1) < 0.05).all())
        True
    """

    mean: Tensor
    unmixing: Tensor
    mixing: Tensor
    steps: int
    converged: bool
    interrupted: bool = False

    @classmethod
    def fit(
        cls,
        y: Tensor,
        k: int | None = None,
        *,
        contrast: Contrast = "logcosh",
        max_steps: int = 200,
        tol: float = 1e-4,
        start: Tensor | None = None,
        generator: torch.Generator | None = None,
        progress: bool = True,
    ) -> FastICA:
        """Find the sources of some data; Ctrl-C ends it after a whole step.

        Args:
            y: (N, D).
            k: K sources in the plane of the K largest variances; D if None.
            contrast: "logcosh", "exp" or "cube".
            max_steps: at most so many.
            tol: it ends when max_k |1 - |⟨w_k, previous w_k⟩|| is below.
            start: W of white data to begin with, (K, K); random if None.
            generator: randomness of that.
            progress: show a bar if it takes long.

        Returns:
            Mean, unmixing and mixing in the dtype of the data. The sources' order and signs mean nothing. A
            warning says where it did not converge.

        Raises:
            ValueError: if K is too large, the data are constant in a direction, the contrast is unknown, or
                a row holds NaN or infinity.
        """
        count("max_steps", max_steps)
        positive("tol", tol)
        if contrast not in CONTRASTS:
            raise ValueError(f"contrast is one of {', '.join(map(repr, CONTRASTS))}; got {contrast!r}.")
        y = check_data(y, least=2)
        k = y.shape[1] if k is None else count("k", k)
        mean, whitener, colorer = white(y, k)
        if start is None:
            start = torch.randn(k, k, generator=generator, dtype=torch.float64, device=home(generator))
        elif start.shape != (k, k):
            raise ValueError(f"start is W of white data, {(k, k)}; got shape {tuple(start.shape)}.")
        else:
            check_parameters(start=start)
            if not float(torch.linalg.matrix_rank(start)) == k:
                raise ValueError(f"start has {k} rows that are independent, to begin with a rotation.")
        x, w = (y - mean.to(y)) @ whitener.T.to(y), rotation(start.to(y))
        change, taken = torch.inf, 0
        with Steps("FastICA", max_steps, progress) as steps:
            for _ in range(max_steps):
                moved = rotation(_newton(x, w, CONTRASTS[contrast]))
                change = float(((moved * w).sum(1).abs() - 1).abs().max())
                w, taken = moved, taken + 1
                if steps.ended(change < tol or taken == max_steps, change=change):
                    break
        if change >= tol and not steps.interrupted:
            warnings.warn(
                f"FastICA changed by {change:.2g} in the last of {taken} steps, tol is {tol:g}: allow more "
                "max_steps, or a larger tol. Two Gaussian sources have no rotation of their own.",
                stacklevel=2,
            )
        unmixing, mixing = w.double() @ whitener, colorer @ w.double().T
        return cls(mean.to(y), unmixing.to(y), mixing.to(y), taken, change < tol, steps.interrupted)

    def encode(self, y: Tensor) -> Tensor:
        """The sources, (y - m)Wᵀ, (B, D) -> (B, K)."""
        return (check_width("y", y, len(self.mean)) - self.mean) @ self.unmixing.T

    def decode(self, s: Tensor) -> Tensor:
        """What sources make, m + sAᵀ, (B, K) -> (B, D)."""
        return torch.addmm(self.mean, check_width("s", s, len(self.unmixing)), self.mixing.T)


def white(y: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """The mean m (D,), V (K, D) for which (y - m)Vᵀ is white (over N), and its inverse (D, K), in float64.

    Raises:
        ValueError: if the data vary in fewer than K directions.
    """
    mean, variances, directions = principal(y)
    floor = torch.finfo(y.dtype).eps ** 2 * max(y.shape) * float(variances[0])
    rank = int((variances > floor).sum())
    if k > rank:
        constant = (y == y[0]).all(0).nonzero().flatten().tolist()
        what = f"columns {constant}, which are constant" if constant else "what is a sum of others"
        raise ValueError(
            f"the data vary in {rank} directions, so there are {rank} sources at most; got {k}. Pass a "
            f"smaller k, or drop {what}."
        )
    deviation = (variances[:k] * ((len(y) - 1) / len(y))).sqrt().unsqueeze(1)
    return mean, directions[:k] / deviation, (directions[:k] * deviation).T


def rotation(w: Tensor) -> Tensor:
    """The nearest orthogonal matrix, (W Wᵀ)^(-1/2) W."""
    left, _, right = torch.linalg.svd(w)
    return left @ right


def _newton(x: Tensor, w: Tensor, contrast: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Tensor:
    """E[x̃ g(w_k x̃)] - E[g'(w_k x̃)] w_k for white data x̃ (N, K), (K, K)."""
    rows = max(1, (ON_CPU if x.device.type == "cpu" else ELSEWHERE) // len(w))
    slopes, curvature = torch.zeros_like(w), torch.zeros_like(w[0])
    for start in range(0, len(x), rows):
        block = x[start : start + rows]
        g, total = contrast(block @ w.T)
        slopes.addmm_(g.T, block)
        curvature += total
    return (slopes - curvature.unsqueeze(1) * w) / len(x)


def _logcosh(s: Tensor) -> tuple[Tensor, Tensor]:
    """g(s), (B, K), and the sum of g'(s) over the rows, (K,)."""
    g = s.tanh_()
    return g, len(g) - torch.linalg.vector_norm(g, dim=0).square()


def _exp(s: Tensor) -> tuple[Tensor, Tensor]:
    square = s.square()
    bell = (-0.5 * square).exp_()
    return s * bell, ((1 - square) * bell).sum(0)


def _cube(s: Tensor) -> tuple[Tensor, Tensor]:
    square = s.square()
    return s * square, 3 * square.sum(0)


CONTRASTS = {"logcosh": _logcosh, "exp": _exp, "cube": _cube}
