"""Checks of chapter 06: a step of ISTA, the variational free energy of a Gaussian, a step of k-means."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ebm.course import refuse, require, require_close, require_shape


def _soft(v: Tensor, threshold: float) -> Tensor:
    return torch.where(v > threshold, v - threshold, torch.where(v < -threshold, v + threshold, 0 * v))


def check_ista_step(ista_step: Callable[..., Tensor]) -> None:
    """z ← soft(z - t (zD - y)Dᵀ, tλ)."""
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        z, y = torch.randn(6, 8, generator=generator), torch.randn(6, 5, generator=generator)
        D, lam, t = torch.randn(8, 5, generator=generator), 1.7, 0.15
        found = ista_step(z, y, D, lam, t)
        require_shape(found, (6, 8), "ista_step")
        slope = (z @ D - y) @ D.T
        v = z - t * slope
        for slip, message in (
            (_soft(z + t * slope, t * lam), "This goes uphill: the step is minus the slope (zD - y)Dᵀ."),
            (_soft(v, lam), "The threshold is λ; it must be t λ, since a step of t pays t times the price."),
            (_soft(v, t), "λ is missing in the threshold, which is t λ."),
            (v, "Nothing is shrunk: this is gradient descent on the first term, and no number becomes 0."),
            (
                (v - t * lam).clamp(min=0),
                "Negative numbers are lost: this is the step for codes >= 0. Keep the sign, shrink the size.",
            ),
            (
                torch.where(v.abs() > t * lam, v, 0 * v),
                "This cuts off and does not shrink (a hard threshold, which belongs to a count of numbers); "
                "what stays loses t λ, too.",
            ),
            (
                v.sign() * (v.abs() - t * lam),
                "Small numbers change their sign: what would be shrunk below 0 is 0 (clamp).",
            ),
            (
                v - t * lam * z.sign(),
                "This is a subgradient step: numbers jump across 0 and are never exactly 0.",
            ),
            (_soft(z, t * lam) - t * slope, "The order is turned: first the step, then the threshold."),
            (
                _soft(v - t * slope, t * lam),
                "The step is twice too long: the slope of ½|y - zD|² is (zD - y)Dᵀ.",
            ),
        ):
            refuse(found, slip, message)
        require_close(found, _soft(v, t * lam), "z differs from soft(z - t (zD - y)Dᵀ, t λ).")


def check_variational_free_energy(variational_free_energy: Callable[..., Tensor]) -> None:
    """⟨|y - zg|²⟩_q / 2σ² + β KL(N(m, s²) ‖ N(0, 1))."""
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        y, g = torch.randn(6, 4, generator=generator), torch.randn(4, generator=generator)
        m, log_s = torch.randn(2, 6, generator=generator)
        sigma, beta = 0.6, 1.8
        found = variational_free_energy(y, g, sigma, m, log_s, beta)
        require_shape(found, (6,), "variational_free_energy")
        at_mean, width = (y - m[:, None] * g).square().sum(1), g.square().sum()
        s = log_s.exp()
        energy = (at_mean + s**2 * width) / (2 * sigma**2)
        kl = 0.5 * (m**2 + s**2 - 1) - log_s
        for slip, message in (
            (
                at_mean / (2 * sigma**2) + beta * kl,
                "The error is taken at the mean alone; the cloud's width adds s²|g|².",
            ),
            (
                (at_mean + s * width) / (2 * sigma**2) + beta * kl,
                "The width adds s²|g|², and this adds s|g|²: a variance is the square of a standard deviation.",
            ),
            (
                energy - beta * kl,
                "The sign of the information is turned: it is a price, so it adds to the energy.",
            ),
            (
                energy + kl,
                "β is missing: it is the price of a nat.",
            ),
            (
                beta * (energy + kl),
                "β multiplies everything, and cancels; only the information has the price β.",
            ),
            (2 * sigma**2 * energy + beta * kl, "1/2σ² is missing: the error counts in units of the noise."),
            (2 * energy + beta * kl, "The factor ½ of the error is missing: it is divided by 2σ²."),
            (energy / 4 + beta * kl, "This is a mean over the coordinates; sum them."),
            (
                energy + beta * (0.5 * (m**2 + s**2 - 1) + log_s),
                "The sign of the entropy is turned: a sharp cloud (small s) costs more, so -log s.",
            ),
            (
                energy + beta * (0.5 * (m**2 + s**2 - 1) - 2 * log_s),
                "The entropy counts twice: ½ log s² is log s.",
            ),
            (
                energy + beta * (0.5 * (m**2 + s**2) - log_s),
                "-½ is missing: KL must be 0 for m = 0 and s = 1.",
            ),
            (
                energy + beta * (0.5 * (m**2 + s - 1) - 0.5 * log_s),
                "The KL takes s for s²: log_s is the logarithm of the standard deviation.",
            ),
            (
                energy - beta * log_s,
                "This is the entropy alone; what m and s cost, ½(m² + s² - 1), is missing.",
            ),
        ):
            refuse(found, slip, message)
        require_close(found, energy + beta * kl, "F differs from (|y - mg|² + s²|g|²)/2σ² + β KL.")


def check_lloyd_step(lloyd_step: Callable[[Tensor, Tensor], Tensor]) -> None:
    """The mean of the rows that each center is nearest to."""
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        y, C = torch.randn(30, 2, generator=generator), torch.randn(4, 2, generator=generator)
        lonely = torch.cat([C, torch.tensor([[50.0, 50.0]])])
        squared = (y[:, None] - C).square().sum(2)

        def means(which: Tensor, y: Tensor = y, C: Tensor = C) -> Tensor:
            rows = [y[which == k] for k in range(4)]
            return torch.stack([each.mean(0) if len(each) else C[k] for k, each in enumerate(rows)])

        nearest = squared.argmin(1)
        right, counts = means(nearest), torch.bincount(nearest, minlength=4).unsqueeze(1).to(y)
        found, kept = lloyd_step(y, C.clone()), C.clone()
        require_shape(found, (4, 2), "lloyd_step")
        weights = torch.softmax(-squared, 1)
        for slip, message in (
            (means(squared.argmax(1)), "This takes the center farthest away: argmin, not argmax."),
            (counts * right, "1/N_k is missing: the best center is the mean of its rows, not their sum."),
            (counts * right / 30, "This divides by all rows; divide by the rows that chose this center."),
            (
                weights.T @ y / weights.sum(0)[:, None],
                "Rows are shared among the centers (a softmax); z is one-hot, each row counts for one center.",
            ),
            (kept, "The centers haven't moved: with z* held, each goes to the mean of its rows."),
        ):
            refuse(found, slip, message, right=right)
        require_close(found, right, "A center differs from the mean of the rows that it is nearest to.")
        alone = lloyd_step(y, lonely)
        require(
            bool(torch.isfinite(alone).all()),
            "A center without rows became NaN (0/0): it stays where it is.",
        )
        require_close(
            alone[4], lonely[4], "A center without rows has moved; nothing pulls at it, so it stays."
        )


CHECKS = {
    "ista_step": check_ista_step,
    "variational_free_energy": check_variational_free_energy,
    "lloyd_step": check_lloyd_step,
}
