"""A predictor with a latent: what x does not tell of y is left to z, of which there is little.

    E(x, y, z) = |y - g(x, z)|² / (2σ²) + R(z),        z one of K values
    F(x, y) = min_z E(x, y, z)        or        F_β(x, y) = -(1/β) log ⟨exp(-β E(x, y, z))⟩_z

Without z the least mean of |y - g(x)|² is the mean of all y that may follow x, which is a blur of them and
often none of them. With z each value can stand for one of them; K values can say log₂ K bits and no more,
and so cannot describe any y whatever.

Reference: LeCun (2022), "A Path Towards Autonomous Machine Intelligence", sect. 4.2 and 4.4; Guzman-Rivera,
Batra, Kohli (2012), "Multiple Choice Learning" (the minimum over K answers).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ebm.energy import Energy
from ebm.infer.enumerate import Enumerate
from ebm.infer.method import positive
from ebm.infer.minimize import minimize
from ebm.infer.starts import Zeros
from ebm.latent import min_over
from ebm.marginal import marginal_over
from ebm.nodes import Finite
from ebm.regularized.checks import check_parameters, check_width
from ebm.solution import Solution


class LatentPredictor(Energy):
    """E(x, y, z) = |y - g(x, z)|² / (2σ²), for z (B, Z) one of K values.

    Args:
        network: g, from x (B, *shape) and z (B, Z) to predictions like y.
        values: those that z may have, (K, Z); the K one-hot vectors `torch.eye(K)` are a choice of one of K.
        noise: σ > 0, the unit of the energy.

    Raises:
        ValueError: if the values are no matrix, or the noise isn't positive; on a call, if the prediction
            has another shape than y.

    Example:
        >>> class Either(nn.Module):
        ...     def forward(self, x, z):
        ...         return x + z
        >>> model = LatentPredictor(Either(), torch.tensor([[-1.0], [1.0]]))
        >>> x, y = torch.zeros(2, 1), torch.tensor([[1.0], [0.0]])
        >>> model.free_energy(x=x, y=y), model.infer(x, y).value[0]
        (tensor([0.0000, 0.5000]), tensor([1.]))
    """

    values: Tensor

    def __init__(self, network: nn.Module, values: Tensor, noise: float = 1.0):
        super().__init__()
        if values.ndim != 2 or not len(values):
            raise ValueError(f"values are those that z may have, (K, Z); got shape {tuple(values.shape)}.")
        check_parameters(values=values)
        self.network, self.noise = network, float(positive("noise", noise))
        self.register_buffer("values", values.clone())

    def forward(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        predicted = self.network(x, check_width("z", z, self.values.shape[1]))
        if predicted.shape != y.shape:
            raise ValueError(
                f"the network predicts {tuple(predicted.shape)}, and y is {tuple(y.shape)}: they have to be "
                f"alike."
            )
        return (predicted - y).square().flatten(1).sum(1) / (2 * self.noise**2)

    def infer(self, x: Tensor, y: Tensor) -> Solution:
        """z* = argmin_z E(x, y, z), (B, Z): what explains y best."""
        given = {"x": x, "y": y}
        return minimize(self, Zeros(self.values.shape[1]), Enumerate(self.values), given=given)

    @property
    def free_energy(self) -> Energy:
        """F(x, y) = min_z E(x, y, z); learned by it, values share what may come among them."""
        return min_over(self, "z", Enumerate(self.values), Zeros(self.values.shape[1]))

    def soft_free_energy(self, beta: float = 1.0) -> Energy:
        """F_β(x, y) = -(1/β) log ⟨exp(-βE)⟩ over the values: none of them is left without a gradient."""
        return marginal_over(self, "z", beta, by=Finite(self.values))

    def decode(self, x: Tensor) -> Tensor:
        """What may come of x, one prediction for each value, (B, K, *shape)."""
        copies = x.repeat_interleave(len(self.values), 0)
        predicted: Tensor = self.network(copies, self.values.to(x).repeat(len(x), 1))
        return predicted.view(len(x), len(self.values), *predicted.shape[1:])

    @property
    def bits(self) -> float:
        """log₂ K: what z can tell of y at most."""
        return math.log2(len(self.values))


class WithLatent(nn.Module):
    """g(x, z) of a network that takes one vector: x, flattened, beside z; shaped like y in the end.

    Args:
        network: from (B, X + Z) to (B, Y).
        shape: of y, whose numbers are Y.

    Example:
        >>> WithLatent(nn.Linear(6, 4), (2, 2))(torch.zeros(3, 2, 2), torch.zeros(3, 2)).shape
        torch.Size([3, 2, 2])
    """

    def __init__(self, network: nn.Module, shape: tuple[int, ...]):
        super().__init__()
        self.network, self.shape = network, tuple(shape)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        made: Tensor = self.network(torch.cat([x.flatten(1), z.to(x.dtype)], 1))
        if made.shape[1:].numel() != math.prod(self.shape):
            raise ValueError(
                f"for rows of shape {self.shape} the network gives {math.prod(self.shape)} numbers a row; it "
                f"gave {tuple(made.shape)}."
            )
        return made.view(len(x), *self.shape)
