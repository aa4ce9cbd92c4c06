"""A linear-Gaussian state space: what happens is linear in what is hidden, and all noise is Gaussian.

    z_0 ~ N(m, S₀S₀ᵀ),    z_{t+1} = A z_t + N(0, QQᵀ),    y_t = C z_t + N(0, RRᵀ)
    E(y, z) = -log p(y, z) = ½ |S₀⁻¹(z_0 - m)|² + ½ Σ |Q⁻¹(z_{t+1} - A z_t)|² + ½ Σ |R⁻¹(y_t - C z_t)|² + c

A parabola in z, whose Hessian H is block tridiagonal, so that its minimum costs T solves of S x S systems:
eliminate forward, insert backward. That is the Kalman filter followed by the smoother of Rauch, Tung and
Striebel, in the form of one minimization. And since p(z | y) is Gaussian, the sum over all hidden ways is

    F(y) = -log p(y) = min_z E(y, z) + ½ log det H - (TS/2) log 2π

Reference: Rauch, Tung, Striebel (1965), "Maximum likelihood estimates of linear dynamic systems"; Kalman
(1960).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ebm.energy import Energy
from ebm.regularized.checks import check_parameters
from ebm.regularized.exact import exactly
from ebm.rows import dot
from ebm.solution import Solution, Stop


class Smoothed(NamedTuple):
    """What is known of hidden states once all of y was seen.

    Attributes:
        mean: E[z_t | y], also the most likely way, (B, T, S).
        covariance: Cov[z_t | y], the same for all rows, (T, S, S).
        log_det: log det H, 0-dim.
    """

    mean: Tensor
    covariance: Tensor
    log_det: Tensor


class StateSpace(Energy):
    """E(y, z) = -log p(y, z) for observations y (B, T, P) and hidden states z (B, T, S).

    Noises are given by square roots of their covariances, of which the lower triangle counts. A tensor is
    kept as a buffer, a parameter as a parameter, to be learned by `fit(model.free_energy, AverageEnergy(),
    {"y": y})`.

    Args:
        transition: A, (S, S).
        emission: C, (P, S).
        transition_noise: Q, (S, S).
        emission_noise: R, (P, P).
        start: m, (S,).
        start_noise: S₀, (S, S).

    Raises:
        ValueError: if shapes don't fit, or a square root has a 0 on its diagonal; on a call, if y or z have
            another width or length.

    Example:
        >>> one = torch.ones(1, 1, dtype=torch.float64)
        >>> walk = StateSpace(one, one, one, one, torch.zeros(1).double(), 10 * one)
        >>> y = torch.tensor([[[0.0], [1.0], [5.0]]]).double()
        >>> walk.infer(y).value.flatten().round(decimals=2)
        tensor([0.8700, 1.7500, 3.3700], dtype=torch.float64)
    """

    transition: Tensor
    emission: Tensor
    transition_noise: Tensor
    emission_noise: Tensor
    start: Tensor
    start_noise: Tensor

    def __init__(
        self,
        transition: Tensor,
        emission: Tensor,
        transition_noise: Tensor,
        emission_noise: Tensor,
        start: Tensor,
        start_noise: Tensor,
    ):
        super().__init__()
        if emission.ndim != 2:
            raise ValueError(f"emission is C, (P, S); got shape {tuple(emission.shape)}.")
        seen, hidden = emission.shape
        parts = {
            "transition": (transition, (hidden, hidden)),
            "emission": (emission, (seen, hidden)),
            "transition_noise": (transition_noise, (hidden, hidden)),
            "emission_noise": (emission_noise, (seen, seen)),
            "start": (start, (hidden,)),
            "start_noise": (start_noise, (hidden, hidden)),
        }
        for name, (value, shape) in parts.items():
            if tuple(value.shape) != shape:
                raise ValueError(
                    f"with an emission of (P, S) = {seen, hidden}, {name} is {shape}; got "
                    f"{tuple(value.shape)}."
                )
            check_parameters(**{name: value})
            if name.endswith("noise") and not bool((value.detach().diagonal() != 0).all()):
                raise ValueError(
                    f"{name} is a square root of a covariance; one with a 0 on its diagonal "
                    f"leaves a direction without noise, where the energy is infinite."
                )
            if isinstance(value, nn.Parameter):
                self.register_parameter(name, value)
            else:
                self.register_buffer(name, value.clone())

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        self._check(y, z)
        first = _whitened(z[:, :1] - self.start, self.start_noise)
        moves = _whitened(z[:, 1:] - z[:, :-1] @ self.transition.T, self.transition_noise)
        sight = _whitened(y - z @ self.emission.T, self.emission_noise)
        return 0.5 * (dot(first, first) + dot(moves, moves) + dot(sight, sight)) + self._constant(y)

    def infer(self, y: Tensor) -> Solution:
        """z* = argmin_z E(y, z), exactly: the smoother's means.

        Args:
            y: (B, T, P).

        Returns:
            A `Solution` whose `value` is z, (B, T, S), and `energy` E(y, z*), (B,).
        """
        z = self.smooth(y).mean
        return exactly(z, self(y=y, z=z), Stop.GRADIENT)

    @property
    def free_energy(self) -> Energy:
        """F(y) = -log p(y), an energy of y; differentiable in y and in the parameters."""
        return Evidence(self)

    def decode(self, z: Tensor) -> Tensor:
        """What is seen of hidden states without noise, Cz, (B, T, S) -> (B, T, P)."""
        return z @ self.emission.T

    def smooth(self, y: Tensor) -> Smoothed:
        """Means and covariances of the hidden states given all of y, (B, T, P)."""
        self._check(y)
        blocks, beside = self._hessian(y.shape[1])
        whiten = torch.linalg.solve_triangular(self.emission_noise.tril(), self.emission, upper=False)
        pull = _whitened(y, self.emission_noise) @ whiten  # CᵀR⁻¹y
        begin = torch.zeros_like(pull)
        begin[:, 0] = _precision(self.start_noise) @ self.start
        pull = pull + begin
        factors: list[Tensor] = []
        gains: list[Tensor] = []
        forces: list[Tensor] = []
        for t, block in enumerate(blocks):  # forward: eliminate z_0, z_1, ...
            force = pull[:, t]
            if t:
                block = block - beside.T @ gains[-1]
                force = force - forces[-1] @ gains[-1]
            factors.append(torch.linalg.cholesky(block))
            gains.append(torch.cholesky_solve(beside, factors[-1]))
            forces.append(force)
        eye = torch.eye(len(beside), dtype=beside.dtype, device=beside.device)
        means: list[Tensor] = []
        covariances: list[Tensor] = []
        for t in reversed(range(len(blocks))):  # backward: insert what comes after
            mean = torch.cholesky_solve(forces[t].T, factors[t]).T
            covariance = torch.cholesky_solve(eye, factors[t])
            if means:
                mean = mean - means[-1] @ gains[t].T
                covariance = covariance + gains[t] @ covariances[-1] @ gains[t].T
            means.append(mean)
            covariances.append(covariance)
        log_det = 2 * torch.stack([factor.diagonal().log().sum() for factor in factors]).sum()
        return Smoothed(torch.stack(means[::-1], 1), torch.stack(covariances[::-1]), log_det)

    def _hessian(self, length: int) -> tuple[list[Tensor], Tensor]:
        """The blocks H_tt, and H_{t,t+1}, which is the same for all t, each (S, S)."""
        push, moved = _precision(self.transition_noise), self.transition
        sight = self.emission.T @ _precision(self.emission_noise) @ self.emission
        blocks = []
        for t in range(length):
            block = sight + (push if t else _precision(self.start_noise))
            blocks.append(block + moved.T @ push @ moved if t + 1 < length else block)
        return blocks, -moved.T @ push

    def _constant(self, y: Tensor) -> Tensor:
        length, (seen, hidden) = y.shape[1], self.emission.shape
        noises = ((1, self.start_noise), (length - 1, self.transition_noise), (length, self.emission_noise))
        scales = sum((n * noise.diagonal().abs().log().sum() for n, noise in noises), y.new_zeros(()))
        return scales + 0.5 * length * (seen + hidden) * math.log(2 * math.pi)

    def _check(self, y: Tensor, z: Tensor | None = None) -> None:
        seen, hidden = self.emission.shape
        if y.ndim != 3 or y.shape[2] != seen or y.shape[1] < 1:
            raise ValueError(f"y is (B, T, {seen}) with T at least 1; got shape {tuple(y.shape)}.")
        if z is not None and z.shape != (*y.shape[:2], hidden):
            raise ValueError(f"z is {(*y.shape[:2], hidden)} beside such y; got shape {tuple(z.shape)}.")


class Evidence(Energy):
    """F(y) = -log p(y) of a `StateSpace`: its least energy and the curvature there."""

    def __init__(self, model: StateSpace):
        super().__init__()
        self.model = model

    def forward(self, y: Tensor) -> Tensor:
        mean, _, log_det = self.model.smooth(y)
        return self.model(y=y, z=mean) + 0.5 * log_det - 0.5 * mean.shape[1:].numel() * math.log(2 * math.pi)


def _whitened(v: Tensor, root: Tensor) -> Tensor:
    """L⁻¹v of vectors in the last dimension, L the lower triangle."""
    return torch.linalg.solve_triangular(root.tril().T, v, upper=True, left=False)


def _precision(root: Tensor) -> Tensor:
    return torch.cholesky_inverse(root.tril())
