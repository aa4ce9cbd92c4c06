"""Newton's method: each row solves for the minimum of its own quadratic model, then searches along the way there.

    (∇²E(u) made positive definite) d = -∇E(u),        u ← u + t d

`Newton` forms the Hessians and factorizes them. Where one is not positive definite it takes the model apart into
eigenvectors, ∇²E = Σ λ_i v_i v_iᵀ, and uses |λ_i|: downhill where the curvature is negative, instead of up to the
saddle. `TruncatedNewton` knows the Hessian by its products alone and solves by conjugate gradients, no more exactly
than the gradient is small; it stops at a direction of negative curvature, and follows it.

Near a minimum with positive curvature the error squares at each step (for the truncated method: shrinks faster than
by any factor).

Reference: Nocedal & Wright (2006), "Numerical Optimization", sects. 3.4 and 7.1, algorithm 7.1; Dauphin et al.
(2014), "Identifying and attacking the saddle point problem in high-dimensional non-convex optimization", for |λ|.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from ebm.infer.method import Method, State, count, stop_where, with_gradient
from ebm.infer.wolfe import Wolfe
from ebm.problem import Problem
from ebm.rows import dot, expand, norm
from ebm.solution import Stop

PATIENCE = 10  # steps without a lower energy: all that is left is rounding
NUDGE = 1e-3  # share of a step taken along the most negative curvature even where the gradient has no part in it


class _SecondOrder(Method):
    """A direction from second derivatives, then a strong-Wolfe search of each row's own."""

    differentiable = False

    def __init__(self, wolfe: Wolfe | None):
        self.wolfe = Wolfe() if wolfe is None else wolfe

    @abstractmethod
    def direction(self, gradient: Tensor, product: Callable[[Tensor], Tensor]) -> Tensor:
        """A direction of descent, like the gradient; `product` is v -> ∇²E v."""

    def init(self, problem: Problem, u: Tensor) -> State:
        value, gradient = problem.value_and_grad(u)
        return with_gradient(u, value, gradient, idle=torch.zeros_like(value))

    def step(self, problem: Problem, state: State) -> State:
        value, gradient, product = problem.hessian_product(state["u"])
        direction = self.direction(gradient, product)
        u, new_value, gradient, failed = self.wolfe.search(problem, state["u"], value, gradient, direction)
        idle = (state["idle"] + (new_value >= value)).masked_fill(failed, torch.inf)
        return with_gradient(u, new_value, gradient, idle=idle)

    def verdict(self, state: State, tol: float) -> Tensor:
        stalled = stop_where(state["idle"] > PATIENCE, Stop.STALLED)
        return stalled.masked_fill(state["gradient_norm"] <= tol, int(Stop.GRADIENT))


class Newton(_SecondOrder):
    """Newton's method with the whole Hessian of every row: D Hessian products and one factorization a step.

    d = -|∇²E|⁻¹ ∇E, |·| on the eigenvalues. For few dimensions and sharp answers: from near the minimum, five steps
    reach the precision of the dtype. Like every test of the gradient, `tol` cannot tell a saddle from a minimum; the
    steps can, and leave it.

    Args:
        limit: dimensions up to which a (B, D, D) Hessian may be formed; above, use `TruncatedNewton`.
        wolfe: the line search; `Wolfe()` if None.

    Raises:
        ValueError: from a solve in more than `limit` dimensions.

    Example:
        >>> from ebm import minimize
        >>> from ebm.targets import Himmelblau
        >>> start = torch.tensor([[2.5, 2.5], [-3.0, 3.0]], dtype=torch.float64)
        >>> minimize(Himmelblau().double(), start, Newton(), tol=1e-12).value.round(decimals=6)
        tensor([[ 3.0000,  2.0000],
                [-2.8051,  3.1313]], dtype=torch.float64)
    """

    def __init__(self, limit: int = 256, wolfe: Wolfe | None = None):
        super().__init__(wolfe)
        self.limit = count("limit", limit)

    def init(self, problem: Problem, u: Tensor) -> State:
        if (dimensions := u[0].numel()) > self.limit:
            raise ValueError(
                f"Newton would form a Hessian of {dimensions} x {dimensions} a row, and its limit is {self.limit} "
                f"dimensions; use TruncatedNewton(), LBFGS(), or Newton(limit={dimensions})."
            )
        return super().init(problem, u)

    def direction(self, gradient: Tensor, product: Callable[[Tensor], Tensor]) -> Tensor:
        g = gradient.flatten(1)
        hessian = dense(product, gradient)
        known = torch.isfinite(hessian).flatten(1).all(1)
        if not bool(known.all()):  # the rows where it isn't: steepest descent
            hessian = torch.where(known[:, None, None], hessian, torch.eye(g.shape[1], dtype=g.dtype, device=g.device))
        factor, indefinite = torch.linalg.cholesky_ex(hessian)
        d = -torch.cholesky_solve(g.unsqueeze(2), factor).squeeze(2)
        rows = ((indefinite > 0) | ~torch.isfinite(d).all(1)).nonzero().flatten()
        if len(rows):
            d[rows] = saddle_free(hessian[rows], g[rows])
        return d.view_as(gradient)


class TruncatedNewton(_SecondOrder):
    """Newton's method by conjugate gradients on Hessian products, at a memory of a few times u.

    Conjugate gradients on ∇²E d = -∇E stop at |∇²E d + ∇E| <= min(½, √|∇E|) |∇E|. Where one meets a direction p with
    pᵀ∇²E p <= 0, it adds the step that the opposite curvature would ask for, |α| p, and stops: a direction of descent
    in any case. Rows that are done wait for the others.

    Args:
        inner: products a step at most.
        wolfe: the line search; `Wolfe()` if None.

    Example:
        >>> from ebm import minimize
        >>> from ebm.targets import Rosenbrock
        >>> start = torch.zeros(1, 500, dtype=torch.float64)
        >>> minimize(Rosenbrock(500).double(), start, TruncatedNewton(), tol=1e-9).reasons
        ['gradient']
    """

    def __init__(self, inner: int = 100, wolfe: Wolfe | None = None):
        super().__init__(wolfe)
        self.inner = count("inner", inner)

    def direction(self, gradient: Tensor, product: Callable[[Tensor], Tensor]) -> Tensor:
        d, r, size = torch.zeros_like(gradient), gradient, norm(gradient)
        p, rr = -r, dot(r, r)
        goal = (size.sqrt().clamp(max=0.5) * size) ** 2
        going = rr > goal
        eps = torch.finfo(d.dtype).eps
        for _ in range(min(self.inner, 2 * gradient[0].numel())):
            image = product(p)
            bend = dot(p, image)
            convex = bend > eps * norm(p) * norm(image)
            length = torch.where(bend == 0, 1.0, rr / bend.abs())
            length = torch.where(going & torch.isfinite(length), length, 0.0)
            d = torch.addcmul(d, expand(length, p), p)
            r = torch.addcmul(r, expand(torch.where(convex, length, 0.0), p), image.nan_to_num(0.0))
            new = dot(r, r)
            going = going & convex & (new > goal)
            if not bool(going.any()):
                break
            p, rr = torch.where(expand(going, p), expand(new / rr, p) * p - r, p), new
        return d


def dense(product: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
    """The matrices, (B, D, D), of a symmetric linear map on tensors (B, *shape), from its products."""
    batch, dimensions = len(like), like[0].numel()
    columns = []
    for i in range(dimensions):
        unit = like.new_zeros(batch, dimensions)
        unit[:, i] = 1.0
        columns.append(product(unit.view_as(like)).flatten(1))
    matrix = torch.stack(columns, 2)
    return 0.5 * (matrix + matrix.mT)


def saddle_free(hessian: Tensor, g: Tensor) -> Tensor:
    """-|H|⁻¹ g for each row, (R, D): eigenvalues by their size, at least √ε of the largest.

    Where the lowest one is negative, its eigenvector gets at least the share `NUDGE` of the step: from a point where
    the gradient has no part along it, the path would end in the saddle.
    """
    values, vectors = torch.linalg.eigh(hessian)
    floor = torch.finfo(g.dtype).eps ** 0.5 * values.abs().amax(1, keepdim=True)
    slopes = (vectors.mT @ g.unsqueeze(2)).squeeze(2)
    steps = -slopes / values.abs().maximum(floor).clamp(min=torch.finfo(g.dtype).tiny)
    least = NUDGE * norm(steps)
    lowest = torch.where(slopes[:, 0] > 0, -1.0, 1.0) * steps[:, 0].abs().maximum(least)
    steps[:, 0] = torch.where(values[:, 0] < -floor[:, 0], lowest, steps[:, 0])
    return (vectors @ steps.unsqueeze(2)).squeeze(2)
