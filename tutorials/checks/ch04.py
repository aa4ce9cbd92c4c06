"""Checks of chapter 04: the likely volume, the effective rank, the slope of a joint embedding."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ebm.course import refuse, require, require_close, require_shape


def check_likely_volume(likely_volume: Callable[[Tensor, float], Tensor]) -> None:
    """exp of the entropy of w ∝ exp(-βE), over n."""
    for seed, beta in enumerate((0.4, 2.5, 1.7)):
        energies = 2 * torch.randn(30, generator=torch.Generator().manual_seed(seed))
        found = likely_volume(energies, beta)
        require_shape(found, (), "likely_volume")

        def entropy(scaled: Tensor) -> Tensor:
            return torch.special.entr(scaled.softmax(0)).sum()

        h = entropy(-beta * energies)
        right = h.exp() / 30
        refuse(found, h.exp(), "1/n is missing: this counts points; the share of the box is asked for.")
        refuse(found, h, "This is the entropy; its exponential, over n, is asked for.")
        refuse(found, h - math.log(30), "This is the logarithm of the share; take exp of it.")
        refuse(found, (-h).exp() / 30, "The entropy's sign is turned: H = -Σ w log w is positive.")
        refuse(found, entropy(-energies).exp() / 30, "β is missing: w ∝ exp(-βE).")
        refuse(
            found,
            entropy(beta * energies).exp() / 30,
            "The energy's sign is turned: low energies are likely, w ∝ exp(-βE).",
        )
        refuse(found, h.exp2() / 30, "The entropy is in nats (log), so it is exp of it, not a power of 2.")
        refuse(
            found,
            1 / (-beta * energies).softmax(0).square().sum() / 30,
            "This is 1/Σw² over n; the exponential of the entropy is asked for.",
        )
        require_close(found, right, "The likely volume differs from exp(-Σ w log w) / n.")
        for shift in (5000.0, -5000.0):
            moved = likely_volume(energies + shift, beta)
            require(
                bool(torch.isfinite(moved)),
                f"exp of energies near {shift:g} is 0 or infinite in floating point: use torch.log_softmax.",
            )
            require_close(moved, right, "A constant added to the energy must change nothing.")
        spiked = likely_volume(torch.cat([torch.zeros(1), torch.full((9,), 5000.0)]), beta)
        require(bool(torch.isfinite(spiked)), "A point with w = 0 counts nothing: 0 · log 0 must be 0 here.")
        require_close(
            likely_volume(torch.zeros(12), beta), torch.tensor(1.0), "A flat energy finds all of it likely."
        )


def _rank(shares: Tensor) -> Tensor:
    return torch.special.entr(shares / shares.sum()).sum().exp()


def check_effective_rank(effective_rank: Callable[[Tensor], Tensor]) -> None:
    """exp of the entropy of the shares of the singular values of the centered codes."""
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(25, 4, generator=generator) * torch.tensor([3.0, 1.0, 0.5, 0.2]) + 2.0
        found = effective_rank(z)
        require_shape(found, (), "effective_rank")
        sigma, raw = torch.linalg.svdvals(z - z.mean(0)), torch.linalg.svdvals(z)
        right = _rank(sigma)
        refuse(
            found,
            _rank(raw),
            "The mean is still in there: it counts as one strong direction; subtract z.mean(0).",
        )
        rows = torch.linalg.svdvals(z - z.mean(1, keepdim=True))
        refuse(found, _rank(rows), "The mean is over the rows of z, the examples: z.mean(0), not z.mean(1).")
        refuse(found, _rank(sigma.square()), "These are the shares of σ²; the shares of σ are asked for.")
        refuse(found, right.log(), "This is the entropy; its exponential is the number of directions.")
        refuse(found, 1 / right, "The entropy's sign is turned: H = -Σ p log p, and the rank is at least 1.")
        refuse(
            found,
            torch.tensor(4.0),
            "This counts directions however weak they are; weigh them by their shares.",
        )
        require_close(found, right, "The effective rank differs from exp(-Σ p log p), p = σ / Σσ.")
        require_close(
            effective_rank(7 * z), right, "The effective rank must not change if all codes are scaled."
        )
        z[:, 2] = 1.0  # a direction that is dead
        require_close(
            effective_rank(z),
            _rank(torch.linalg.svdvals(z - z.mean(0))),
            "A dead direction must count nothing.",
        )
    line = effective_rank(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]))
    require(bool(torch.isfinite(line)), "A dead direction has p = 0 and counts nothing: torch.special.entr.")
    require_close(line, torch.tensor(1.0), "Codes on a line have the effective rank 1.")


def check_joint_slope(joint_slope: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """2 <(Wx - Wy) xᵀ>."""
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        W = torch.randn(3, 4, generator=generator)
        x, y = torch.randn(2, 7, 4, generator=generator)
        found = joint_slope(W, x, y)
        require_shape(found, (3, 4), "joint_slope")
        d = (x - y) @ W.T / 7
        right = 2 * d.T @ x
        refuse(
            found,
            2 * d.T @ (x - y),
            "The gradient goes through the target: Wy is held, so W counts in Wx alone.",
        )
        refuse(
            found,
            -2 * d.T @ y,
            "This is the gradient through the target alone: it is the other way round, Wy is held and Wx learns.",
        )
        refuse(found, -right, "The sign is turned: d/dW of |Wx - t|² is +2 (Wx - t) xᵀ.")
        refuse(found, right / 2, "A factor 2 is missing: d/dW of |Wx - t|² is 2 (Wx - t) xᵀ.")
        refuse(found, 7 * right, "1/N is missing: the loss is the mean over the rows, not the sum.")
        refuse(found, right / 3, "The energy sums over the K numbers of a code; only rows are averaged.")
        refuse(found, 2 * (x @ W.T).T @ x / 7, "The target is missing: it is Wx minus Wy.")
        require_close(found, right, "The slope differs from 2 < (Wx - Wy) xᵀ >.")


CHECKS = {
    "likely_volume": check_likely_volume,
    "effective_rank": check_effective_rank,
    "joint_slope": check_joint_slope,
}
