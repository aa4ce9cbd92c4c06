"""The restricted Boltzmann machine: bits that are seen, bits that explain them, and no bonds within a side.

    E(y, z) = -bᵀy - cᵀz - yᵀWz,        y ∈ {0, 1}^D,  z ∈ {0, 1}^H
    F(y) = -log Σ_z exp(-E(y, z)) = -bᵀy - Σ_j log(1 + exp(c_j + (yᵀW)_j))
    p(z_j = 1 | y) = σ(c_j + (yᵀW)_j),        p(y_i = 1 | z) = σ(b_i + (Wz)_i)

Each hidden bit adds one soft fold to F: a product of experts. It is trained on F by a contrastive loss, for
Z sums over 2^D states (or 2^H, the other side summed in closed form: exact where one side is small).

Reference: Smolensky (1986), "Information Processing in Dynamical Systems: Foundations of Harmony Theory";
Hinton (2002), "Training Products of Experts by Minimizing Contrastive Divergence".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ebm.energy import Energy
from ebm.infer.method import count, positive
from ebm.nodes import AllChoices
from ebm.rows import dot, flat
from ebm.solution import Solution, Stop

LARGEST = 20  # bits of the smaller side that are worth a sum
CHUNK = 2**22  # numbers of a summand evaluated at once


class BernoulliRBM(Energy):
    """A restricted Boltzmann machine of bits, E(y, z) = -bᵀy - cᵀz - yᵀWz.

    `sample(rbm, {"y": y, "z": z}, BlockGibbs(), ...)` draws from it, `ContrastiveDivergence` or
    `PseudoLikelihood` on `rbm.free_energy` train it.

    Args:
        visible, hidden: D and H.
        scale: standard deviation of the weights at the start, which should be small; biases begin at 0.
        generator: source of the weights; the global one if None.

    Raises:
        ValueError: if a size or the scale is not positive.

    Example:
        >>> rbm = BernoulliRBM(3, 2, generator=torch.Generator().manual_seed(0))
        >>> y = torch.tensor([[1.0, 0.0, 1.0]])
        >>> rbm.infer(y).value.shape, rbm.decode(torch.zeros(1, 2)).detach()
        (torch.Size([1, 2]), tensor([[0.5000, 0.5000, 0.5000]]))
        >>> bool(abs(rbm.log_z() - 5 * torch.tensor(2.0).log()) < 0.1)  # small weights: 2⁵ states, all alike
        True
    """

    closed_form = ("y", "z")

    def __init__(
        self, visible: int, hidden: int, scale: float = 0.01, generator: torch.Generator | None = None
    ):
        super().__init__()
        shape = count("visible", visible), count("hidden", hidden)
        positive("scale", scale)
        weight = torch.empty(shape).normal_(generator=generator)
        self.weight = nn.Parameter(scale * weight)
        self.visible_bias = nn.Parameter(torch.zeros(visible))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        y, z = self.side("y", y), self.side("z", z)
        return -y @ self.visible_bias - ((y @ self.weight + self.hidden_bias) * z).sum(1)

    def value_and_grad(self, name: str, *, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """E(y, z), (B,), and its gradient -b - Wz in y, or -c - yᵀW in z, like that one."""
        seen, hidden = self.side("y", y), self.side("z", z)
        if name == "y":
            slope = torch.addmm(self.visible_bias, hidden, self.weight.T).neg()
            return dot(slope, seen) - hidden @ self.hidden_bias, slope.view_as(y)
        slope = torch.addmm(self.hidden_bias, seen, self.weight).neg()
        return dot(slope, hidden) - seen @ self.visible_bias, slope.view_as(z)

    @property
    def free_energy(self) -> Energy:
        """F(y) = -log Σ_z exp(-E(y, z)), an energy of y alone, in closed form."""
        return RBMFreeEnergy(self)

    def infer(self, y: Tensor) -> Solution:
        """The most likely explanation of each row, argmin_z E(y, z), (B, H): exact, each bit by itself."""
        with torch.no_grad():
            z = (self.side("y", y) @ self.weight + self.hidden_bias > 0).to(y)
            energy = self(y=y, z=z)
        steps = torch.ones(len(z), dtype=torch.int64, device=z.device)
        code = torch.full_like(steps, Stop.EXHAUSTED, dtype=torch.uint8)
        return Solution(z, energy, torch.ones_like(steps, dtype=torch.bool), steps, code)

    def posterior(self, y: Tensor) -> Tensor:
        """p(z_j = 1 | y), (B, H); the mean field of z, which is exact here."""
        return torch.sigmoid(self.side("y", y) @ self.weight + self.hidden_bias)

    def decode(self, z: Tensor) -> Tensor:
        """p(y_i = 1 | z), (B, D)."""
        return torch.sigmoid(self.side("z", z) @ self.weight.T + self.visible_bias)

    def side(self, name: str, bits: Tensor) -> Tensor:
        """The bits of a side laid out flat, (B, *shape) -> (B, D) of y or (B, H) of z.

        Raises:
            ValueError: if they are another number.
        """
        rows, size = flat(bits), len(self.visible_bias if name == "y" else self.hidden_bias)
        if rows.shape[1] != size:
            raise ValueError(f"the machine has {size} bits {name}; got {tuple(bits.shape)}.")
        return rows

    def log_z(self) -> Tensor:
        """log Σ_y Σ_z exp(-E(y, z)), 0-dimensional, differentiable: a sum over the smaller side's 2^n states.

        Raises:
            ValueError: if both sides have more than 20 bits.
        """
        listed, free, weight = self.hidden_bias, self.visible_bias, self.weight.T
        if len(listed) > len(free):
            listed, free, weight = free, listed, self.weight
        if len(listed) > LARGEST:
            raise ValueError(
                f"log Z is a sum over 2^{len(listed)} states, and 2^{LARGEST} are worth it; estimate it, or "
                f"compare energies: the gap of a loss, or F on held-out data and off it."
            )
        states = AllChoices(2, len(listed)).values.to(weight)
        size = max(1, CHUNK // len(free))
        parts = [part @ listed + softplus(part @ weight + free).sum(1) for part in states.split(size)]
        return torch.logsumexp(torch.cat(parts), 0)


class RBMFreeEnergy(Energy):
    """F(y) = -bᵀy - Σ_j log(1 + exp(c_j + (yᵀW)_j)), the energy of what is seen; made by `free_energy`.

    Args:
        rbm: whose parameters it shares.
    """

    closed_form = ("y",)

    def __init__(self, rbm: BernoulliRBM):
        super().__init__()
        self.rbm = rbm

    def forward(self, y: Tensor) -> Tensor:
        y = self.rbm.side("y", y)
        return -y @ self.rbm.visible_bias - softplus(y @ self.rbm.weight + self.rbm.hidden_bias).sum(1)

    def value_and_grad(self, name: str, *, y: Tensor) -> tuple[Tensor, Tensor]:
        """F(y) (B,) and its gradient -b - W p(z = 1 | y), like y."""
        seen, rbm = self.rbm.side("y", y), self.rbm
        pull = seen @ rbm.weight + rbm.hidden_bias
        value = -seen @ rbm.visible_bias - softplus(pull).sum(1)
        return value, (-rbm.visible_bias - torch.sigmoid(pull) @ rbm.weight.T).view_as(y)
