"""Codes that fill their space: the criteria of joint embedding, applied to the frames of a sequence.

    Variance      (1/S) Σ_i max(0, γ - √(Var s_i + ε))
    Covariance    1/(S(S-1)) Σ_{i≠j} Cov(s)_ij²
    OnFrames      any criterion of `ebm.joint`, of the codes of one frame or of two

over the batch, of one frame: neighbors in time are alike, so a whole window tells little more than its first.

Reference: Sobal et al. (2025), "Learning from Reward-Free Offline Data", eq. 4 and 5; Bardes, Ponce, LeCun
(2021), "VICReg", eq. 1 to 4.
"""

from __future__ import annotations

from torch import Tensor

from ebm.infer.method import positive
from ebm.jepa.regularizer import CodeRegularizer, Sequence
from ebm.joint.covariance import covariance
from ebm.joint.criterion import Criterion
from ebm.joint.vicreg import hinge


class Variance(CodeRegularizer):
    """The hinge on the standard deviation of every dimension, of the codes of one frame.

    Args:
        std: γ > 0.
        eps: ε > 0.
        frame: which one.

    Example:
        >>> import torch
        >>> collapsed = Sequence(torch.zeros(8, 2, 3), (0, 1))
        >>> Variance()(collapsed)
        tensor(0.9900)
    """

    def __init__(self, std: float = 1.0, eps: float = 1e-4, frame: int = 0):
        super().__init__()
        self.std, self.eps, self.frame = positive("std", std), positive("eps", eps), frame

    def forward(self, sequence: Sequence) -> Tensor:
        return hinge(covariance(sequence.codes[:, self.frame])[0], self.std, self.eps)


class Covariance(CodeRegularizer):
    """The mean squared covariance of two dimensions, of the codes of one frame.

    Args:
        frame: which one.

    Example:
        >>> import torch
        >>> alike = torch.tensor([[1.0, 1.0], [-1.0, -1.0]]).unsqueeze(1)
        >>> Covariance()(Sequence(alike, (0,)))
        tensor(4.)
    """

    def __init__(self, frame: int = 0):
        super().__init__()
        self.frame = frame

    def forward(self, sequence: Sequence) -> Tensor:
        width = sequence.codes.shape[2]
        return covariance(sequence.codes[:, self.frame])[1] / max(1, width * (width - 1))


class OnFrames(CodeRegularizer):
    """A criterion on codes, its views being frames.

    `OnFrames(SIGReg())` keeps the codes of the first frame Gaussian; with two frames `VICReg` is variance,
    covariance and time similarity in one.

    Args:
        criterion: e.g. `SIGReg()`, `VISReg()`, `VICReg()`.
        frames: as many as the criterion has views.

    Example:
        >>> import torch
        >>> from ebm.joint import VICReg
        >>> codes = torch.randn(64, 2, 4, generator=torch.Generator().manual_seed(0))
        >>> OnFrames(VICReg(), frames=(0, 1))(Sequence(codes, (0, 1))).ndim
        0
    """

    def __init__(self, criterion: Criterion, frames: tuple[int, ...] = (0,)):
        super().__init__()
        if not isinstance(criterion, Criterion):
            raise TypeError(f"OnFrames applies a criterion such as SIGReg(); got {criterion!r}.")
        self.criterion, self.frames = criterion, tuple(frames)

    def forward(self, sequence: Sequence) -> Tensor:
        return self.criterion(*(sequence.codes[:, k] for k in self.frames)).loss
