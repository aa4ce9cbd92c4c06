"""What makes the code of a sparse auto-encoder sparse: five maps from pre-activations a to codes z >= 0.

                  z(a)                                 charged for                    the prox of
    Rectified     max(a, 0)                            λ Σ z                          z >= 0
    TopK          the k greatest of max(a, 0)          nothing                        |z|₀ <= k
    BatchTopK     the kB greatest of a whole batch     nothing                        (evaluated: a > θ)
    JumpReLU      a where a > θ                        λ |z|₀                         (½θ²) |z|₀
    Gated         max(a e^r + c, 0) where a > 0        λ Σ max(a, 0)

Each knows its `penalty`, the energy of a free code z for which it stands: encoding guesses what an inference
of z under that penalty would find.

Reference: Cunningham et al. (2023) and Bricken et al. (2023) (L1); Makhzani & Frey (2013), "k-Sparse
Autoencoders", and Gao et al. (2024), "Scaling and Evaluating Sparse Autoencoders" (top-k); Bussmann, Leask &
Nanda (2024), "BatchTopK Sparse Autoencoders"; Rajamanoharan et al. (2024), "Jumping Ahead: Improving
Reconstruction Fidelity with JumpReLU Sparse Autoencoders"; Rajamanoharan et al. (2024), "Improving Dictionary
Learning with Gated Sparse Autoencoders".
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from ebm.energy import Energy
from ebm.infer.method import count, positive
from ebm.regularizers import NonNegative, NonNegativeL1
from ebm.regularizers.nonnegative_counts import KSparse, NonNegativeL0, greatest

MEMORY = 0.99  # share of BatchTopK's threshold that a step keeps


class SparseActivation(nn.Module, ABC):
    """A map from pre-activations a (B, K) to codes z (B, K), z >= 0.

    Attributes:
        latents: K, where the map has parameters for each code; else None.
    """

    latents: int | None = None

    @abstractmethod
    def forward(self, a: Tensor) -> Tensor:
        """The codes z, (B, K)."""

    @property
    @abstractmethod
    def penalty(self) -> Energy:
        """What a free code z costs, an energy of "z" with a prox."""

    def charge(self, a: Tensor) -> Tensor:
        """What pre-activations cost in training, (B,); for most the penalty of their code."""
        return a.new_zeros(len(a))


class Rectified(SparseActivation):
    """z = max(a, 0), at λ for each unit of it.

    Args:
        sparsity: λ > 0.

    Example:
        >>> Rectified(0.5)(torch.tensor([[1.0, -1.0]])), Rectified(0.5).charge(torch.tensor([[3.0, -1.0]]))
        (tensor([[1., 0.]]), tensor([1.5000]))
    """

    def __init__(self, sparsity: float):
        super().__init__()
        self.sparsity = positive("sparsity", sparsity)

    @property
    def penalty(self) -> Energy:
        return self.sparsity * NonNegativeL1("z")

    def forward(self, a: Tensor) -> Tensor:
        return a.relu()

    def charge(self, a: Tensor) -> Tensor:
        return self.sparsity * a.relu().sum(1)


class TopK(SparseActivation):
    """The k greatest pre-activations, where they are positive; all others 0.

    Args:
        k: at least 1.

    Example:
        >>> TopK(2)(torch.tensor([[1.0, 4.0, 3.0], [1.0, -4.0, -3.0]]))
        tensor([[0., 4., 3.],
                [1., 0., 0.]])
    """

    def __init__(self, k: int):
        super().__init__()
        self.k = count("k", k)

    @property
    def penalty(self) -> Energy:
        return KSparse("z", self.k)

    def forward(self, a: Tensor) -> Tensor:
        return greatest(a, self.k)


class BatchTopK(SparseActivation):
    """In training the kB greatest pre-activations of a batch of B rows; evaluated, those above a threshold.

    The threshold is the running mean of the smallest code that was kept in training, so that rows don't
    depend on one another any more. In training they do: a row that is hard to explain takes more than k,
    and a solve refuses the model until `model.eval()`. Under torchrun a batch is that of the process, and
    `ebm.train.fit` averages the threshold over the processes.

    Args:
        k: how many a row on average, at least 1.

    Example:
        >>> activation = BatchTopK(1)
        >>> activation(torch.tensor([[5.0, 4.0], [2.0, 3.0]]))
        tensor([[5., 4.],
                [0., 0.]])
        >>> activation.eval()(torch.tensor([[2.0, 4.5]]))  # the smallest that was kept is 4
        tensor([[0.0000, 4.5000]])
    """

    mixes_rows = True
    running_buffers = ("threshold",)
    threshold: Tensor

    def __init__(self, k: int):
        super().__init__()
        self.k = count("k", k)
        self.register_buffer("threshold", torch.tensor(0.0))  # 0: no batch was seen

    @property
    def penalty(self) -> Energy:
        return NonNegative("z")

    def forward(self, a: Tensor) -> Tensor:
        if not self.training:
            return torch.where(a >= self.threshold, a, 0.0).relu()
        z = greatest(a.reshape(1, -1), self.k * len(a)).view_as(a)
        kept = z.detach()[z.detach() > 0]
        if len(kept) and torch.is_grad_enabled():
            least = kept.min().to(self.threshold)
            self.threshold.copy_(
                torch.where(self.threshold > 0, self.threshold.lerp(least, 1 - MEMORY), least)
            )
        return z


class JumpReLU(SparseActivation):
    """z = a where a > θ, else 0, at λ for each that isn't; every code has a learned threshold θ of its own.

    The derivatives in θ of step and jump are 0 almost everywhere; those of the expected loss are not, and are
    estimated from the pre-activations within ±ε/2 of the threshold:

        ∂z/∂θ := -(θ/ε) K((a - θ)/ε),    ∂H(a - θ)/∂θ := -(1/ε) K((a - θ)/ε),    K(x) = 1 for |x| < ½, else 0

    Args:
        latents: K.
        sparsity: λ > 0.
        threshold: θ > 0 to begin with.
        bandwidth: ε > 0, in units of a.

    Reference: Rajamanoharan et al. (2024), "Jumping Ahead", sect. 4 (the straight-through estimators).

    Example:
        >>> JumpReLU(2, sparsity=0.1, threshold=1.0)(torch.tensor([[1.5, 0.5]])).detach()
        tensor([[1.5000, 0.0000]])
    """

    def __init__(self, latents: int, sparsity: float, threshold: float = 0.001, bandwidth: float = 0.001):
        super().__init__()
        positive("threshold", threshold)
        self.sparsity, self.bandwidth = positive("sparsity", sparsity), positive("bandwidth", bandwidth)
        self.latents = count("latents", latents)
        self.log_threshold = nn.Parameter(torch.full((latents,), math.log(threshold)))

    @property
    def penalty(self) -> Energy:
        return self.sparsity * NonNegativeL0("z")

    def forward(self, a: Tensor) -> Tensor:
        theta = self.log_threshold.exp()
        jump = self._slope(a, theta) * theta.detach() * (theta - theta.detach())  # 0, with a derivative
        return torch.where(a > theta, a, 0.0) + jump

    def charge(self, a: Tensor) -> Tensor:
        theta = self.log_threshold.exp()
        step = self._slope(a, theta) * (theta - theta.detach())
        return self.sparsity * ((a > theta).to(a.dtype) + step).sum(1)

    def _slope(self, a: Tensor, theta: Tensor) -> Tensor:
        """∂H(a - θ)/∂θ, (B, K), a constant."""
        near = (a - theta).abs().detach() < 0.5 * self.bandwidth
        return -near.to(a.dtype) / self.bandwidth


class Gated(SparseActivation):
    """z = max(a e^r + c, 0) where a > 0: one sign decides whether a code is on, another line how much it is.

    The charge λ Σ max(a, 0) presses on the gate alone, so it doesn't shrink the codes as L1 does. The step
    has no derivative: the gate learns by `GateReconstruction`, a term of the published loss.

    Args:
        latents: K.
        sparsity: λ > 0.

    Reference: Rajamanoharan et al. (2024), "Improving Dictionary Learning with Gated Sparse Autoencoders",
    sect. 3.2 (with weights shared up to the factors e^r; c = b_mag - e^r b_gate).

    Example:
        >>> Gated(2, sparsity=0.1)(torch.tensor([[1.5, -0.5]])).detach()  # a ReLU, before it has learned
        tensor([[1.5000, 0.0000]])
    """

    def __init__(self, latents: int, sparsity: float):
        super().__init__()
        self.sparsity = positive("sparsity", sparsity)
        self.latents = count("latents", latents)
        self.log_gain = nn.Parameter(torch.zeros(latents))  # r
        self.offset = nn.Parameter(torch.zeros(latents))  # c

    @property
    def penalty(self) -> Energy:
        return self.sparsity * NonNegativeL1("z")

    def forward(self, a: Tensor) -> Tensor:
        return torch.where(a > 0, (a * self.log_gain.exp() + self.offset).relu(), 0.0)

    def charge(self, a: Tensor) -> Tensor:
        return self.sparsity * a.relu().sum(1)
