"""Coordinate descent, for energies that are quadratic in u apart from terms that act on one coordinate each.

    E(u) = ½ uᵀAu - bᵀu + c + Σ_j h_j(u_j),        u_j ← prox_{h_j / A_jj}(u_j - g_j / A_jj),    g = Au - b

one coordinate after the other. When u_j moves by δ, g moves by δ A_j ("covariance updates"): no product with
all of A is needed. h_j are L1, bounds, or both; a coordinate without curvature (A_jj <= 0) stays where it is.

Reference: Friedman, Hastie & Tibshirani (2010), "Regularization Paths for Generalized Linear Models via
Coordinate Descent", sect. 2; Tseng (2001), "Convergence of a Block Coordinate Descent Method", thm. 4.1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.infer.coordinate_kernel import available, descend_rows
from ebm.infer.method import Method, State, count
from ebm.infer.quadratic import Quadratic, quadratic_form
from ebm.problem import Problem
from ebm.rows import dot, flat, norm

BLOCK = 32  # coordinates whose moves are carried over to all others in one product

Bounds = tuple[Tensor, Tensor, Tensor]  # threshold, low and high of each coordinate, (D,)


class CoordinateDescent(Method):
    """Cyclic coordinate descent on every row; a step is a sweep over its coordinates.

    The smooth part must be quadratic in the free variables: terms say so by `quadratic`, of others the form
    is found by D + 1 gradients and checked. Terms with a prox must offer `shrinkage`: L1, NonNegativeL1, Box,
    NonNegative. The test is on the generalized gradient of a step of length 1 / max_j A_jj.

    Args:
        compiled: run in numba (the extra `compiled`), with active sets, on the CPU; a step then is up to
            `sweeps` sweeps over the coordinates that are not at rest, between two looks at all of them.
        sweeps: at least 1; used if compiled.

    Raises:
        ImportError: if `compiled` and numba is not installed.

    Example:
        >>> from ebm import energy, minimize
        >>> from ebm.regularizers import L1
        >>> @energy
        ... def bowl(y):
        ...     return ((y - 2) ** 2).sum(1)
        >>> solution = minimize(bowl + 2 * L1("y"), torch.zeros(1, 2), CoordinateDescent())
        >>> solution.value, solution.steps
        (tensor([[1., 1.]]), tensor([1]))
    """

    monotone = True
    proximal = True
    differentiable = False

    def __init__(self, compiled: bool = False, sweeps: int = 30):
        self.compiled, self.sweeps = compiled, count("sweeps", sweeps)
        if compiled and not available():
            raise ImportError(
                "CoordinateDescent(compiled=True) needs numba, which is not installed: pip install "
                "'ebm-lab[compiled]', or use compiled=False (slower, the same answer)."
            )

    def init(self, problem: Problem, u: Tensor) -> State:
        if self.compiled and u.device.type != "cpu":
            raise ValueError(
                f"compiled coordinate descent runs on the CPU; the free variables are on {u.device}."
            )
        form = quadratic_form(problem, u)
        if bool((form.matrix.diagonal(dim1=-2, dim2=-1) < 0).any()):
            raise ValueError("the energy bends down along a coordinate, so that it has no minimum there.")
        v, bounds = flat(u), shrinkages(problem, u)
        if self.compiled:
            _, slope, smooth, length = descend_rows(form, bounds, v)
        else:
            slope = _product(v, form.matrix) - form.linear
            smooth, length = look(form, bounds, v, slope)
        more = {"matrix": form.matrix} if form.matrix.ndim == 3 else {}
        held = {"linear": form.linear, "constant": form.constant, **more}
        return self._state(problem, held, u, slope, smooth, length)

    def step(self, problem: Problem, state: State) -> State:
        u, slope = state["u"], state["slope"]
        matrix = state["matrix"] if "matrix" in state else quadratic_form(problem, u).matrix
        form, bounds = Quadratic(matrix, state["linear"], state["constant"]), shrinkages(problem, u)
        if self.compiled:
            v, slope, smooth, length = descend_rows(form, bounds, flat(u), slope, self.sweeps)
        else:
            v, slope = sweep(matrix, bounds, flat(u), slope)
            smooth, length = look(form, bounds, v, slope)
        return self._state(problem, state, v.view_as(u), slope, smooth, length)

    def _state(
        self, problem: Problem, held: State, u: Tensor, slope: Tensor, smooth: Tensor, length: Tensor
    ) -> State:
        value = held["constant"] + smooth + problem.prox_value(u)
        return {**held, "u": u, "value": value, "slope": slope, "gradient_norm": length}


def look(form: Quadratic, bounds: Bounds, u: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """f - c and the length of the generalized gradient of a step of 1 / max_j A_jj, (B,) each."""
    largest = form.matrix.diagonal(dim1=-2, dim2=-1).amax(-1, keepdim=True)
    t = 1 / largest.clamp(min=torch.finfo(u.dtype).tiny)
    threshold, low, high = bounds
    move = shrink(u - t * slope, t * threshold, low, high) - u
    return 0.5 * dot(u, slope - form.linear), norm(move / t)


def shrinkages(problem: Problem, u: Tensor) -> Bounds:
    """Threshold, low and high of each coordinate of u, (D,) each.

    Raises:
        TypeError: if a term's prox is not a shrinkage, naming a method that takes it.
    """
    parts = []
    for name, shape in problem.shapes.items():
        threshold, low, high = 0.0, -torch.inf, torch.inf
        term = problem.prox_terms.get(name)
        if term is not None:
            if not hasattr(term.leaf, "shrinkage"):
                raise TypeError(
                    f"coordinate descent takes terms that soften and clip each coordinate alone (L1, "
                    f"NonNegativeL1, Box, NonNegative); {term.label} on {name!r} offers no `shrinkage`. Use "
                    f"SpaRSA or FISTA."
                )
            threshold, low, high = term.leaf.shrinkage()
            threshold = threshold * term.weight
        own = (torch.as_tensor(p, dtype=u.dtype, device=u.device).detach() for p in (threshold, low, high))
        parts.append([p.expand(shape).reshape(-1) for p in own])
    return (
        torch.cat([p[0] for p in parts]),
        torch.cat([p[1] for p in parts]),
        torch.cat([p[2] for p in parts]),
    )


def shrink(v: Tensor, threshold: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """v softened by the threshold, then clipped."""
    return (v - torch.minimum(torch.maximum(v, -threshold), threshold)).maximum(low).minimum(high)


def sweep(matrix: Tensor, bounds: Bounds, u: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """One sweep over the coordinates of every row: the new u and slope = ∇f there, (B, D) each.

    Within a block of coordinates each sees the moves of those before it; the others see the block's at its
    end.
    """
    u, slope = u.clone(), slope.clone()
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    inverse = torch.where(diagonal > 0, 1 / diagonal, 0.0).expand_as(u)
    for start in range(0, u.shape[1], BLOCK):
        block = slice(start, start + BLOCK)
        within, before, g = matrix[..., block, block], u[:, block], slope[:, block].clone()
        x = before.clone()
        for i in range(x.shape[1]):
            t = inverse[:, start + i]
            threshold, low, high = (bound[start + i] for bound in bounds)
            move = shrink(x[:, i] - t * g[:, i], t * threshold, low, high) - x[:, i]
            x[:, i] += move
            g += move.unsqueeze(1) * within[..., i, :]
        slope += _product(x - before, matrix[..., block, :])
        u[:, block] = x
    return u, slope


def _product(v: Tensor, matrix: Tensor) -> Tensor:
    """vᵀA of each row, for A shared, (D, D), or of its own, (B, D, D)."""
    return v @ matrix if matrix.ndim == 2 else torch.bmm(v.unsqueeze(1), matrix).squeeze(1)
