"""Fixed random expanders, and VICReg's variance and covariance terms of what they put out.

    z = standardized(tanh(A standardized(s) + b)), (N, W),        A and b random
    L = μ v(z) + 2ν c(z),                                         VICReg's terms for two equal views

If every output sees one code, the covariance of outputs of different codes is their HSIC in the kernel of the
random features, W → ∞. Five expanders, which differ in one thing each:

    none                         L on the codes themselves
    linear                       as "each code", without tanh: uncorrelated codes are all it can ask for
    each code                    every output sees one code; all pairs of outputs count
    each code, between codes     the same outputs, but only pairs that see different codes count
    all codes                    every output sees all codes

Reference: Mialon, Balestriero & LeCun (2022), "Variance-covariance regularization enforces pairwise
independence in self-supervised representations".
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn

from ebm import Energy
from ebm.joint import Criterion, SquaredDistance
from ebm.joint.covariance import covariance
from ebm.joint.vicreg import hinge
from ebm.loss import LossOutput

CODES = 3
EXPANDERS = ("linear", "each code", "each code, between codes", "all codes")


class Expander(nn.Module):
    """A fixed random layer, codes (N, k) -> (N, W), every output standardized over the batch.

    Args:
        width: W, a multiple of k.
        codes: k.
        apart: whether an output sees one code, those of a code next to one another, or all of them.
        nonlinear: tanh, or nothing.
        generator: source of the weights, N(0, SPREAD²) for each output's input and for its bias.
    """

    SPREAD = 1.5  # of inputs of tanh, in standard deviations: bent, not cut off

    weight: Tensor
    bias: Tensor

    def __init__(self, width: int, codes: int, apart: bool, nonlinear: bool, generator: Generator):
        super().__init__()
        weight = torch.randn(codes, width, generator=generator) * self.SPREAD
        if apart:
            weight = weight * torch.eye(codes).repeat_interleave(width // codes, 1)
        self.register_buffer("weight", weight if apart else weight / math.sqrt(codes))
        self.register_buffer("bias", torch.randn(width, generator=generator) * self.SPREAD)
        self.nonlinear = nonlinear
        self.inputs = nn.BatchNorm1d(codes, affine=False)
        self.outputs = nn.BatchNorm1d(width, affine=False)

    def forward(self, s: Tensor) -> Tensor:
        z = self.inputs(s) @ self.weight + self.bias
        return self.outputs(z.tanh() if self.nonlinear else z)


class VarianceCovariance(Criterion):
    """μ v(z) + 2ν c(z): VICReg(0, μ, ν) of two equal views; with groups, only pairs of different ones count.

    Args:
        variance, covariance: μ and ν.
        groups: the outputs are that many blocks of equal width; 1 counts all pairs.
    """

    views = (1, 1)

    def __init__(self, variance: float = 25.0, covariance: float = 1.0, groups: int = 1):
        super().__init__()
        self.variance, self.covariance, self.groups = variance, covariance, groups

    def forward(self, *codes: Tensor, generator: Generator | None = None) -> LossOutput:
        (z,) = codes
        variance, together = covariance(z)
        if self.groups > 1:
            _, within = covariance(z.unflatten(1, (self.groups, -1)).transpose(0, 1))  # (groups,)
            together = together - within.sum()
        short, together = hinge(variance, 1.0, 1e-4), 2 * together / z.shape[1]
        terms = {"variance": short.detach(), "covariance": together.detach()}
        return LossOutput(self.variance * short + self.covariance * together, terms)


def setup(
    name: str, width: int, weights: tuple[float, float], generator: Generator
) -> tuple[nn.Module, Criterion]:
    """The expander of that name and the criterion of its outputs, weighed by μ and ν; width 0 is none.

    Raises:
        ValueError: for a name that isn't known, or a width that isn't a multiple of the number of codes.
    """
    if name not in EXPANDERS or width < 0 or width % CODES:
        raise ValueError(
            f"expanders are {', '.join(EXPANDERS)}, of a width that is a multiple of {CODES}; got {name!r}, "
            f"{width}."
        )
    criterion = VarianceCovariance(*weights, CODES if "between" in name else 1)
    if width == 0:
        return nn.BatchNorm1d(CODES, affine=False), criterion
    return Expander(width, CODES, name != "all codes", name != "linear", generator), criterion


def learned(codes: nn.Module, expander: nn.Module) -> Energy:
    """The energy of a pair of outputs; both views are x itself, so it is 0 and has no part in the loss."""
    net = nn.Sequential(codes, expander)
    return SquaredDistance().compose(s_x=(net, "x"), s_y=(net, "x"))
