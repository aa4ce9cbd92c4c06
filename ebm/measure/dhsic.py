"""dHSIC: how far variables are from independent, of one another in pairs or all together.

    dHSIC = (1/n²) Σ_ij Π_d K^d_ij + Π_d (1/n²) Σ_ij K^d_ij - (2/n) Σ_i Π_d (1/n) Σ_j K^d_ij
    K^d_ij = exp(-|x^d_i - x^d_j|² / 2σ_d²)

It is the squared distance, in the kernel's function space, between the joint distribution and the product of
its margins, both of them taken from the n rows. In the population it is 0 for independent variables and for
no others. In a sample it isn't: independent rows give about 1/n times a constant, so compare it with the
value of the same columns after each was shuffled on its own. For two variables it is HSIC, tr(K H L H) / n²,
H = I - 11ᵀ/n. Pairs can all be independent while three are not (x, y and x·y of random signs).

The width: σ_d² is half the median of |x^d_i - x^d_j|² over pairs of rows i < j (the median heuristic, the
exponent is then |x_i - x_j|² / median). Units of measurement don't matter then.

Reference: Pfister, Bühlmann, Schölkopf & Peters (2018), "Kernel-based tests for joint independence", sect. 2
and 4; Gretton, Bousquet, Smola & Schölkopf (2005), "Measuring statistical dependence with Hilbert-Schmidt
norms", for two variables.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ebm.measure.spectrum import double

ENTRIES = 2**22  # of kernel matrices that are made at once, which bounds the memory where no graph is kept
MEDIAN_ROWS = 1024  # rows, evenly spaced, whose distances give the median


def hsic(x: Tensor, y: Tensor, *, bandwidth: float | Sequence[float] | None = None) -> Tensor:
    """How far two variables are from independent: tr(K H L H) / n²; differentiable.

    Args:
        x, y: n rows each, (n,) or (n, d), d may differ; row i of both from one example; n >= 2.
        bandwidth: σ > 0 of both kernels, or one for each; each from its median where None.

    Returns:
        A 0-dim float64 tensor, 0 to 1; the bandwidths that were found count as constants in its gradient.

    Raises:
        TypeError, ValueError: see `dhsic`.

    Reference: Gretton, Bousquet, Smola & Schölkopf (2005), definition 2, with 1/n² for 1/(n - 1)².

    Example:
        >>> x = torch.tensor([0.0, 0.0, 1.0, 1.0])  # two fair coins
        >>> print(f"{hsic(x, x, bandwidth=1.0):.4f}, {hsic(x, x[[0, 2, 1, 3]], bandwidth=1.0):.4f}")
        0.0387, 0.0000
    """
    return dhsic(x, y, bandwidth=bandwidth)


def dhsic(*parts: Tensor, bandwidth: float | Sequence[float] | None = None) -> Tensor:
    """How far two or more variables are from independent, all together; differentiable.

    Args:
        parts: the variables, n rows each, (n,) or (n, d), d may differ; n >= 2.
        bandwidth: σ > 0 of all kernels, or one for each; each from its median where None.

    Returns:
        A 0-dim float64 tensor, 0 to 1; the bandwidths that were found count as constants in its gradient.

    Raises:
        TypeError: if a variable isn't a floating-point tensor.
        ValueError: for fewer than two variables, other shapes, rows that differ in number, values that are
            NaN or infinite, a bandwidth that isn't positive, or a median that is 0.

    Reference: Pfister, Bühlmann, Schölkopf & Peters (2018), definition 2.6 (the V-statistic).

    Example:
        >>> x, y = torch.tensor([[1.0, 1, -1, -1], [1.0, -1, 1, -1]])
        >>> pairs = [hsic(a, b, bandwidth=1.0) for a, b in [(x, y), (x, x * y), (y, x * y)]]
        >>> print(f"{max(pairs):.4f}, {dhsic(x, y, x * y, bandwidth=1.0):.4f}")  # in pairs, and together
        0.0000, 0.0808
    """
    columns = _checked(parts)
    if len(columns) < 2:
        raise ValueError(f"independence is a matter of two variables or more; got {len(columns)}.")
    scales = _scales(columns, bandwidth)
    n = len(columns[0])
    joint, margins = [], []
    for rows in _row_blocks(n, n):
        kernels = [_kernel(z, s, rows) for z, s in zip(columns, scales, strict=True)]
        margins.append(torch.stack([k.mean(1) for k in kernels]))
        joint.append(math.prod(kernels[1:], start=kernels[0]).sum())
    margin = torch.cat(margins, 1)  # (d, n)
    return torch.stack(joint).sum() / n**2 + margin.mean(1).prod() - 2 * margin.prod(0).mean()


def pairwise_hsic(z: Tensor, *, bandwidth: float | Sequence[float] | None = None) -> Tensor:
    """How far the columns of codes are from independent in pairs: the mean HSIC of two columns.

    Each column's kernel is made once, a block of its rows at a time: all pairs come from one product of
    matrices, (D, rows · n) times its transpose.

    Args:
        z: codes, (n, D), n >= 2, D >= 2.
        bandwidth: σ > 0 of all columns, or one for each; each from its median where None.

    Returns:
        The mean over the D (D - 1) / 2 pairs, a 0-dim float64 tensor; differentiable as `hsic` is.

    Raises:
        TypeError, ValueError: see `dhsic`.

    Reference: Mialon, Balestriero & LeCun (2022), "Variance-covariance regularization enforces pairwise
    independence in self-supervised representations", which measures codes so.

    Example:
        >>> signs = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])  # x, y, x·y
        >>> print(f"{pairwise_hsic(signs, bandwidth=1.0):.4f}")
        0.0000
    """
    if not isinstance(z, Tensor) or z.ndim != 2 or z.shape[1] < 2:
        came = tuple(z.shape) if isinstance(z, Tensor) else type(z).__name__
        raise ValueError(f"pairwise_hsic compares the columns of codes (n, D), D >= 2; got {came}.")
    columns = _checked(z.unbind(1))
    scales = _scales(columns, bandwidth)
    n, d = z.shape
    products, margins = [], []
    for rows in _row_blocks(n, d * n):
        kernels = torch.stack([_kernel(c, s, rows) for c, s in zip(columns, scales, strict=True)])
        margins.append(kernels.mean(2))
        flat = kernels.flatten(1)  # (D, rows · n)
        products.append(flat @ flat.T)
    margin = torch.cat(margins, 1)  # (D, n)
    means = margin.mean(1)
    matrix = torch.stack(products).sum(0) / n**2 + torch.outer(means, means) - 2 / n * margin @ margin.T
    return matrix[torch.triu(torch.ones_like(matrix, dtype=torch.bool), 1)].mean()


def _kernel(z: Tensor, scale: float, rows: slice) -> Tensor:
    """The rows of exp(-|z_i - z_j|² / scale), (rows, n)."""
    return torch.exp(-_squares(z[rows], z) / scale)


def _squares(x: Tensor, z: Tensor) -> Tensor:
    """|x_i - z_j|²; z is centered and in float64, so this loses nothing that matters."""
    return (x.square().sum(1).unsqueeze(1) + z.square().sum(1) - 2 * x @ z.T).clamp(min=0)


def _row_blocks(n: int, entries: int) -> Iterator[slice]:
    step = max(1, ENTRIES // entries)
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def _scales(columns: Sequence[Tensor], bandwidth: float | Sequence[float] | None) -> list[float]:
    """2σ² for each variable."""
    if bandwidth is None:
        return [_median(z.detach(), number) for number, z in enumerate(columns)]
    widths = list(bandwidth) if isinstance(bandwidth, Sequence) else [bandwidth] * len(columns)
    if len(widths) != len(columns):
        raise ValueError(f"give one bandwidth, or one for each of {len(columns)} variables; got {widths}.")
    if not all(0 < w < math.inf for w in widths):
        raise ValueError(f"a bandwidth is a standard deviation, positive and finite; got {bandwidth}.")
    return [2 * float(w) ** 2 for w in widths]


def _median(z: Tensor, number: int) -> float:
    some = z[torch.linspace(0, len(z) - 1, min(len(z), MEDIAN_ROWS), device=z.device).round().long()]
    median = float(torch.pdist(some).median()) ** 2
    if median == 0:
        raise ValueError(
            f"half of the rows of variable {number} or more are equal, so the median of their distances is "
            f"0 and says nothing about a width; pass bandwidth, in units of the variable."
        )
    return median


def _checked(parts: Sequence[Tensor]) -> list[Tensor]:
    """The variables as (n, d) in float64, their means taken off."""
    for number, z in enumerate(parts):
        if not isinstance(z, Tensor) or not z.is_floating_point():
            came = z.dtype if isinstance(z, Tensor) else type(z).__name__
            raise TypeError(f"variable {number} is to be a floating-point tensor (n,) or (n, d); got {came}.")
        if z.ndim not in (1, 2) or len(z) < 2 or z.numel() == 0:
            raise ValueError(f"variable {number} has shape (n,) or (n, d), n >= 2; got {tuple(z.shape)}.")
        if not bool(torch.isfinite(z).all()):
            raise ValueError(f"variable {number} holds NaN or infinity.")
    sizes = [len(z) for z in parts]
    if len(set(sizes)) > 1:
        raise ValueError(f"row i of all variables comes from one example; got {sizes} rows.")
    wide = [double(z).reshape(len(z), -1) for z in parts]
    return [z - z.mean(0).detach() for z in wide]
