"""Principal components: data explained by K numbers through a linear map.

    E(y, z) = ½ |y - m - zW|²,  W Wᵀ = I (K, K),        F(y) = ½ |y - m|² - ½ |(y - m)Wᵀ|²

The code is shorter than the data, so the points with energy zero are a plane of K dimensions, whatever W is:
the architecture bounds the space of low energy. The mean energy of the data is least for the plane of their
largest variances, which the singular value decomposition finds.

Reference: Pearson (1901), "On lines and planes of closest fit to systems of points in space"; Eckart & Young
(1936), "The approximation of one matrix by another of lower rank".
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.history import History
from ebm.infer.method import count
from ebm.measure.spectrum import triangle
from ebm.regularized.checks import check_parameters, check_width
from ebm.regularized.exact import check_data, exactly
from ebm.solution import Solution, Stop


class PCA(Energy):
    """E(y, z) = ½ |y - m - zW|², for data y (B, D) and codes z (B, K).

    Args:
        components: W, (K, D), orthonormal rows, K at most D.
        mean: m, (D,).
        variances: of the data along each component, (K,), if known; `fit` finds them.

    Raises:
        TypeError: if they are no floating point numbers.
        ValueError: if the shapes disagree, the rows of W are not orthonormal or something is not finite.

    Example:
        >>> model = PCA.from_data(torch.tensor([[0.0, 0.0], [2.0, 2.0], [4.0, 4.0]]), 1)
        >>> model.components
        tensor([[0.7071, 0.7071]])
        >>> y = torch.tensor([[3.0, 3.0], [0.0, 4.0]])
        >>> solution = model.infer(y)
        >>> [round(float(energy), 2) for energy in solution.energy]  # ½ of the squared distance from a line
        [0.0, 4.0]
    """

    closed_form = ("z",)
    components: Tensor
    mean: Tensor
    variances: Tensor

    def __init__(self, components: Tensor, mean: Tensor, variances: Tensor | None = None):
        super().__init__()
        if components.ndim != 2 or not 1 <= len(components) <= components.shape[1]:
            raise ValueError(f"components are (K, D), 1 <= K <= D; got shape {tuple(components.shape)}.")
        if mean.shape != components.shape[1:] or (
            variances is not None and variances.shape != components.shape[:1]
        ):
            raise ValueError(
                f"to components {tuple(components.shape)} belong a mean (D,) and variances (K,); got "
                f"{tuple(mean.shape)} and {None if variances is None else tuple(variances.shape)}."
            )
        check_parameters(components=components, mean=mean)
        gram = components @ components.T
        error = float((gram - torch.eye(len(gram)).to(gram)).abs().max())
        if not error <= 100 * torch.finfo(gram.dtype).eps ** 0.75:
            raise ValueError(
                f"the rows of W must be orthonormal; |W Wᵀ - I| is up to {error:.2g}. "
                "torch.linalg.qr(W.T).Q.T has the same plane."
            )
        known = torch.full_like(components[:, 0], torch.nan) if variances is None else variances
        for name, value in (("components", components), ("mean", mean), ("variances", known)):
            self.register_buffer(name, value.detach().clone())

    @classmethod
    def from_data(cls, y: Tensor, k: int) -> PCA:
        """The plane of the K largest variances of the data.

        Args:
            y: (N, D), N at least 2.
            k: K, at most min(N - 1, D).

        Raises:
            ValueError: if K is too large, the data are constant in all directions, or a row holds NaN or
                infinity.
        """
        y = check_data(y, least=2)
        eye = torch.eye(y.shape[1], dtype=y.dtype, device=y.device)
        model = cls(eye[: _fitting(y, k)], eye[0])
        model.fit(y)
        return model

    def encode(self, y: Tensor) -> Tensor:
        """The best code, (y - m)Wᵀ, (B, D) -> (B, K)."""
        return (self._checked(y) - self.mean) @ self.components.T

    def decode(self, z: Tensor) -> Tensor:
        """What a code stands for, m + zW, (B, K) -> (B, D)."""
        return torch.addmm(self.mean, check_width("z", z, len(self.components)), self.components)

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        return 0.5 * (self._checked(y) - self.decode(z)).square().sum(1)

    def value_and_grad(self, name: str, *, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """E, (B,), and ∇_z E = (m + zW - y)Wᵀ, (B, K)."""
        residual = self.decode(z) - self._checked(y)
        return 0.5 * residual.square().sum(1), residual @ self.components.T

    def quadratic(
        self, name: str, *, y: Tensor | None = None, z: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        """½ zᵀ I z - zᵀ W(y - m) + ½ |y - m|²; None for other variables than z."""
        if name != "z" or y is None:
            return None
        eye = torch.eye(len(self.components), dtype=y.dtype, device=y.device)
        return eye, self.encode(y), 0.5 * (y - self.mean).square().sum(1)

    def infer(self, y: Tensor) -> Solution:
        """The best code: argmin_z E(y, z) = (y - m)Wᵀ.

        Args:
            y: (B, D).

        Returns:
            A `Solution` whose `value` is z, (B, K), and `energy` F(y), (B,).

        Raises:
            ValueError: if a row holds NaN or infinity.
        """
        with torch.no_grad():
            z = self.encode(check_data(y, self.mean.shape[0], least=0))
            return exactly(z, self(y=y, z=z), Stop.GRADIENT)

    @property
    def free_energy(self) -> PCAFreeEnergy:
        """F(y) = min_z E(y, z), half the squared distance from the plane: an energy of y."""
        return PCAFreeEnergy(self)

    def fit(self, y: Tensor) -> History:
        """Find the plane with the least mean energy of the data, in place, computed in float64.

        Each component's sign is such that its largest entry (the first of equals) is positive.

        Args:
            y: (N, D), N at least K + 1.

        Returns:
            One row: the mean free energy of the data ("energy") and the share of their variance that the
            plane has ("explained").

        Raises:
            ValueError: as in `from_data`.
        """
        begun, history = time.perf_counter(), History()
        k = _fitting(check_data(y, self.mean.shape[0], least=2), len(self.components))
        mean, variances, directions = principal(y)
        total = float(variances.sum())
        self.mean.copy_(mean)
        self.components.copy_(directions[:k])
        self.variances.copy_(variances[:k])
        energy = 0.5 * float(variances[k:].sum()) * (len(y) - 1) / len(y)
        history.append({"energy": energy, "explained": float(variances[:k].sum()) / total})
        history.seconds = time.perf_counter() - begun
        return history

    def _checked(self, y: Tensor) -> Tensor:
        return check_width("y", y, len(self.mean))


class PCAFreeEnergy(Energy):
    """F(y) = ½ |r|², r = (y - m)(I - WᵀW): half the squared distance from a plane."""

    closed_form = ("y",)

    def __init__(self, model: PCA):
        super().__init__()
        self.model = model

    def forward(self, y: Tensor) -> Tensor:
        return 0.5 * self._residual(y).square().sum(1)

    def value_and_grad(self, name: str, *, y: Tensor) -> tuple[Tensor, Tensor]:
        """F, (B,), and ∇F = r, (B, D)."""
        residual = self._residual(y)
        return 0.5 * residual.square().sum(1), residual

    def _residual(self, y: Tensor) -> Tensor:
        return y - self.model.decode(self.model.encode(y))


def principal(y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The mean (D,), the variances (D,), falling, and the principal directions (D, D) as rows, in float64.

    Variances are those of a sample, over N - 1; they are 0 where there are fewer rows than directions. A
    direction's sign is such that its largest entry, the first of equals, is positive.

    Args:
        y: data, (N, D), N at least 2.

    Raises:
        ValueError: if all rows are equal.
    """
    mean, r = triangle(y)
    _, values, directions = torch.linalg.svd(r, full_matrices=True)  # V as rows
    if not float(values[0]) > 0:
        raise ValueError("all rows of the data are equal, so no direction has a variance.")
    variances = values.new_zeros(y.shape[1])
    variances[: len(values)] = values.square() / (len(y) - 1)
    largest = directions.abs().argmax(1, keepdim=True)
    return mean, variances, directions * directions.gather(1, largest).sign()


def _fitting(y: Tensor, k: int) -> int:
    most = min(len(y) - 1, y.shape[1])
    if count("k", k) > most:
        raise ValueError(
            f"{len(y)} rows of {y.shape[1]} numbers vary in {most} directions at most; got {k} components."
        )
    return k
