"""Normalizing flows: an energy whose partition function is 1 by construction.

    E(y) = ½ |f(y)|² + ½ D log 2π - log |det ∂f/∂y| = -log p(y),        f invertible, ∫ exp(-E) dy = 1

f carries the data to the standard Gaussian. Where it brings more of space near 0, it has to press space
together, and the determinant charges for it: the volume of low energy can't grow, so `AverageEnergy` is
maximum likelihood and needs no push up. Samples are f⁻¹(ε), ε ~ N(0, I): no Markov chain.

Reference: Tabak & Turner (2013), "A Family of Nonparametric Density Estimation Algorithms"; Dinh,
Sohl-Dickstein & Bengio (2017), "Density Estimation using Real NVP", eq. 2; Durkan et al. (2019).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from ebm.energy import Energy
from ebm.infer.method import count
from ebm.nets.affine_coupling import AffineCoupling
from ebm.nets.coupling import Coupling, checkerboard
from ebm.nets.invertible import Invertible, LULinear, Standardize
from ebm.nets.spline_coupling import SplineCoupling
from ebm.regularized.checks import check_width
from ebm.regularized.exact import check_data


class Flow(Energy):
    """E(y) = -log p(y) of y = f⁻¹(ε), ε ~ N(0, I), f a chain of invertible layers.

    Args:
        layers: invertible maps of D numbers (`ebm.nets`), applied from left to right.
        shape: of a row of y, with D numbers; (D,) if None.

    Raises:
        ValueError: if there is no layer, or sizes don't fit; on a call, if y is shaped otherwise.

    Example:
        >>> flow = Flow([Standardize(torch.tensor([1.0, 0.0]), torch.zeros(2))])
        >>> flow(y=torch.tensor([[1.0, 0.0]])).detach()  # the center of a Gaussian in the plane: log 2π
        tensor([1.8379])
        >>> flow.sample(3, torch.Generator().manual_seed(0)).shape
        torch.Size([3, 2])
    """

    def __init__(self, layers: Sequence[Invertible], shape: Sequence[int] | None = None):
        super().__init__()
        if not layers:
            raise ValueError(
                "a flow has at least one layer; got none. Standardize.from_data(y) is a first one."
            )
        for one, other in pairwise(layers):
            if one.size != other.size:
                raise ValueError(
                    f"the layers of a flow are of one size; a {type(one).__name__} of {one.size} is followed "
                    f"by a {type(other).__name__} of {other.size}."
                )
        self.size = layers[0].size
        self.shape = (self.size,) if shape is None else tuple(shape)
        if math.prod(self.shape) != self.size:
            raise ValueError(f"rows of shape {self.shape} don't hold {self.size} numbers, as the layers do.")
        self.layers = nn.ModuleList(layers)

    @classmethod
    def from_data(
        cls,
        y: Tensor,
        kind: Literal["spline", "affine"] = "spline",
        *,
        couplings: int = 4,
        hidden: Sequence[int] = (64, 64),
        generator: torch.Generator | None = None,
    ) -> Flow:
        """A flow that standardizes the data and is ready to be trained: couplings, a rotation before each.

        Args:
            y: (N, *shape), at least 2 numbers a row; no coordinate constant.
            kind: of the couplings: "spline" bends, "affine" scales and shifts.
            couplings: how many; the kept half (a checkerboard) is the other one each time.
            hidden: widths of their networks' hidden layers.
            generator: source of all weights.

        Raises:
            ValueError: if the data has a constant coordinate, NaN or infinity, or a setting is unknown.
        """
        if kind not in ("spline", "affine"):
            raise ValueError(f'kind is "spline" or "affine"; got {kind!r}.')
        count("couplings", couplings)
        if isinstance(y, Tensor) and y.ndim < 2:
            raise ValueError(f"y is (N, *shape), one example a row; got shape {tuple(y.shape)}.")
        check_data(y.flatten(1) if isinstance(y, Tensor) else y, least=2)
        made: type[AffineCoupling] | type[SplineCoupling]
        made = SplineCoupling if kind == "spline" else AffineCoupling
        shape = y.shape[1:]
        layers: list[Invertible] = [Standardize.from_data(y.flatten(1))]
        for number in range(couplings):
            mask = checkerboard(*shape, odd=number % 2 == 1)
            layers.append(LULinear.rotation(layers[0].size, generator=generator, like=y))
            coupling: Coupling = made(mask, hidden, generator=generator)
            layers.append(coupling.to(y))
        return cls(layers, shape)

    def forward(self, y: Tensor) -> Tensor:
        u, log_det = self.transform(y)
        return 0.5 * (u.square().sum(1) + self.size * math.log(2 * math.pi)) - log_det

    def transform(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """u = f(y), (B, D), and log |det ∂f/∂y|, (B,), of y (B, *shape)."""
        if y.shape[1:] != self.shape:
            raise ValueError(
                f"this flow is over y (B, {', '.join(map(str, self.shape))}); got {tuple(y.shape)}."
            )
        u, total = y.flatten(1), y.new_zeros(len(y))
        for layer in self.layers:
            u, log_det = layer(u)
            total = total + log_det
        return u, total

    def encode(self, y: Tensor) -> Tensor:
        """u = f(y), (B, *shape) -> (B, D)."""
        return self.transform(y)[0]

    def decode(self, u: Tensor) -> Tensor:
        """y = f⁻¹(u), (B, D) -> (B, *shape)."""
        check_width("u", u, self.size)
        for layer in reversed(list(self.layers)):
            if isinstance(layer, Invertible):
                u = layer.inverse(u)
        return u.unflatten(1, self.shape)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n independent draws from p, (n, *shape), without gradients."""
        like = next((p for p in self.parameters()), torch.empty(0))
        device = like.device if generator is None else generator.device
        noise = torch.randn(count("n", n, 0), self.size, generator=generator, dtype=like.dtype, device=device)
        with torch.no_grad():
            return self.decode(noise.to(like.device))
