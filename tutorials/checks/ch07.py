"""Checks of chapter 07: VICReg's variance and covariance terms, and the energy of distillation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ebm.course import refuse, require, require_close, require_shape


def _codes(seed: int) -> Tensor:
    """Codes (9, 4) that are not centered, some dimensions wide and some narrow, and correlated."""
    g = torch.Generator().manual_seed(seed)
    mixed = torch.randn(9, 4, generator=g) @ (0.6 * torch.randn(4, 4, generator=g))
    return mixed * torch.tensor([0.3, 0.5, 1.0, 3.0]) + torch.randn(4, generator=g)


def _slope(term: Tensor, of: Tensor) -> Tensor | None:
    """The gradient; None where nothing depends on it."""
    if not term.requires_grad:
        return None
    (found,) = torch.autograd.grad(term.sum(), of, allow_unused=True)
    return found


def check_variance_term(variance_term: Callable[[Tensor, float, float], Tensor]) -> None:
    """v = (1/D) Σ_i max(0, γ - √(Var_i + ε))."""
    for seed in range(3):
        z, std, eps = _codes(seed), 1.2, 0.05

        def v(z: Tensor, axis: int = 0, correction: int = 1, std: float = std, eps: float = eps) -> Tensor:
            return torch.relu(std - (z.var(axis, correction=correction) + eps).sqrt())

        found, right = variance_term(z, std, eps), v(z).mean()
        require_shape(found, (), "variance_term")
        refuse(
            found,
            v(z, axis=1).mean(),
            "The variance is over the wrong axis: it is over the rows (dim 0), how different things differ in "
            "one dimension, not over the dimensions of one code.",
        )
        refuse(found, v(z, eps=0.0).mean(), "ε is missing under the root; without it the slope at 0 is NaN.")
        outside = torch.relu(std - z.std(0) - eps).mean()
        refuse(found, outside, "ε stands outside the root, where it does not keep the slope finite.")
        refuse(found, v(z, correction=0).mean(), "Var is divided by N; here by N - 1, as Tensor.var does.")
        variance = torch.relu(std - z.var(0) - eps).mean()
        refuse(found, variance, "The root is missing: the hinge is on the standard deviation.")
        refuse(
            found, (std - (z.var(0) + eps).sqrt()).mean(), "The hinge is missing: nothing is gained beyond γ."
        )
        refuse(found, v(z).sum(), "1/D is missing: the mean over the dimensions, not the sum.")
        refuse(
            found,
            torch.relu((z.var(0) + eps).sqrt() - std).mean(),
            "The sign is turned: a standard deviation BELOW γ costs, so max(0, γ - σ).",
        )
        require_close(found, right, "The term differs from the mean of max(0, γ - √(Var + ε)).")
    same = torch.ones(5, 3, requires_grad=True)
    slope = _slope(variance_term(same, 1.0, 1e-4), same)
    require(
        slope is not None and bool(slope.isfinite().all()),
        "At equal codes the slope is not finite: ε belongs under the root, and nothing may be detached.",
    )


def check_covariance_term(covariance_term: Callable[[Tensor], Tensor]) -> None:
    """c = (1/D) Σ_{i≠j} C_ij²."""
    for seed in range(3):
        z = _codes(seed)
        n, d = z.shape
        centered = z - z.mean(0)

        def off(matrix: Tensor) -> Tensor:
            return matrix - torch.diag(matrix.diagonal())

        c = centered.T @ centered / (n - 1)
        found, right = covariance_term(z), off(c).square().sum() / d
        require_shape(found, (), "covariance_term")
        refuse(
            found,
            c.square().sum() / d,
            "The diagonal is counted: variances are no covariances, and it would pull them to 0.",
        )
        refuse(
            found,
            right * ((n - 1) / n) ** 2,
            "C is divided by N; with the mean taken off it is N - 1, else C is too small on average.",
        )
        refuse(
            found,
            off(z.T @ z / (n - 1)).square().sum() / d,
            "The codes are not centered: subtract the mean over the rows first.",
        )
        rows = z - z.mean(1, keepdim=True)
        refuse(
            found,
            off(rows.T @ rows / (n - 1)).square().sum() / d,
            "The mean over the wrong axis is subtracted: each dimension's mean over the rows (dim 0).",
        )
        refuse(
            found,
            off(centered @ centered.T / (n - 1)).square().sum() / d,
            "This compares rows (N, N); the covariance of dimensions is (D, D): centered.T @ centered.",
        )
        refuse(found, off(c).square().sum(), "1/D is missing.")
        refuse(found, off(c).square().sum() / (d * (d - 1)), "Divided by D(D - 1); VICReg divides by D.")
        refuse(found, off(c).sum() / d, "The covariances are not squared: positive and negative ones cancel.")
        refuse(found, right / 2, "Each pair is counted once; the sum over i ≠ j has (i, j) and (j, i).")
        require_close(found, right, "The term differs from the sum of squares off the diagonal over D.")


def check_distillation_energy(distillation_energy: Callable[[Tensor, Tensor], Tensor]) -> None:
    """|q/|q| - t/|t||² of each row, t held constant."""
    for seed in range(3):
        g = torch.Generator().manual_seed(seed)
        q, t = (torch.randn(6, 3, generator=g).requires_grad_() for _ in range(2))
        cosine = torch.cosine_similarity(q, t, dim=1)
        right, found = 2 - 2 * cosine, distillation_energy(q, t)
        require_shape(found, (6,), "distillation_energy")
        refuse(found, (q - t).square().sum(1), "The codes are not divided by their lengths.")
        columns = (q / q.norm(dim=0) - t / t.norm(dim=0)).square().sum(1)
        refuse(found, columns, "The lengths are over the wrong axis: each ROW is divided by its length.")
        refuse(found, right / 3, "This is the mean over the dimensions; sum them.")
        refuse(found, 2 * cosine - 2, "The sign is turned: codes that agree have a low energy.")
        refuse(found, right.sqrt(), "This is the distance, and the energy is its square.")
        require_close(found, right, "The energy differs from |q/|q| - t/|t||² = 2 - 2 cos(q, t).")
        to_target = _slope(distillation_energy(q, t), t)
        require(
            to_target is None or not bool(to_target.any()),
            "The gradient goes through the target: it is to be a constant (detach it), or both branches run "
            "to meet each other, and collapse.",
        )
        to_prediction, whole = _slope(distillation_energy(q, t), q), _slope(2 - 2 * cosine, q)
        require(
            to_prediction is not None and bool(to_prediction.any()),
            "No gradient reaches the prediction, so nothing is learned: hold the target alone, not both.",
        )
        assert to_prediction is not None and whole is not None
        require_close(
            to_prediction, whole, "The gradient with respect to the prediction is not that of 2 - 2 cos."
        )


CHECKS = {
    "variance_term": check_variance_term,
    "covariance_term": check_covariance_term,
    "distillation_energy": check_distillation_energy,
}
