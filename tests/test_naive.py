"""Four failures that the design is built against: the naive way beside ours, on the same numbers.

Each test first shows that the obvious implementation gives a wrong answer without a word; then that ours
gives the right one, or refuses and says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from ebm import Energy, energy, min_over, minimize
from ebm.infer import GradientDescent
from ebm.infer.method import Method
from ebm.infer.starts import Zeros
from ebm.testing import EnergyContractError, check_binding


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# --- a captured tensor gone stale -----------------------------------------------------------------


def naive_descent(e: Callable[[Tensor], Tensor], y: Tensor, tol: float = 1e-8) -> Tensor:
    """Gradient descent that drops the rows that are done, for an energy that is a closure."""
    live, out = torch.arange(len(y)), y.clone()
    while len(live):
        v = y.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(e(v).sum(), v)
        y = v.detach() - 0.2 * gradient
        going = gradient.flatten(1).norm(dim=1) > tol
        out[live] = y
        y, live = y[going], live[going]
    return out


def test_a_captured_tensor_goes_stale_when_rows_are_dropped() -> None:
    target = torch.tensor([[1.0], [1.0], [5.0]])
    start = torch.tensor([[1.0], [1.0], [0.0]])  # two rows are at their answers, and are dropped at once

    wrong = naive_descent(lambda y: ((y - target) ** 2).sum(1), start)
    # the row that is left went to the mean of all three targets, without a word
    assert (wrong[2] - 5.0).abs() > 1

    captured = energy(lambda y: ((y - target) ** 2).sum(1))
    with pytest.raises(ValueError, match=r"a captured tensor does not follow its rows.*pass it in `given`"):
        minimize(captured, start, GradientDescent(0.2), tol=1e-8)
    with pytest.raises(EnergyContractError, match="Make every row-wise tensor a variable"):
        check_binding(captured, {"y": start + torch.arange(3.0).view(3, 1)})

    spring = energy(lambda y, x: ((y - x) ** 2).sum(1))
    right = minimize(spring, {"y": start}, GradientDescent(0.2), given={"x": target}, tol=1e-8)
    assert torch.allclose(right.value["y"], target, atol=1e-8)


# --- two proxes -----------------------------------------------------------------------------------


class Absolute(Energy):
    """|z|, whose prox moves towards 0 by the step."""

    separable = True

    def forward(self, z: Tensor) -> Tensor:
        return z.abs().sum(1)

    def prox(self, v: Tensor, step: Tensor) -> Tensor:
        return v.sign() * (v.abs() - step.view(-1, 1)).clamp(min=0)


class Between(Energy):
    """0 for 1 <= z <= 2, else +inf."""

    indicator = True
    separable = True

    def forward(self, z: Tensor) -> Tensor:
        return torch.where(((z >= 1) & (z <= 2)).all(1), 0.0, torch.inf)

    def prox(self, v: Tensor, step: Tensor) -> Tensor:
        return v.clamp(1, 2)


class Both(Energy):
    """The joint term, |z| within [1, 2], with the prox of the sum."""

    def forward(self, z: Tensor) -> Tensor:
        return Absolute()(z=z) + Between()(z=z)

    def prox(self, v: Tensor, step: Tensor) -> Tensor:
        return Absolute().prox(v, step).clamp(1, 2)


class ProxStep(Method):
    """z ← prox(z - t ∇smooth): proximal gradient in four lines."""

    proximal = True

    def init(self, problem, u):
        value, gradient = problem.value_and_grad(u, smooth=True)
        return {"u": u, "value": value + problem.prox_value(u), "gradient": gradient}

    def step(self, problem, state):
        return self.init(
            problem, problem.prox(state["u"] - 0.5 * state["gradient"], torch.full((len(state["u"]),), 0.5))
        )

    def verdict(self, state, tol):
        return torch.zeros(len(state["u"]), dtype=torch.uint8)


def test_the_order_of_two_proxes_changes_the_answer() -> None:
    data = torch.tensor([[1.6], [4.0]])
    quadratic = energy(lambda z, x: 0.5 * ((z - x) ** 2).sum(1))
    grid = torch.linspace(-3, 5, 8001).view(-1, 1)
    objective = [quadratic(z=grid, x=x.expand(8001, 1)) + Both()(z=grid) for x in data]
    best = torch.stack([grid[o.argmin()] for o in objective])  # by brute force

    def descend(*proxes: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        z, step = torch.ones(2, 1), torch.full((2,), 0.5)
        for _ in range(200):
            z = z - 0.5 * (z - data)
            for prox in proxes:
                z = prox(z, step)
        return z

    first, second = (Absolute().prox, Between().prox), (Between().prox, Absolute().prox)
    assert (descend(*first) - descend(*second)).abs().max() > 0.1  # naive: the order decides
    assert (descend(*second) - best).abs().max() > 0.1

    start = {"z": torch.ones(2, 1)}
    with pytest.raises(
        ValueError, match=r"'Absolute' and 'Between' both have a prox on 'z'.*write one joint term"
    ):
        minimize(quadratic + Absolute() + Between(), start, ProxStep(), given={"x": data}, max_steps=200)
    with pytest.raises(ValueError, match="both have a prox"):  # through nesting and weights as well
        nested = 2.0 * (quadratic + 0.5 * Absolute()) + (Between() + 0.1 * quadratic)
        minimize(nested, start, ProxStep(), given={"x": data}, max_steps=200)
    joint = minimize(quadratic + Both(), start, ProxStep(), given={"x": data}, max_steps=200)
    assert (joint.value["z"] - best).abs().max() < 1e-3


def test_minus_a_prox_term_is_refused_and_a_given_one_is_a_constant() -> None:
    start = {"z": torch.ones(2, 1)}
    quadratic = energy(lambda z, x: 0.5 * ((z - x) ** 2).sum(1))
    with pytest.raises(ValueError, match=r"negative weight -2; minus a prox term is not a prox term"):
        minimize(quadratic - 2 * Absolute(), start, ProxStep(), given={"x": torch.ones(2, 1)})
    # |x| is given: no prox on z, so one more may stand beside it
    constant = Absolute().compose(z=(torch.abs, "x"))
    solution = minimize(
        quadratic + constant + Both(), start, ProxStep(), given={"x": torch.full((2, 1), 4.0)}, max_steps=200
    )
    assert torch.allclose(solution.value["z"], torch.full((2, 1), 2.0))
    assert torch.allclose(solution.energy, torch.tensor(2.0 + 4.0 + 2.0))


# --- a row moved by its neighbor ------------------------------------------------------------------


def rosen(y: Tensor) -> Tensor:
    return 100 * (y[:, 1] - y[:, 0] ** 2) ** 2 + (1 - y[:, 0]) ** 2


def by_torch(y: Tensor) -> Tensor:
    """The naive batch: one optimizer over the sum, one line search, one stopping test for all rows."""
    y = y.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([y], max_iter=15, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = rosen(y).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return y.detach()


def mean_stop(y: Tensor, tol: float = 1e-2) -> Tensor:
    """The naive stop: all rows are done once the mean of their gradients is small."""
    for _ in range(10_000):
        gradient = 2 * y
        if gradient.norm(dim=1).mean() < tol:
            break
        y = y - 0.1 * gradient
    return y


def test_a_row_is_not_moved_by_its_neighbor() -> None:
    start = torch.tensor([[-1.2, 1.0], [0.5, 0.5]])
    other = torch.tensor([[-1.2, 1.0], [3.0, -2.0]])
    assert (by_torch(start)[0] - by_torch(other)[0]).abs().max() > 1e-3  # naive: the neighbor decides

    valley = energy(rosen)
    ours = [minimize(valley, y, GradientDescent(1e-3), max_steps=300) for y in (start, other)]
    assert torch.equal(ours[0].value[0], ours[1].value[0])
    assert ours[0].steps[0] == ours[1].steps[0]


def test_a_row_is_not_declared_done_because_the_mean_is() -> None:
    start = torch.cat([torch.full((1, 2), 1e-2), torch.zeros(99, 2)])
    assert (2 * mean_stop(start)[0]).norm() > 1e-2  # naive: ninety-nine rows that are done outvote it
    bowl = energy(lambda y: (y**2).sum(1))
    solution = minimize(bowl, start, GradientDescent(0.1), tol=1e-2)
    assert (2 * solution.value[0]).norm() <= 1e-2
    assert solution.steps[0] > 0 and (solution.steps[1:] == 0).all()


# --- a free energy's Hessian ----------------------------------------------------------------------


class Spring(Energy):
    """½(y - wz)² + ½z², so z* = wy/(1 + w²) and F(y) = ½ y²/(1 + w²)."""

    def __init__(self, w: float = 1.5):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w))

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        return (0.5 * (y - self.w * z) ** 2 + 0.5 * z**2).sum(1)


def score_matching(free: Callable[[Tensor], Tensor], y: Tensor) -> Tensor:
    """Σ ½F'(y)² - F''(y), by differentiating F twice (Hyvärinen 2005)."""
    y = y.detach().requires_grad_()
    (score,) = torch.autograd.grad(free(y).sum(), y, create_graph=True)
    (curvature,) = torch.autograd.grad(score.sum(), y, create_graph=True)
    return (0.5 * score**2 - curvature).sum()


def naive_free_energy(spring: Spring) -> Callable[[Tensor], Tensor]:
    """E(y, z*) with z* found and detached, as in most code."""

    def free(y: Tensor) -> Tensor:
        z = (spring.w * y / (1 + spring.w**2)).detach()
        return spring(y=y, z=z)

    return free


def test_the_hessian_of_a_free_energy_lacks_no_term() -> None:
    spring, y = Spring(), randn(6, 1)
    curved = 1 + spring.w.detach() ** 2
    loss = (0.5 * (y / curved) ** 2 - 1 / curved).sum()
    slope = -2 * spring.w.detach() / curved**2 * (y**2 / curved - 1).sum()  # d/dw

    naive = naive_free_energy(spring)
    # its value is right, and so is its score ...
    assert torch.allclose(naive(y), 0.5 * y[:, 0] ** 2 / curved)
    (wrong,) = torch.autograd.grad(score_matching(naive, y), spring.w)
    assert (score_matching(naive, y) - loss).abs() > 1  # ... but not its Hessian: it finds 1, not 1/(1 + w²)
    assert (wrong - slope).abs() > 0.5

    settings = {"start": Zeros(1), "tol": 1e-12}
    quiet = min_over(spring, "z", GradientDescent(0.3), **settings)
    with pytest.raises(
        RuntimeError, match=r"lack the term -E_yz E_zz⁻¹ E_zy. Use min_over\(..., differentiate='implicit'"
    ):
        score_matching(lambda v: quiet(y=v), y).backward()
    with pytest.raises(RuntimeError, match="silently lack the term"):  # inside a sum, and composed, too
        shifted = (0.5 * quiet + energy(lambda y: (y**2).sum(1))).compose(y=(torch.sin, "x"))
        score_matching(lambda v: shifted(x=v), y).backward()
    for how in ("implicit", "unroll"):
        free = min_over(spring, "z", GradientDescent(0.3), differentiate=how, **settings)
        came = score_matching(lambda v, free=free: free(y=v), y)
        (right,) = torch.autograd.grad(came, spring.w)
        assert (came - loss).abs() < 1e-8 and (right - slope).abs() < 1e-6


class Stiff(Spring):
    """½(y - wz)² + ½z² + ¼z⁴: F' = y - wz*, F'' = 1 - w²/(1 + w² + 3z*²), with wy = (1 + w²)z* + z*³."""

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        return super().forward(y, z) + 0.25 * (z**4).sum(1)

    @staticmethod
    def answer(y: Tensor, w: float) -> Tensor:
        z = torch.zeros_like(y)
        for _ in range(60):
            z = z - ((1 + w**2) * z + z**3 - w * y) / (1 + w**2 + 3 * z**2)
        return z

    def loss(self, y: Tensor, w: float) -> float:
        z = self.answer(y, w)
        return float((0.5 * (y - w * z) ** 2 - 1 + w**2 / (1 + w**2 + 3 * z**2)).sum())


def test_the_hessian_of_a_free_energy_whose_minimizer_has_no_formula() -> None:
    stiff, y, h = Stiff(1.5), 2 * randn(6, 1), 1e-5
    loss, slope = stiff.loss(y, 1.5), (stiff.loss(y, 1.5 + h) - stiff.loss(y, 1.5 - h)) / (2 * h)

    naive = score_matching(lambda v: stiff(y=v, z=Stiff.answer(y, 1.5)), y)
    (wrong,) = torch.autograd.grad(naive, stiff.w)
    assert abs(naive.item() - loss) > 1 and abs(wrong.item() - slope) > 1

    for how in ("implicit", "unroll"):
        free = min_over(stiff, "z", GradientDescent(0.1), start=Zeros(1), tol=1e-13, differentiate=how)
        ours = score_matching(lambda v, free=free: free(y=v), y)
        (right,) = torch.autograd.grad(ours, stiff.w)
        assert abs(ours.item() - loss) < 1e-8 and abs(right.item() - slope) < 1e-6
