"""Bad input: each mistake is an error that says what was expected, what came and what to do, or a marked row.

The message is read: a test here fails if the words that teach are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ebm import Choices, Energy, energy, marginal_over, min_over, minimize
from ebm.infer import CEM, Armijo, Enumerate, GradientDescent, Momentum, Nesterov
from ebm.infer.starts import Data, Network, Normal, Zeros
from ebm.nodes import Finite
from ebm.regularized import SparseAutoEncoder
from ebm.regularized.sparse_activations import BatchTopK
from ebm.solution import Stop
from ebm.targets import Gaussian

GD = GradientDescent(0.1)


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@energy
def spring(x, y, stiffness=1.0):
    return 0.5 * stiffness * ((x - y) ** 2).flatten(1).sum(1)


@energy
def bowl(y):
    return (y**2).flatten(1).sum(1)


def zeros(*shape: int, **kind: Any) -> Tensor:
    return torch.zeros(*shape, **kind)


class Layered(Energy):
    """An energy with a module inside."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.layer = module

    def forward(self, y: Tensor) -> Tensor:
        return (self.layer(y) ** 2).sum(1)


def solve_spring(y: Any = None, x: Any = None, method: Any = GD, **settings: Any) -> Any:
    y = zeros(3, 2) if y is None else y
    return minimize(spring, {"y": y}, method, given={"x": zeros(3, 2) if x is None else x}, **settings)


def of(function: Callable[..., Any]) -> Callable[[], Any]:
    """Minimize a plain function of y."""
    return lambda: minimize(energy(function), zeros(3, 2), GD)


MISTAKES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    # --- names
    "a missing variable": (
        lambda: spring(y=zeros(3, 2)),
        TypeError,
        r"spring is an energy of x, y \(options: stiffness\); got y, so 'x' is missing. Pass a value, or "
        r"minimize or "
        r"marginalize it first: min_over\(E, 'x', \.\.\.\)",
    ),
    "a missing variable in a solve": (
        lambda: minimize(spring, {"y": zeros(3, 2)}, GD),
        TypeError,
        r"'x' is neither in `over` nor in `given`. Pass a value for it, or minimize or marginalize it first",
    ),
    "an unknown variable": (
        lambda: spring(x=zeros(3, 2), y=zeros(3, 2), z=zeros(3, 2)),
        TypeError,
        r"spring is an energy of x, y .*; it has no 'z'",
    ),
    "an unknown free variable": (
        lambda: minimize(spring, {"z": zeros(3, 2)}, GD),
        TypeError,
        r"it has no 'z'",
    ),
    "an unknown given variable": (
        lambda: minimize(bowl, zeros(3, 2), GD, given={"x": zeros(3, 2)}),
        TypeError,
        r"bowl is an energy of y; it has no 'x'",
    ),
    "a variable both free and given": (
        lambda: minimize(spring, {"y": zeros(3, 2), "x": zeros(3, 2)}, GD, given={"x": zeros(3, 2)}),
        TypeError,
        r"'x' is both in `over` and in `given`; a variable is free or given",
    ),
    "a bare start where two variables are free": (
        lambda: minimize(spring, zeros(3, 2), GD),
        TypeError,
        r"needs an energy with one free variable; .*Write over=\{name: value\}",
    ),
    "no free variable": (
        lambda: minimize(bowl, {}, GD),
        TypeError,
        r"names no variable, so there is nothing to find",
    ),
    "a value by position": (
        lambda: bowl(zeros(3, 2)),
        TypeError,
        r"called by keyword: bowl\(y=\.\.\.\), not by",
    ),
    "given what it does not have": (lambda: bowl.given(z=zeros(3, 2)), TypeError, r"it has no 'z'"),
    "composed of what it does not have": (
        lambda: bowl.compose(z=(torch.neg, "y")),
        TypeError,
        r"it has no 'z'",
    ),
    "composed without a variable": (
        lambda: bowl.compose(y=torch.neg),
        TypeError,
        r"compose expects y=\(function, 'variable', \.\.\.\)",
    ),
    "min_over of what it does not have": (
        lambda: min_over(bowl, "z", GD, start=Zeros(2)),
        TypeError,
        r"bowl is an energy of y; it has no 'z'",
    ),
    "marginal_over of what it does not have": (
        lambda: marginal_over(bowl, "z", 1.0, Finite(zeros(3, 2))),
        TypeError,
        r"bowl is an energy of y; it has no 'z'",
    ),
    # --- shapes
    "batches that differ": (
        lambda: spring(x=zeros(2, 2), y=zeros(3, 2)),
        ValueError,
        r"'y' has 3 rows where the other variables have 2; every variable needs the same batch dimension "
        r"first",
    ),
    "one row for all": (
        lambda: spring(x=zeros(1, 2), y=zeros(3, 2)),
        ValueError,
        r"'y' has 3 rows where the other variables have 1; .*\(expand or repeat_interleave the smaller one\)",
    ),
    "batches that differ in a solve": (
        lambda: solve_spring(x=zeros(2, 2)),
        ValueError,
        r"'x' has 2 rows where the other variables have 3; every variable needs the same batch dimension "
        r"first "
        r"\(expand or repeat_interleave the smaller one\)|'y' has 3 rows where the other variables have 2",
    ),
    "a value without a batch": (
        lambda: solve_spring(x=torch.tensor(1.0)),
        ValueError,
        r"'x' is a tensor without a batch dimension; expected B rows first.*Use x.expand\(B\)",
    ),
    "no rows": (
        lambda: minimize(bowl, zeros(0, 2), GD),
        ValueError,
        r"empty batch: 'y' has 0 rows, so there is nothing to solve",
    ),
    "an energy that returns a scalar": (
        of(lambda y: (y**2).sum()),
        ValueError,
        r"must return one energy a row, shape \(3,\); it returned \(\)\. Sum over every dimension but "
        r"the first, "
        r"e\.g\. e\.flatten\(1\)\.sum\(1\)",
    ),
    "an energy that returns (B, 1)": (
        of(lambda y: (y**2).sum(1, keepdim=True)),
        ValueError,
        r"must return one energy a row, shape \(3,\); it returned \(3, 1\)",
    ),
    "an energy that returns (B, D)": (of(lambda y: y**2), ValueError, r"shape \(3,\); it returned \(3, 2\)"),
    "an energy that returns no tensor": (of(lambda y: 1.0), ValueError, r"it returned float"),
    "a weight for every row": (
        lambda: torch.ones(3) * bowl,
        ValueError,
        r"a weight is one number; got shape \(3,\)\. A weight that differs by row is row data",
    ),
    "a step size for other rows": (
        lambda: minimize(bowl, torch.ones(3, 2), GradientDescent(torch.ones(2))),
        ValueError,
        r"a setting per row has shape \(3,\), one number a row; got \(2,\)",
    ),
    # --- dtypes and devices
    "an integer start": (
        lambda: minimize(bowl, zeros(3, 2, dtype=torch.int64), GD),
        TypeError,
        r"a free variable is a floating-point tensor; 'y' has dtype torch\.int64\. Convert it with "
        r"\.float\(\), or "
        r"search over whole numbers with Choices",
    ),
    "dtypes that differ": (
        lambda: solve_spring(x=zeros(3, 2, dtype=torch.float32)),
        TypeError,
        r"'y' is torch\.float64, 'x' is torch\.float32; convert one",
    ),
    "a parameter of another dtype": (
        lambda: minimize(Layered(nn.Linear(2, 2).float()), zeros(3, 2), GD),
        TypeError,
        r"'y' is torch\.float64, 'parameter layer\.weight' is torch\.float32; convert one "
        r".*energy\.double\(\)",
    ),
    "a buffer of another dtype": (
        lambda: minimize(Gaussian(zeros(2)), zeros(3, 2, dtype=torch.float32), GD),
        (TypeError, RuntimeError),
        r"the free variables are torch\.float32 and the energy came out as torch\.float64|to have the "
        r"same dtype",
    ),
    "a constant of another dtype": (
        lambda: minimize(
            energy(lambda y: ((y - torch.ones(2)) ** 2).sum(1)), zeros(3, 2, dtype=torch.float32), GD
        ),
        TypeError,
        r"the free variables are torch\.float32 and the energy came out as torch\.float64: a buffer or "
        r"constant of another "
        r"dtype\. Convert one",
    ),
    "devices that differ": (
        lambda: solve_spring(x=zeros(3, 2, device="meta")),
        ValueError,
        r"'y' is on cpu, 'x' on meta; move them to one device",
    ),
    "a parameter on another device": (
        lambda: minimize(Layered(nn.Linear(2, 2, device="meta")), zeros(3, 2), GD),
        ValueError,
        r"'y' is on cpu, 'parameter layer\.weight' on meta; move them to one device",
    ),
    "a generator of the wrong type": (
        lambda: minimize(bowl, zeros(3, 2), CEM(), generator=3),
        TypeError,
        r"generator must be a torch\.Generator, e\.g\. torch\.Generator\(\)\.manual_seed\(0\); got 3",
    ),
    # --- settings
    "a negative step": (
        lambda: GradientDescent(-0.1),
        ValueError,
        r"step_size must be finite and positive; got -0\.1",
    ),
    "a negative step for one row": (
        lambda: Nesterov(torch.tensor([0.1, -0.1])),
        ValueError,
        r"step_size must be finite",
    ),
    "a step of NaN": (
        lambda: Armijo(float("nan")),
        ValueError,
        r"step_size must be finite and positive; got nan",
    ),
    "a momentum of one": (
        lambda: Momentum(0.1, 1.0),
        ValueError,
        r"momentum must be at least 0 and below 1; got 1\.0",
    ),
    "a negative tol": (
        lambda: solve_spring(tol=-1.0),
        ValueError,
        r"tol must be finite and at least 0; got -1\.0",
    ),
    "negative max_steps": (
        lambda: solve_spring(max_steps=-1),
        ValueError,
        r"max_steps must be an integer of at least 0; got -1",
    ),
    "max_steps that is no integer": (
        lambda: solve_spring(max_steps=1.5),
        ValueError,
        r"max_steps must be an integer",
    ),
    "an unknown way to differentiate": (
        lambda: solve_spring(differentiate="yes"),
        ValueError,
        r"differentiate is 'no', 'unroll' or 'implicit'; got 'yes'",
    ),
    "an unknown way to differentiate a free energy": (
        lambda: min_over(spring, "y", GD, start=Zeros(2), differentiate="exact"),
        ValueError,
        r"differentiate is 'no', 'unroll' or 'implicit'; got 'exact'",
    ),
    "a method that is none": (
        lambda: solve_spring(method="gradient descent"),
        TypeError,
        r"method must be a minimizer such as GradientDescent\(0\.1\); got 'gradient descent'",
    ),
    "an option that does not exist": (
        lambda: solve_spring(step=3),
        TypeError,
        r"unexpected keyword argument 'step'",
    ),
    "a start that is no start": (
        lambda: min_over(spring, "y", GD, start=zeros(3, 2)),
        TypeError,
        r"min_over needs a start object for each of y, such as Zeros\(8\), Normal\(8\) or Choices\(",
    ),
    "a start from what is not there": (
        lambda: minimize(bowl, {"y": Data("x")}, GD),
        ValueError,
        r"Data starts from 'x', which has no value here",
    ),
    "a start of rows unknown": (
        lambda: minimize(bowl, Zeros(2), GD),
        ValueError,
        r"Zeros needs the number of rows",
    ),
    "a network that reads nothing": (
        lambda: Network(nn.Linear(2, 2)),
        ValueError,
        r"Network needs the names of the variables that it reads",
    ),
    "a negative spread": (
        lambda: Normal(2, scale=-1.0),
        ValueError,
        r"scale is a standard deviation, at least 0; got -1",
    ),
    "a name with a dot": (lambda: bowl.named("a.b"), ValueError, r"not empty and holds no dot; got 'a\.b'"),
    # --- what does not suit
    "Choices to a gradient method": (
        lambda: minimize(bowl, Choices(zeros(3, 2).long(), 2), GD),
        TypeError,
        r"GradientDescent moves along a gradient .*, and y holds Choices; use Enumerate\(\), "
        r"CategoricalCEM\(\) where .*, or DynamicProgramming\(\)",
    ),
    "Choices that are no integers": (
        lambda: Choices(zeros(3, 2), 2),
        TypeError,
        r"Choices holds indices, an int64 tensor \(\.long\(\)\), or a start object; got torch\.float64",
    ),
    "Choices out of range": (
        lambda: Choices(zeros(3).long() + 2, 2),
        ValueError,
        r"choices lie in \[0, 2\); the start has 2",
    ),
    "Choices of nothing": (
        lambda: Choices(zeros(3).long(), 0),
        ValueError,
        r"at least one value to choose from; got n=0",
    ),
    "numbers to a method for Choices": (
        lambda: minimize(bowl, zeros(3, 2), Enumerate()),
        TypeError,
        r"tries every combination of Choices, and y is continuous",
    ),
    "a constraint to a gradient method": (
        lambda: minimize(bowl, zeros(3, 2), GD, subject_to=[bowl]),
        TypeError,
        r"GradientDescent cannot keep to `subject_to`; use AugmentedLagrangian\(GradientDescent\(...\)\), "
        r"CEM or Enumerate, or add the constraint as a term with a prox",
    ),
    "a constraint on what is neither free nor given": (
        lambda: minimize(bowl, zeros(3, 2), CEM(), subject_to=[spring]),
        TypeError,
        r"constraint spring is an energy of x, y .*; x is neither free nor given",
    ),
    "unrolling a method without derivatives": (
        lambda: minimize(bowl, zeros(3, 2), CEM(), differentiate="unroll"),
        TypeError,
        r"the steps of CEM have no derivative; use differentiate='implicit' or 'no'",
    ),
    "batch normalization in training mode": (
        lambda: minimize(Layered(nn.BatchNorm1d(2)), zeros(3, 2), GD),
        ValueError,
        r"layer \(BatchNorm1d\) is in training mode, where the energy of a row depends on its "
        r"neighbours; call "
        r"energy\.eval\(\) before solving",
    ),
    "dropout in training mode": (
        lambda: minimize(Layered(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))), zeros(3, 2), GD),
        ValueError,
        r"layer\.1 \(Dropout\) is in training mode, where the energy of a row depends on chance; call "
        r"energy\.eval\(\)",
    ),
    "codes of a whole batch in training mode": (
        lambda: SparseAutoEncoder(torch.eye(2), BatchTopK(1)).infer(torch.ones(3, 2)),
        ValueError,
        r"activation \(BatchTopK\) is in training mode, where the energy of a row depends on its "
        r"neighbours; call energy\.eval\(\)",
    ),
    "a captured tensor": (
        lambda: minimize(
            energy(lambda y: ((y - torch.arange(3.0).view(3, 1)) ** 2).sum(1)),
            torch.tensor([[0.0], [1.0], [9.0]]),
            GD,
        ),
        ValueError,
        r"uses tensors of B rows that it was not given \(a captured tensor does not follow its rows\), "
        r"or mixes rows. Make "
        r"every row-wise tensor a variable and pass it in `given`",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_an_error_that_teaches(mistake: str) -> None:
    make, kind, words = MISTAKES[mistake]
    with pytest.raises(kind, match=words):
        make()


def test_modules_in_eval_mode_and_dropout_of_nothing_are_welcome() -> None:
    for module in (nn.BatchNorm1d(2).eval(), nn.Dropout(0.5).eval(), nn.Dropout(0.0)):
        assert minimize(Layered(module.double()), torch.ones(3, 2), GD).converged.all()


# --- rows that are NaN or infinite ----------------------------------------------------------------


@pytest.mark.parametrize(
    "method", [GD, Armijo(), Momentum(0.1), Nesterov(0.1)], ids=lambda m: type(m).__name__
)
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["x", "y"])
def test_a_poisoned_row_is_reported_and_its_neighbors_feel_nothing(method, poison: float, where: str) -> None:
    values = {"x": torch.arange(6.0).view(3, 2), "y": torch.ones(3, 2)}
    clean = solve_spring(values["y"], values["x"], method)
    values[where] = values[where].clone()
    values[where][1, 0] = poison
    solution = solve_spring(values["y"], values["x"], method)
    assert solution.converged.tolist() == [True, False, True]
    assert solution.stopped_by[1] == Stop.NON_FINITE and solution.reasons[1] == "non finite"
    assert "1 by non finite" in str(solution)
    for row in (0, 2):
        assert torch.equal(solution.value["y"][row], clean.value["y"][row])
        assert solution.steps[row] == clean.steps[row]


@pytest.mark.parametrize(
    "method", [GD, Armijo(), Momentum(0.1), Nesterov(0.1)], ids=lambda m: type(m).__name__
)
def test_a_hole_of_nan_on_the_way_is_no_minimum(method) -> None:
    @energy
    def hole(y, radius):
        size = (y**2).sum(1)
        return torch.where(size < radius, torch.nan, size)  # inside, its gradient is 0

    solution = minimize(hole, {"y": torch.ones(2, 2)}, method, given={"radius": torch.tensor([0.3, 0.0])})
    assert solution.converged.tolist() == [False, True]
    assert torch.isfinite(solution.value["y"]).all() and 0.3 <= solution.energy[0] <= 2.0


def test_a_row_that_diverges_is_reported_and_no_worse_than_its_start() -> None:
    start = torch.tensor([[1.0], [1e-3]])
    quartic = energy(lambda y: (y**4).sum(1))
    solution = minimize(quartic, start, GradientDescent(1.0), max_steps=100, tol=1e-12)
    assert solution.reasons == ["non finite", "max steps"]
    assert solution.value[0] == 1.0 and solution.energy[0] == 1.0
    assert solution.energy[1] <= 1e-12


def test_an_inner_solve_that_does_not_converge_says_so_aloud() -> None:
    free = min_over(spring, "y", GradientDescent(1e-3), start=Zeros(2), max_steps=3)
    with pytest.warns(UserWarning, match=r"min over y of spring: 3 of 3 rows did not converge .*max steps"):
        free(x=torch.ones(3, 2))
