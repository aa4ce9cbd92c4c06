"""Checks of chapter 05: noise-contrastive estimation, contrastive divergence, denoising score matching."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ebm.course import refuse, require, require_close, require_shape

EnergyOf = Callable[[Tensor], Tensor]


def _nce(
    low: Tensor, high: Tensor, at_data: Tensor, at_noise: Tensor, c: Tensor, nu: float, times: float
) -> Tensor:
    """The loss with any ν inside the logit, and the noise counted `times`."""
    data, noise = (-e - c - density - math.log(nu) for e, density in ((low, at_data), (high, at_noise)))
    return softplus(-data).mean() + times * softplus(noise).mean()


def check_nce_loss(nce_loss: Callable[..., Tensor]) -> None:
    """L = ⟨softplus(log ν - G)⟩_data + ν⟨softplus(G - log ν)⟩_noise, G = -E - c - log p_n."""
    for seed, nu in ((0, 1), (1, 3), (2, 5)):
        generator = torch.Generator().manual_seed(seed)
        low, at_data = torch.randn(2, 7, generator=generator)
        high, at_noise = torch.randn(2, 7, nu, generator=generator)
        c = torch.randn((), generator=generator)
        found = nce_loss(low, high, at_data, at_noise, c)
        require_shape(found, (), "nce_loss")
        right = _nce(low, high, at_data, at_noise, c, nu, nu)
        both = torch.cat([low[:, None], high], 1)
        densities = torch.cat([at_data[:, None], at_noise], 1)
        logit = -both - c - densities - math.log(nu)
        swapped = softplus(logit[:, 0]).mean() + nu * softplus(-logit[:, 1:]).mean()
        refuse(
            found,
            swapped,
            "The phases are exchanged: this calls data noise, so it pushes the data's energy up.",
        )
        refuse(
            found,
            _nce(-low, -high, at_data, at_noise, c, nu, nu),
            "The sign of the energy is turned: log p = -E - c.",
        )
        refuse(
            found, _nce(low, high, at_data, at_noise, -c, nu, nu), "The sign of c is turned: log p = -E - c."
        )
        refuse(
            found,
            _nce(low, high, 0 * at_data, 0 * at_noise, c, nu, nu),
            "The noise's density is missing: the logit is the ratio of two densities, -E - c - log p_n.",
        )
        refuse(
            found,
            _nce(low, high, at_data, at_noise, c, 1, nu),
            "log ν is missing in the logit: c would come out as log Z - log ν.",
            right=right,
        )
        for times in (1.0, 1 / nu):
            refuse(
                found,
                _nce(low, high, at_data, at_noise, c, nu, times),
                "The noise counts too little: there are ν points for each row, so ν times their mean.",
                right=right,
            )
        refuse(
            found,
            torch.cat([softplus(-logit[:, :1]), softplus(logit[:, 1:])], 1).mean(),
            "This is a mean over data and noise together; take the data's mean plus ν times the noise's.",
        )
        refuse(
            found, 7 * right, "1/B is missing: the loss is a mean over the rows, not their sum.", right=right
        )
        require_close(found, right, "L differs from ⟨softplus(log ν - G)⟩ + ν ⟨softplus(G - log ν)⟩.")


def _chain(energy: EnergyOf, y: Tensor, noise: Tensor, eps: float, slip: str = "") -> Tensor:
    """Langevin steps, differentiable in the energy's weights."""
    y = y.clone().requires_grad_()
    for xi in noise[:1] if slip == "one" else noise:
        (slope,) = torch.autograd.grad(energy(y).sum(), y, create_graph=True)
        kick = {"root": math.sqrt(eps), "none": 0.0, "plain": eps}.get(slip, math.sqrt(2 * eps))
        y = y + (eps if slip == "uphill" else -eps) * slope + kick * xi
    return y


CHAIN_SLIPS = {
    "uphill": "The chain goes uphill: a Langevin step is minus ε ∇E.",
    "root": "The noise of the chain is too small: its standard deviation is √(2ε), not √ε.",
    "none": "The chain has no noise: this is descent, and finds minima, not samples.",
    "plain": "The noise of the chain is scaled by ε; its standard deviation is √(2ε).",
    "one": "This is one step only; go through all of `noise`.",
}


def check_contrastive_divergence(contrastive_divergence: Callable[..., Tensor]) -> None:
    """L = ⟨E(y)⟩ - ⟨E(y⁻)⟩, with the gradient of these two means and no other."""
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        y, eps = torch.randn(6, 3, generator=generator), 0.15
        noise = torch.randn(4, 6, 3, generator=generator)
        weights = (0.5 + torch.rand(3, generator=generator)).requires_grad_()

        def energy(y: Tensor, weights: Tensor = weights) -> Tensor:
            return (weights * (0.5 * y**2 + 0.1 * y**4)).sum(1)

        kept = y.clone()
        found = contrastive_divergence(energy, y, noise, eps)
        require_shape(found, (), "contrastive_divergence")
        require(
            not y.requires_grad and torch.equal(y, kept),
            "y must stay as it is: begin the chain at a copy of it.",
        )
        through = energy(y).mean() - energy(_chain(energy, y, noise, eps)).mean()
        right = energy(y).mean() - energy(_chain(energy, y, noise, eps).detach()).mean()
        refuse(
            found,
            -right,
            "The phases are exchanged: the data's energy goes down (+), that of the chains up (-).",
        )
        refuse(found, 0 * right, "The chains are still where the data are, so the two means cancel.")
        for slip, message in CHAIN_SLIPS.items():
            refuse(found, energy(y).mean() - energy(_chain(energy, y, noise, eps, slip)).mean(), message)
        refuse(found, 6 * right, "1/B is missing: take means over the rows, not sums.")
        require_close(found, right, "L differs from ⟨E(y)⟩ - ⟨E(end of the chains)⟩.")
        require(
            found.requires_grad,
            "L can't be differentiated: cut the chain off (detach), not the energies of its end and of the data.",
        )
        slope, right_slope, through_slope = (
            torch.autograd.grad(value, weights, retain_graph=True)[0] for value in (found, right, through)
        )
        (positive,) = torch.autograd.grad(energy(y).mean(), weights)
        refuse(
            slope,
            through_slope,
            "L is right, its gradient is not: this differentiates through the chain. Detach each new point.",
        )
        refuse(
            slope,
            positive,
            "L is right, its gradient lacks the negative phase: detach the chain, not the energy at its end.",
        )
        require_close(slope, right_slope, "L is right, its gradient is not ⟨∇E(y)⟩ - ⟨∇E(y⁻)⟩ at fixed y⁻.")


def check_denoising_loss(denoising_loss: Callable[..., Tensor]) -> None:
    """J = ½⟨|∇E(ỹ) - (ỹ - y)/σ²|²⟩, differentiable in the energy's weights."""
    for seed, sigma in ((0, 0.3), (1, 0.7), (2, 2.0)):
        generator = torch.Generator().manual_seed(seed)
        y, noise = torch.randn(2, 6, 3, generator=generator)
        weights = (0.5 + torch.rand(3, generator=generator)).requires_grad_()

        def energy(y: Tensor, weights: Tensor = weights) -> Tensor:
            return (weights * (0.5 * y**2 + 0.1 * y**4)).sum(1)

        def slope_at(y: Tensor, weights: Tensor = weights) -> Tensor:
            return weights * (y + 0.4 * y**3)

        def half(residual: Tensor) -> Tensor:
            return 0.5 * residual.square().sum(1).mean()

        found = denoising_loss(energy, y, noise, sigma)
        require_shape(found, (), "denoising_loss")
        slope, target = slope_at(y + sigma * noise), noise / sigma
        right = half(slope - target)
        for slip, message in (
            (
                half(slope + target),
                "The sign of the target is turned: energy rises from y to ỹ, so ∇E is to be +(ỹ - y)/σ².",
            ),
            (half(slope - sigma * noise), "1/σ² is missing: the target is (ỹ - y)/σ², not ỹ - y."),
            (half(slope - noise), "The target is the noise itself; (ỹ - y)/σ² is noise / σ."),
            (
                half(slope - noise / sigma**2),
                "One σ too many: ỹ - y is σ · noise, so (ỹ - y)/σ² is noise / σ.",
            ),
            (half(slope_at(y) - target), "The slope is taken at the data; take it at the spoilt points ỹ."),
            (2 * right, "The factor ½ is missing."),
            (right / 3, "This is a mean over the coordinates; sum them, and take the mean over rows."),
            (6 * right, "1/B is missing: take the mean over the rows, not their sum."),
        ):
            refuse(found, slip, message, right=right)
        require_close(found, right, "J differs from ½⟨|∇E(ỹ) - (ỹ - y)/σ²|²⟩.")
        require(
            found.requires_grad,
            "J is right, but can't be differentiated: the slope must keep its graph (create_graph=True).",
        )
        mine, truth = (torch.autograd.grad(value, weights)[0] for value in (found, right))
        require_close(
            mine, truth, "J is right, its gradient is not: don't detach what depends on the weights."
        )


CHECKS = {
    "nce_loss": check_nce_loss,
    "contrastive_divergence": check_contrastive_divergence,
    "denoising_loss": check_denoising_loss,
}
