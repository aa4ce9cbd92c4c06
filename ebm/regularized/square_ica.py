"""Square independent components: as many sources as numbers, and a likelihood that is known.

    E(y) = Σ_k log cosh(w_k (y - m)) - log |det W| + D log π = -log p(y)

The sources s = W(y - m) are independent with the density 1 / (π cosh s): ∫ ds / cosh s = π. The map is one to
one, so the change of variables gives the normalizer: - log |det W| is what pushes the energy up. Without it
W = 0 would give all points the energy 0.

∂E/∂W Wᵀ = tanh(s) sᵀ - I, the relative gradient, is zero on average at the maximum of likelihood. The tails
of 1 / cosh are heavier than a Gaussian's; sources with lighter ones, such as uniform ones, need FastICA.

Reference: Bell & Sejnowski (1995), "An information-maximization approach to blind separation and blind
deconvolution"; Cardoso & Laheld (1996), "Equivariant adaptive source separation", for the relative gradient;
Teh, Welling, Osindero & Hinton (2003), "Energy-Based Models for Sparse Overcomplete Representations".
"""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor, nn
from torch.nn import functional

from ebm.energy import Energy
from ebm.function import energy
from ebm.history import History
from ebm.infer.lbfgs import LBFGS
from ebm.infer.method import count
from ebm.infer.minimize import minimize, warn_unconverged
from ebm.regularized.checks import check_parameters, check_width
from ebm.regularized.exact import check_data, home
from ebm.regularized.fast_ica import white
from ebm.solution import one_tensor


class SquareICA(Energy):
    """E(y) = Σ_k log cosh(w_k (y - m)) - log |det W| + D log π, for data y (B, D): exactly -log p(y).

    Args:
        unmixing: W, (D, D), invertible: a parameter, one source a row.
        mean: m, (D,); 0 if None.

    Raises:
        ValueError: if W is not square and invertible, or the mean has another width.

    Example:
        >>> model = SquareICA(torch.tensor([[2.0]]))
        >>> y = torch.linspace(-10, 10, 2001).unsqueeze(1)
        >>> round(0.01 * (-model(y=y)).exp().sum().item(), 4)  # a density
        1.0
        >>> model.decode(model.encode(y[:1])).item()
        -10.0
    """

    closed_form = ("y",)
    mean: Tensor

    def __init__(self, unmixing: Tensor, mean: Tensor | None = None):
        super().__init__()
        if unmixing.ndim != 2 or unmixing.shape[0] != unmixing.shape[1] or not len(unmixing):
            raise ValueError(
                f"W is (D, D), as many sources as numbers; got shape {tuple(unmixing.shape)}. Fewer sources: "
                "FastICA, or PCA first."
            )
        if not unmixing.is_floating_point():
            raise TypeError(f"W is a tensor of floating point numbers; got {unmixing.dtype}.")
        if not bool(torch.linalg.slogdet(unmixing.detach())[1].isfinite()):
            raise ValueError("W must be invertible and finite: a source that adds nothing has no density.")
        mean = unmixing.new_zeros(len(unmixing)) if mean is None else mean
        if mean.shape != unmixing.shape[:1]:
            raise ValueError(f"the mean is {(len(unmixing),)}, as wide as W; got {tuple(mean.shape)}.")
        check_parameters(mean=mean)
        self.unmixing = nn.Parameter(unmixing.detach().clone())
        self.register_buffer("mean", mean.detach().clone())

    @classmethod
    def from_data(cls, y: Tensor) -> SquareICA:
        """A model whose sources are white, the data's principal components, ready to `fit`.

        Args:
            y: (N, D), N above D.

        Raises:
            ValueError: if the data are constant in a direction, or a row holds NaN or infinity.
        """
        y = check_data(y, least=2)
        mean, whitener, _ = white(y, y.shape[1])
        return cls(whitener.to(y), mean.to(y))

    def encode(self, y: Tensor) -> Tensor:
        """The sources, (y - m)Wᵀ, (B, D) -> (B, D)."""
        return (check_width("y", y, len(self.mean)) - self.mean) @ self.unmixing.T

    def decode(self, s: Tensor) -> Tensor:
        """The data that have these sources, m + s W⁻ᵀ, (B, D) -> (B, D)."""
        check_width("s", s, len(self.mean))
        return torch.linalg.solve(self.unmixing, s.T).T + self.mean

    def forward(self, y: Tensor) -> Tensor:
        return log_cosh(self.encode(y)).sum(1) + self._log_z()

    def value_and_grad(self, name: str, *, y: Tensor) -> tuple[Tensor, Tensor]:
        """E, (B,), and ∇_y E = tanh(s) W, (B, D)."""
        s = self.encode(y)
        return log_cosh(s).sum(1) + self._log_z(), s.tanh() @ self.unmixing

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n draws from p(y), (n, D): s = log tan(πu/2) with u uniform has the density 1 / (π cosh s)."""
        shape = (count("n", n, 0), len(self.mean))
        u = torch.rand(shape, generator=generator, dtype=self.mean.dtype, device=home(generator))
        tiny = torch.finfo(u.dtype).eps
        with torch.no_grad():
            return self.decode((0.5 * math.pi * u.clamp(tiny, 1 - tiny)).tan().log().to(self.mean))

    def fit(self, y: Tensor, *, max_steps: int = 500, tol: float = 1e-6) -> History:
        """Find the unmixing of highest likelihood by LBFGS, in place; the mean becomes that of the data.

        It minimizes over M in W = M V with V the whitening of the data, from the present W: so the steps do
        not depend on how the data were mixed.

        Args:
            y: (N, D), N above D.
            max_steps: at most so many evaluations.
            tol: it ends when the norm of the mean gradient in M is at most this.

        Returns:
            The mean energy of the data -log p(y) ("energy") at each step.

        Raises:
            ValueError: as in `from_data`, or if the data don't fit W.
        """
        begun, history = time.perf_counter(), History()
        y = check_data(y, len(self.mean), least=2)
        mean, whitener, colorer = white(y, len(self.mean))
        x = (y.double() - mean) @ whitener.T
        start = self.unmixing.detach().double() @ colorer
        offset = len(mean) * math.log(math.pi) - float(torch.linalg.slogdet(whitener)[1])
        solution = minimize(
            mean_energy,
            {"m": start.unsqueeze(0)},
            LBFGS(),
            given={"x": x.unsqueeze(0)},
            max_steps=max_steps,
            tol=tol,
            trace=True,
        )
        value = solution.value["m"] if isinstance(solution.value, dict) else one_tensor(solution.value)
        with torch.no_grad():
            self.unmixing.copy_(value[0] @ whitener)
            self.mean.copy_(mean)
        if solution.trace is not None:
            for reached in solution.trace.energy[:, 0].tolist():
                history.append({"energy": reached + offset})
        warn_unconverged(solution, "SquareICA.fit")
        history.seconds = time.perf_counter() - begun
        return history

    def _log_z(self) -> Tensor:
        return len(self.mean) * math.log(math.pi) - torch.linalg.slogdet(self.unmixing)[1]


def log_cosh(s: Tensor) -> Tensor:
    """log cosh s, smooth and without overflow, in both derivatives too."""
    return s + functional.softplus(-2 * s, threshold=40) - math.log(2)  # exp(-40) is nothing in float64


@energy
def mean_energy(m: Tensor, x: Tensor) -> Tensor:
    """mean_n Σ_k log cosh(m_k x_n) - log |det M|, for M (B, D, D) and white data x (B, N, D)."""
    return log_cosh(x @ m.mT).sum(2).mean(1) - torch.linalg.slogdet(m)[1]
