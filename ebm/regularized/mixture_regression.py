"""Mixture regression: K linear answers to every x, and a latent that says which of them was given.

    E(x, y, z) = |y - xW_z - b_z|² / (2σ_z²) + P log σ_z + (P/2) log 2π - log π_z = -log p(y, z | x)
    F(x, y) = -log Σ_z exp(-E(x, y, z)) = -log p(y | x)

With one answer it is linear regression. Learned by expectation and maximization: what each answer is
responsible for, r_nk = p(z = k | x_n, y_n), then weighted least squares; F never rises on the way.

Reference: Quandt & Ramsey (1978), "Estimating Mixtures of Normal Distributions and Switching Regressions";
Bishop (2006), "Pattern Recognition and Machine Learning", sect. 14.5.1.
"""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from ebm.choices import Choices
from ebm.energy import Energy
from ebm.history import History
from ebm.infer.enumerate import Enumerate
from ebm.infer.method import count, positive
from ebm.infer.minimize import minimize
from ebm.infer.starts import Zeros
from ebm.marginal import marginal_over
from ebm.nodes import AllChoices
from ebm.regularized.checks import check_choice, check_parameters, check_width
from ebm.regularized.exact import check_data, home
from ebm.solution import Solution
from ebm.steps import Steps

RIDGE = 1e-8  # of the mean square of the inputs, added so that few responsibilities can be solved for


class MixtureRegression(Energy):
    """E(x, y, z) = -log p(y, z | x), for x (B, D), y (B, P) and z (B,) int64 in [0, K).

    Args:
        weight: W, (K, D, P).
        bias: b, (K, P).
        log_std: log σ, (K,).
        log_share: log π, (K,), normalized when it is used.

    Raises:
        ValueError: if the shapes don't fit.

    Example:
        >>> x = torch.linspace(-1, 1, 200, dtype=torch.float64).unsqueeze(1)
        >>> y = torch.where(torch.arange(200).unsqueeze(1) % 2 == 0, x, -x)          # a cross
        >>> model = MixtureRegression.from_data(x, y, 2, generator=torch.Generator().manual_seed(0))
        >>> history = model.fit(x, y, progress=False)
        >>> model.weight.flatten().sort().values.round(decimals=3)
        tensor([-1.,  1.], dtype=torch.float64)
    """

    weight: Tensor
    bias: Tensor
    log_std: Tensor
    log_share: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, log_std: Tensor, log_share: Tensor):
        super().__init__()
        shapes = [tuple(t.shape) for t in (bias, log_std, log_share)]
        k, _, p = weight.shape if weight.ndim == 3 else (0, 0, 0)
        if k < 1 or shapes != [(k, p), (k,), (k,)]:
            raise ValueError(
                f"weight is (K, D, P), bias (K, P), log_std and log_share (K,); got {tuple(weight.shape)}, "
                f"{shapes}."
            )
        check_parameters(weight=weight, bias=bias, log_std=log_std, log_share=log_share)
        for name, value in zip(
            ("weight", "bias", "log_std", "log_share"), (weight, bias, log_std, log_share), strict=True
        ):
            self.register_buffer(name, value.clone())

    @classmethod
    def from_data(
        cls, x: Tensor, y: Tensor, answers: int, *, generator: torch.Generator | None = None
    ) -> MixtureRegression:
        """A start: every answer is the least squares of a few rows of its own, with the noise of all.

        Args:
            x, y: (N, D) and (N, P).
            answers: K, such that N >= K (D + 1).

        Raises:
            ValueError: if there are too few rows, or they hold NaN or infinity.
        """
        _checked(x, y)
        few = x.shape[1] + 1
        if len(x) < count("answers", answers) * few:
            raise ValueError(
                f"{answers} answers to {few - 1} inputs need {answers * few} rows; got {len(x)}."
            )
        order = torch.randperm(len(x), generator=generator, device=home(generator))[: answers * few].to(
            x.device
        )
        eye = torch.eye(answers, dtype=x.dtype, device=x.device).repeat_interleave(few, 0)
        model = cls(
            x.new_zeros(answers, x.shape[1], y.shape[1]),
            x.new_zeros(answers, y.shape[1]),
            x.new_zeros(answers),
            x.new_zeros(answers),
        )
        model._solve(x[order], y[order], eye)
        model.log_std.fill_(float(0.5 * y.var(0).mean().clamp(min=_least_variance(y)).log()))
        model.log_share.zero_()
        return model

    def forward(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        check_choice(z, len(self.weight), "answers")
        return self.energies(x, y).gather(1, z.unsqueeze(1)).squeeze(1)

    def energies(self, x: Tensor, y: Tensor) -> Tensor:
        """E(x, y, z) for every z, (B, K)."""
        if x.ndim != 2 or x.shape[1] != self.weight.shape[1] or y.shape != (len(x), self.weight.shape[2]):
            raise ValueError(
                f"x is (B, {self.weight.shape[1]}) and y (B, {self.weight.shape[2]}); got {tuple(x.shape)} "
                f"and {tuple(y.shape)}."
            )
        off = (y.unsqueeze(1) - self.decode(x)).square().sum(2)
        size = y.shape[1]
        scale = size * (self.log_std + 0.5 * math.log(2 * math.pi)) - self.log_share.log_softmax(0)
        return 0.5 * off * (-2 * self.log_std).exp() + scale

    def infer(self, x: Tensor, y: Tensor) -> Solution:
        """z* = argmin_z E(x, y, z), (B,): the answer that explains y best."""
        begin = Choices(Zeros(), n=len(self.weight))
        return minimize(self, {"z": begin}, Enumerate(), given={"x": x, "y": y})

    @property
    def free_energy(self) -> Energy:
        """F(x, y) = -log p(y | x), an exact sum."""
        return marginal_over(self, "z", 1.0, by=AllChoices(len(self.weight), normalized=False))

    def decode(self, x: Tensor) -> Tensor:
        """All K answers, xW_z + b_z, (B, D) -> (B, K, P)."""
        check_width("x", x, self.weight.shape[1])
        return torch.einsum("bd,kdp->bkp", x, self.weight) + self.bias

    def fit(
        self, x: Tensor, y: Tensor, *, steps: int = 200, tol: float = 1e-9, progress: bool = True
    ) -> History:
        """Expectation and maximization, in place, until the mean of F falls by less than `tol`.

        Ctrl-C ends it after a whole step.

        Args:
            x, y: (N, D) and (N, P).
            steps: at most.
            tol: of the mean of F, in nats.
            progress: show a bar if it takes long.

        Returns:
            For each step the mean of F before it ("energy").

        Raises:
            ValueError: if data hold NaN or infinity, or don't fit.
        """
        _checked(x, y)
        positive("tol", tol, zero=True)
        history, begun, before = History(), time.perf_counter(), math.inf
        count("steps", steps)
        with torch.no_grad(), Steps("mixture regression", steps, progress) as loop:
            for step in range(1, steps + 1):
                energies = self.energies(x, y)
                mean = -float((-energies).logsumexp(1).mean())
                history.append({"energy": mean})
                settled, before = before - mean < tol, mean
                if not settled:
                    self._solve(x, y, (-energies).softmax(1))
                if loop.ended(settled or step == steps, energy=mean):
                    break
        history.interrupted = loop.interrupted
        history.seconds = time.perf_counter() - begun
        return history

    def _solve(self, x: Tensor, y: Tensor, share: Tensor) -> None:
        """Weighted least squares, noise and share of every answer for responsibilities (N, K)."""
        inputs = torch.cat([x, torch.ones_like(x[:, :1])], 1)
        total = share.sum(0).clamp(min=torch.finfo(x.dtype).tiny)
        gram = torch.einsum("nk,nd,ne->kde", share, inputs, inputs)
        size = gram.diagonal(dim1=1, dim2=2).mean(1).clamp(min=torch.finfo(x.dtype).tiny)
        gram = gram + RIDGE * size[:, None, None] * torch.eye(inputs.shape[1], dtype=x.dtype, device=x.device)
        solved = torch.linalg.solve(gram, torch.einsum("nk,nd,np->kdp", share, inputs, y))
        self.weight.copy_(solved[:, :-1])
        self.bias.copy_(solved[:, -1])
        off = (y.unsqueeze(1) - self.decode(x)).square().mean(2)
        self.log_std.copy_(0.5 * ((share * off).sum(0) / total).clamp(min=_least_variance(y)).log())
        self.log_share.copy_(total.log())


def _least_variance(y: Tensor) -> float:
    """What the noise of an answer that hits everything is taken for, so that its energy stays a number."""
    limits = torch.finfo(y.dtype)
    return max(limits.eps * float(y.square().mean()), limits.tiny)


def _checked(x: Tensor, y: Tensor) -> None:
    for name, value in (("x", x), ("y", y)):
        if not isinstance(value, Tensor) or not value.is_floating_point():
            came = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(f"{name} is a tensor of floating point numbers; got {came}.")
    if x.dtype != y.dtype:
        raise TypeError(f"x is {x.dtype}, y is {y.dtype}; convert one: y.to(x).")
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise ValueError(f"x is (N, D) and y (N, P); got {tuple(x.shape)} and {tuple(y.shape)}.")
    check_data(torch.cat([x, y], 1))
