"""Newton's method: each row goes to the minimum of its own quadratic model, and searches along the way there.

    A d = -∇E(u),   A ≈ ∇²E(u) positive definite,        u ← u + t d

`Newton` forms the Hessians and factorizes them. Where one is not positive definite it takes it apart into
eigenvectors, ∇²E = Σ λ_i v_i v_iᵀ, and A = Σ |λ_i| v_i v_iᵀ: down where the curvature is negative, in place
of up to the saddle. `TruncatedNewton` knows the Hessian by its products alone and solves by conjugate
gradients, no more exactly than the gradient is small; at a direction of negative curvature it stops, and
follows it. Near a minimum of positive curvature the error squares at each step (truncated: superlinear).

Reference: Nocedal & Wright (2006), "Numerical Optimization", sects. 3.4 and 7.1; Dauphin et al. (2014),
"Identifying and attacking the saddle point problem in high-dimensional non-convex optimization", for |λ|.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from ebm.infer.method import Method, State, count, stop_where, with_gradient
from ebm.infer.wolfe import Wolfe, falls
from ebm.problem import Problem
from ebm.rows import dot, expand, flat, norm
from ebm.solution import Stop

PATIENCE = 10  # steps without a decrease beyond rounding, after which the slopes are rounding too
NUDGE = 1e-3  # least share of a step that goes along the most negative curvature

Product = Callable[[Tensor], Tensor]  # v -> ∇²E(u) v


class SecondOrder(Method):
    """A direction of descent from second derivatives, then a strong-Wolfe search of each row's own."""

    differentiable = False  # which trial a search accepts has no derivative

    def __init__(self, wolfe: Wolfe | None = None):
        self.wolfe = Wolfe() if wolfe is None else wolfe

    @abstractmethod
    def direction(self, gradient: Tensor, product: Product) -> Tensor:
        """Where to go, like the gradient."""

    def init(self, problem: Problem, u: Tensor) -> State:
        value, gradient = problem.value_and_grad(u)
        return with_gradient(u, value, gradient, idle=torch.zeros_like(value))

    def step(self, problem: Problem, state: State) -> State:
        value, gradient, product = problem.hessian_product(state["u"])
        direction = self.direction(gradient, product)
        u, new_value, gradient, failed = self.wolfe.search(problem, state["u"], value, gradient, direction)
        if bool(failed.any()):  # along a direction that rounding spoiled; -∇E is the last one to try
            rows = failed.nonzero().flatten()
            steepest = -gradient[rows] / expand(norm(gradient[rows]).clamp(min=1.0), gradient)
            found = self.wolfe.search(problem.rows(rows), u[rows], new_value[rows], gradient[rows], steepest)
            u[rows], new_value[rows], gradient[rows], failed[rows] = found
        idle = (state["idle"] + 1).masked_fill_(falls(new_value, value), 0.0).masked_fill_(failed, torch.inf)
        return with_gradient(u, new_value, gradient, idle=idle)

    def verdict(self, state: State, tol: float) -> Tensor:
        stalled = stop_where(state["idle"] > PATIENCE, Stop.STALLED)
        return stalled.masked_fill(state["gradient_norm"] <= tol, int(Stop.GRADIENT))


class Newton(SecondOrder):
    """Newton's method with the whole Hessian of every row: D Hessian products and one factorization a step.

    d = -|∇²E|⁻¹ ∇E, |·| acting on the eigenvalues. For few dimensions and sharp answers: once near, about
    five steps reach the precision of the dtype. Its steps leave a saddle, but `tol` looks at the gradient
    alone, so a row that begins exactly on one stays there.

    Args:
        limit: dimensions up to which it forms Hessians, (B, D, D); above, use `TruncatedNewton`.
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
        if (dimensions := u[:1].numel()) > self.limit:
            raise ValueError(
                f"Newton forms a Hessian of {dimensions} x {dimensions} numbers a row, and its limit is "
                f"{self.limit} dimensions; use TruncatedNewton(), LBFGS() or Newton(limit={dimensions})."
            )
        return super().init(problem, u)

    def direction(self, gradient: Tensor, product: Product) -> Tensor:
        g = flat(gradient)
        hessian = dense(product, gradient)
        known = torch.isfinite(hessian).flatten(1).all(1)
        eye = torch.eye(g.shape[1], dtype=g.dtype, device=g.device)
        hessian = torch.where(expand(known, hessian), hessian, eye)  # not finite: steepest descent
        factor, indefinite = torch.linalg.cholesky_ex(hessian)
        d = -torch.cholesky_solve(g.unsqueeze(2), factor).squeeze(2)
        rows = ((indefinite > 0) | ~torch.isfinite(d).all(1)).nonzero().flatten()
        if len(rows):
            d[rows] = saddle_free(hessian[rows], g[rows])
        return d.view_as(gradient)


class TruncatedNewton(SecondOrder):
    """Newton's method by conjugate gradients on Hessian products, in the memory of a few times u.

    They stop at |∇²E d + ∇E| <= min(½, √|∇E|) |∇E|, row by row. Where a conjugate direction p has no positive
    curvature, d gets α p, with the α that the opposite curvature would ask for, and is done. In any case d
    descends: ⟨p, ∇E⟩ < 0 for each p. Nocedal & Wright (2006), algorithm 7.1, which leaves that last α p out.

    Args:
        inner: Hessian products a step at most.
        wolfe: the line search; `Wolfe()` if None.

    Example:
        >>> from ebm import energy, minimize
        >>> @energy
        ... def chain(y):
        ...     return ((y[:, 1:] - y[:, :-1]) ** 2).sum(1) + (y - 1).cosh().sum(1)
        >>> start = torch.zeros(1, 10_000, dtype=torch.float64)
        >>> solution = minimize(chain, start, TruncatedNewton(), tol=1e-9)
        >>> solution.reasons, float((solution.value - 1).abs().max()) < 1e-9
        (['gradient'], True)
    """

    def __init__(self, inner: int = 100, wolfe: Wolfe | None = None):
        super().__init__(wolfe)
        self.inner = count("inner", inner)

    def direction(self, gradient: Tensor, product: Product) -> Tensor:
        d, r, p = torch.zeros_like(gradient), gradient, -gradient
        rr, size = dot(r, r), norm(gradient)
        goal = (size.sqrt().clamp(max=0.5) * size) ** 2
        going = rr > goal  # False for a row of NaN
        for _ in range(min(self.inner, 2 * gradient[:1].numel())):
            image = product(p)
            bend = dot(p, image)
            convex = bend > torch.finfo(d.dtype).eps * norm(p) * norm(image)
            length = torch.where(bend == 0, 1.0, rr / bend.abs())
            length = torch.where(going & torch.isfinite(length), length, 0.0)
            d = torch.addcmul(d, expand(length, p), p)
            going = going & convex
            r = torch.where(expand(going, r), torch.addcmul(r, expand(length, p), image), r)
            new = dot(r, r)
            going = going & (new > goal)
            if not bool(going.any()):
                break
            p = torch.where(expand(going, p), expand(new / rr, p) * p - r, p)
            rr = new
        return d


def dense(product: Product, like: Tensor) -> Tensor:
    """The symmetric matrices, (B, D, D), of a linear map of rows shaped like `like`, from its products."""
    columns = []
    for i in range(like[:1].numel()):
        unit = torch.zeros_like(flat(like))
        unit[:, i] = 1.0
        columns.append(flat(product(unit.view_as(like))))
    matrix = torch.stack(columns, 2)
    return 0.5 * (matrix + matrix.mT)


def saddle_free(hessian: Tensor, g: Tensor) -> Tensor:
    """-|H|⁻¹ g of each row, (R, D), the eigenvalues' sizes being at least √ε of the largest; -g where H = 0.

    Where the lowest eigenvalue is negative its eigenvector gets a share of at least `NUDGE`, even if the
    gradient has no part along it: the path would end in the saddle.
    """
    values, vectors = torch.linalg.eigh(hessian)
    sizes = values.abs()
    largest = sizes.amax(1, keepdim=True)
    floor = torch.where(largest > 0, torch.finfo(g.dtype).eps ** 0.5 * largest, 1.0)
    slopes = (vectors.mT @ g.unsqueeze(2)).squeeze(2)
    steps = -slopes / sizes.maximum(floor)
    down = torch.where(slopes[:, 0] > 0, -1.0, 1.0) * steps[:, 0].abs().maximum(NUDGE * norm(steps))
    steps[:, 0] = torch.where(values[:, 0] < -floor[:, 0], down, steps[:, 0])
    return (vectors @ steps.unsqueeze(2)).squeeze(2)
