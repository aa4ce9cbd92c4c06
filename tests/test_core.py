"""The core: the algebra of energies, binding, what a solve returns, and its derivatives."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from ebm import Energy, energy, min_over, minimize
from ebm.infer import Armijo, GradientDescent, Nesterov
from ebm.infer.method import State
from ebm.infer.record import DROP_SHARE
from ebm.infer.starts import Data, Network, Normal, Zeros
from ebm.problem import Problem
from ebm.solution import Stop, UnconvergedError
from ebm.testing.strategies import Case, energies


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Spring(Energy):
    """½ k |x - y|², with an option."""

    def __init__(self, stiffness: float = 1.0):
        super().__init__()
        self.stiffness = nn.Parameter(torch.tensor(stiffness))

    def forward(self, x: Tensor, y: Tensor, boost: float = 1.0) -> Tensor:
        return 0.5 * boost * self.stiffness * ((x - y) ** 2).sum(1)


@energy
def size(y):
    return (y**2).sum(1)


@energy
def wall(y):
    """0 where y_0 > 0, +inf elsewhere."""
    return torch.where(y[:, 0] > 0, 0.0, torch.inf)


class Counted(nn.Module):
    """A linear map that counts its calls and the rows that it saw."""

    def __init__(self, *sizes: int):
        super().__init__()
        self.linear = nn.Linear(*sizes)
        self.calls, self.rows = 0, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls, self.rows = self.calls + 1, self.rows + len(x)
        return self.linear(x)


# --- the algebra ----------------------------------------------------------------------------------


@given(energies(), energies(depth=1), st.floats(-3, 3))
def test_sums_and_scalings_are_those_of_the_numbers(first: Case, second: Case, weight: float) -> None:
    one, two = first.energy, first.energy.named("again")
    value = one(**first.example)
    for made, expected in (
        (one + two, 2 * value),
        (weight * one, weight * value),
        (one * torch.tensor(weight), weight * value),
        (one / 4, value / 4),
        (-one, -value),
        (one - weight * two, (1 - weight) * value),
        (sum([one, two, one]), 3 * value),
        (2 * (one + weight * (two - 3 * one)), 2 * (1 - 2 * weight) * value),
    ):
        came = made(**first.example)
        assert (came - expected).abs().max() <= 1e-11 * (1 + value.abs().max())
        if made.variables:
            terms = made.terms(**first.example)
            assert torch.allclose(sum(terms.values(), torch.zeros(())), came, rtol=1e-12, atol=1e-12)


def test_variables_of_a_sum_are_those_of_its_terms_in_order() -> None:
    assert (Spring() + size).variables == ("x", "y")
    assert (size + Spring()).variables == ("y", "x")
    assert (Spring() + size).options == ("boost",)


def test_a_parameter_as_a_weight_is_learned_and_saved() -> None:
    weight = nn.Parameter(torch.tensor(2.0))
    total = weight * size + Spring()
    assert any(p is weight for p in total.parameters())
    y = randn(3, 2)
    total(x=torch.zeros(3, 2), y=y).sum().backward()
    assert torch.allclose(weight.grad, (y**2).sum())
    assert {k for k in total.state_dict() if k.endswith("weight")} == {"parts.size.weight"}
    fixed = torch.tensor(3.0) * size  # a tensor is a buffer: saved, not learned
    assert list(fixed.state_dict()) == ["weight"] and not list(fixed.parameters())


def test_a_parameter_of_zero_still_gets_its_gradient() -> None:
    weight = nn.Parameter(torch.tensor(0.0))
    y = randn(3, 2)
    (weight * size)(y=y).sum().backward()
    assert torch.allclose(weight.grad, (y**2).sum())


@pytest.mark.parametrize("weight", [0, 0.0, torch.tensor(0.0)], ids=["int", "float", "tensor"])
def test_zero_times_an_energy_drops_it_even_where_it_is_infinite(weight: float | Tensor) -> None:
    y = torch.tensor([[-1.0], [1.0]])
    assert wall(y=y).tolist() == [torch.inf, 0.0]
    assert (0.0 * wall(y=y)).isnan().tolist() == [True, False]  # the naive product
    assert (size + weight * wall)(y=y).tolist() == [1.0, 1.0]
    assert (weight * wall)(y=y).tolist() == [0.0, 0.0]
    assert list((size + weight * wall).terms(y=y)) == ["size"]


def test_terms_go_by_their_names_and_key_the_state() -> None:
    total = Spring().named("pull") + 0.5 * Spring(2.0).named("push") + Spring()
    x, y = randn(3, 2), randn(3, 2, seed=1)
    half = 0.5 * ((x - y) ** 2).sum(1)
    terms = total.terms(x=x, y=y)
    assert list(terms) == ["pull", "push", "Spring"]
    assert torch.allclose(terms["push"], half) and torch.allclose(sum(terms.values()), total(x=x, y=y))
    assert sorted(total.state_dict()) == [
        "parts.Spring.stiffness",
        "parts.pull.part.stiffness",
        "parts.push.part.part.stiffness",
    ]


def test_equal_names_are_told_apart_in_the_state_and_nested_sums_are_one() -> None:
    total = (Spring() + Spring()) + Spring()
    assert list(total.parts) == ["Spring", "Spring_2", "Spring_3"]
    assert set(total.terms(x=randn(2, 1), y=randn(2, 1))) == {"Spring", "Spring_2", "Spring_3"}


def test_a_module_shared_by_two_terms_saves_once_and_stays_shared(tmp_path) -> None:
    encoder = nn.Linear(2, 2)
    total = Spring().compose(x=(encoder, "a")).named("one") + 2 * Spring().compose(x=(encoder, "b")).named(
        "two"
    )
    other = copy.deepcopy(total)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.fill_(torch.nan)
    save_model(total, str(tmp_path / "e.safetensors"))
    load_model(other, str(tmp_path / "e.safetensors"))
    example = {"a": randn(3, 2), "b": randn(3, 2, seed=1), "y": randn(3, 2, seed=2)}
    assert torch.equal(total(**example), other(**example))
    assert len([p for p in other.parameters() if p.shape == (2, 2)]) == 1


def test_given_values_follow_the_energy_to_another_dtype() -> None:
    fixed = Spring().given(x=randn(3, 2)).float()
    assert fixed(y=torch.zeros(3, 2, dtype=torch.float32)).dtype == torch.float32


# --- compose --------------------------------------------------------------------------------------


def test_compose_nests_and_reads_several_variables() -> None:
    double, add = (lambda u: 2 * u), (lambda u, v: u + v)
    nested = size.compose(y=(add, "s", "b")).compose(s=(double, "a"))
    assert set(nested.variables) == {"a", "b"}
    a, b = randn(4, 3), randn(4, 3, seed=1)
    assert torch.allclose(nested(a=a, b=b), ((2 * a + b) ** 2).sum(1))


def test_compose_may_use_a_name_that_is_already_a_variable() -> None:
    tied = Spring().compose(x=(torch.neg, "y"))  # E(-y, y)
    assert tied.variables == ("y",)
    assert torch.allclose(tied(y=randn(3, 2)), 2 * (randn(3, 2) ** 2).sum(1))


def test_a_composed_variable_of_the_old_name_refers_to_the_new_one() -> None:
    shifted = size.compose(y=(lambda y: y + 1, "y"))
    assert torch.allclose(shifted(y=randn(3, 2)), ((randn(3, 2) + 1) ** 2).sum(1))


def test_terms_that_compose_one_module_on_one_variable_share_its_value_within_a_bind() -> None:
    encoder = Counted(2, 2)
    total = (
        Spring().compose(x=(encoder, "a"))
        + 3 * size.compose(y=(encoder, "a"))
        + Spring().compose(y=(encoder, "a"))
    )
    example = {"a": randn(4, 2), "y": randn(4, 2, seed=1), "x": randn(4, 2, seed=2)}
    value = total(**example)
    assert encoder.calls == 1
    code = encoder.linear(example["a"])
    pulls = ((code - example["y"]) ** 2).sum(1) + ((example["x"] - code) ** 2).sum(1)
    assert torch.allclose(value, 0.5 * pulls + 3 * (code**2).sum(1))
    bound = total.bind({"x": example["x"], "y": example["y"]})  # now the code is a function of what is free
    encoder.calls = 0
    assert torch.allclose(bound(a=example["a"]), value)
    assert encoder.calls == 1


# --- bind -----------------------------------------------------------------------------------------


def test_an_observation_is_encoded_once_a_solve_however_many_steps() -> None:
    encoder = Counted(2, 2)
    solution = minimize(
        Spring().compose(x=(encoder, "o")),
        {"y": torch.zeros(4, 2)},
        GradientDescent(0.01),
        given={"o": randn(4, 2)},
        max_steps=200,
    )
    assert int(solution.steps.max()) == 200
    assert (encoder.calls, encoder.rows) == (1, 4)


def test_candidates_are_tried_against_one_encoding() -> None:
    encoder = Counted(2, 2)
    bound = Spring().compose(x=(encoder, "o")).bind({"o": randn(4, 2)})
    candidates = randn(4, 50, 2, seed=1)
    values = bound.repeat(50)(y=candidates.flatten(0, 1)).view(4, 50)
    assert (encoder.calls, encoder.rows) == (1, 4)
    code = encoder.linear(randn(4, 2)).unsqueeze(1)
    assert torch.allclose(values, 0.5 * ((code - candidates) ** 2).sum(2))


def test_what_was_encoded_is_not_carried_along() -> None:
    """Repeating a picture for every candidate would cost far more than repeating its code."""
    observation = randn(4, 1000)
    shared = Spring().compose(x=(Counted(1000, 2), "o"))
    bound = shared.bind({"o": observation})
    assert [tuple(value.shape) for value in bound.held.values()] == [(4, 2)]
    later = (shared + Spring().named("own")).bind({"o": observation}).bind({"x": randn(4, 2, seed=1)})
    y = randn(4, 2, seed=2)
    expected = bound(y=y) + Spring()(x=randn(4, 2, seed=1), y=y)
    assert torch.allclose(later(y=y), expected)
    nothing = (0 * shared).bind({"o": observation, "y": y})
    assert torch.equal(nothing(), torch.zeros(4))


def test_rows_and_repeat_take_tuples_and_integers_along() -> None:
    @energy
    def pick(y, table):
        values, index = table
        return (y - values[torch.arange(len(y)), index]) ** 2

    values, index, y = randn(4, 3), torch.tensor([0, 2, 1, 0]), randn(4)
    bound = pick.bind({"table": (values, index)})
    whole, some = bound(y=y), torch.tensor([3, 1])
    assert torch.equal(bound.rows(some)(y=y[some]), whole[some])
    assert torch.equal(bound.repeat(2)(y=y.repeat_interleave(2)), whole.repeat_interleave(2))


def test_given_is_an_early_bind() -> None:
    x, y = randn(3, 2), randn(3, 2, seed=1)
    early = Spring().given(x=x)
    assert early.variables == ("y",)
    assert torch.equal(early(y=y), Spring()(x=x, y=y))
    assert torch.equal(Spring().given(boost=3.0)(x=x, y=y), Spring()(x=x, y=y, boost=3.0))
    late = minimize(Spring(), {"y": y}, GradientDescent(0.3), given={"x": x})
    soon = minimize(early, y, GradientDescent(0.3))
    assert torch.equal(late.value["y"], soon.value)


def test_options_may_stand_in_given() -> None:
    x, y = randn(3, 2), randn(3, 2, seed=1)
    few = {"max_steps": 4, "tol": 0.0}
    strong = minimize(Spring(), {"y": y}, GradientDescent(0.1), given={"x": x, "boost": 2.0}, **few)
    expected = x + (y - x) * (1 - 0.1 * 2.0) ** 4
    assert torch.allclose(strong.value["y"], expected, atol=1e-14)


# --- what a solve returns -------------------------------------------------------------------------


def test_several_variables_at_once_reach_the_closed_form() -> None:
    @energy
    def chain(x, y, z):
        return 0.5 * ((y - x) ** 2).sum(1) + 0.5 * ((z - y) ** 2).sum(1) + 0.5 * (z**2).flatten(1).sum(1)

    x = randn(4, 3)
    over = {"z": torch.zeros(4, 3), "y": torch.zeros(4, 3)}
    solution = minimize(chain, over, GradientDescent(0.4), given={"x": x}, tol=1e-12, max_steps=5000)
    assert list(solution.value) == ["z", "y"]
    assert torch.allclose(solution.value["y"], 2 * x / 3, atol=1e-11)
    assert torch.allclose(solution.value["z"], x / 3, atol=1e-11)
    assert torch.allclose(solution.energy, (x**2).sum(1) / 6)


def test_variables_of_different_shapes_keep_theirs() -> None:
    @energy
    def mixed(a, b):
        return (a - 1) ** 2 + ((b - 2) ** 2).flatten(1).sum(1)

    solution = minimize(mixed, {"a": torch.zeros(3), "b": torch.zeros(3, 2, 2)}, GradientDescent(0.3))
    assert solution.value["a"].shape == (3,) and solution.value["b"].shape == (3, 2, 2)
    assert torch.allclose(solution.value["a"], torch.ones(3), atol=1e-5)
    assert torch.allclose(solution.value["b"], torch.full((3, 2, 2), 2.0), atol=1e-5)


def test_a_trace_holds_every_step_and_rows_that_are_done_repeat_their_last() -> None:
    start = torch.tensor([[1e-9], [1.0], [2.0]])
    solution = minimize(size, start, GradientDescent(0.25), tol=1e-3, trace=True)
    steps = int(solution.steps.max())
    assert solution.trace.value.shape == (steps + 1, 3, 1) and solution.trace.energy.shape == (steps + 1, 3)
    assert int(solution.steps[0]) == 0 and int(solution.steps[1]) < int(solution.steps[2])
    for row, taken in enumerate(solution.steps.tolist()):
        expected = start[row] * 0.5 ** torch.arange(steps + 1).clamp(max=taken)
        assert torch.allclose(solution.trace.value[:, row, 0], expected)
    assert torch.allclose(solution.trace.energy, (solution.trace.value**2).sum(2))


def test_raise_unconverged_says_which_rows_and_keeps_what_was_found() -> None:
    start = torch.tensor([[0.0], [1.0], [3.0]])
    with pytest.raises(
        UnconvergedError, match=r"2 of 3 rows did not converge: 1 \(max steps\), 2 \(max steps\)"
    ) as info:
        minimize(size, start, GradientDescent(0.1), max_steps=2, raise_unconverged=True)
    assert torch.allclose(info.value.solution.value, 0.64 * start)
    assert minimize(size, start, GradientDescent(0.1), raise_unconverged=True).converged.all()


def test_steps_are_the_steps_of_each_row() -> None:
    start = torch.tensor([[0.0], [1.0], [1024.0]])
    # |∇E| = 2|y|, halved a step
    solution = minimize(size, start, GradientDescent(0.25), tol=2.0 * 2**-3, max_steps=100)
    assert solution.steps.tolist() == [0, 3, 13]
    assert solution.stopped_by.tolist() == [Stop.GRADIENT] * 3


def test_step_sizes_and_rows_may_differ_and_rows_be_dropped() -> None:
    steps = torch.tensor([0.5, 0.25, 0.01, 0.4])
    start = torch.tensor([[1.0], [1.0], [1.0], [1.0]])
    solution = minimize(size, start, GradientDescent(steps), max_steps=20, tol=1e-3)
    # the row that is done after one step is dropped, and 0.01 stays with its row
    assert 0 < DROP_SHARE <= 0.25
    assert solution.steps.tolist()[0] == 1
    assert torch.allclose(solution.value[2], torch.tensor([0.98**20]))


def test_memory_of_a_solve_does_not_grow_with_its_steps() -> None:
    points: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    class Watched(GradientDescent):
        def step(self, problem: Problem, state: State) -> State:
            points.append(weakref.ref(state["u"]))
            alive.append(sum(point() is not None for point in points))
            return super().step(problem, state)

    minimize(size, torch.ones(4, 2), Watched(1e-4), max_steps=60, tol=0.0)
    assert len(alive) == 60 and max(alive) <= 4
    start = torch.ones(4, 2, requires_grad=True)
    kept = minimize(size, start, Watched(1e-4), max_steps=60, tol=0.0, differentiate="unroll")
    # a graph keeps its points, and this test would see them
    assert alive[-1] > 50 and kept.value.requires_grad


def test_start_objects_make_what_they_say() -> None:
    y = randn(4, 3)
    network = nn.Linear(3, 3)
    still = {"max_steps": 0}
    common = {"given": {"x": y}, **still}
    assert torch.equal(
        minimize(Spring(), {"y": Zeros(3)}, GradientDescent(0.1), **common).value["y"], torch.zeros(4, 3)
    )
    assert torch.equal(minimize(Spring(), {"y": Data("x")}, GradientDescent(0.1), **common).value["y"], y)
    guess = minimize(Spring(), {"y": Network(network, "x")}, GradientDescent(0.1), **common).value["y"]
    assert torch.equal(guess, network(y))
    g = torch.Generator()
    drawn = minimize(
        Spring(), Normal(3, scale=2.0), GradientDescent(0.1), generator=g.manual_seed(5), **common
    ).value
    assert torch.equal(drawn, 2 * torch.randn(4, 3, generator=g.manual_seed(5)))


# --- derivatives of a solution --------------------------------------------------------------------


@energy
def ridge(x, z, dictionary, weight):
    """½|x - Dz|² + ½ w|z|², lowest at z = (DᵀD + wI)⁻¹ Dᵀx; D and w differ by row."""
    residual = x - (dictionary @ z.unsqueeze(2)).squeeze(2)
    return 0.5 * (residual**2).sum(1) + 0.5 * weight * (z**2).sum(1)


def ridge_inputs() -> dict[str, Tensor]:
    given = {"x": randn(3, 4), "dictionary": randn(3, 4, 2, seed=1), "weight": 0.5 + randn(3, seed=2).abs()}
    return {name: value.requires_grad_() for name, value in given.items()}


def ridge_closed_form(x: Tensor, dictionary: Tensor, weight: Tensor) -> Tensor:
    gram = dictionary.mT @ dictionary + weight.view(-1, 1, 1) * torch.eye(2)
    return torch.linalg.solve(gram, (dictionary.mT @ x.unsqueeze(2))).squeeze(2)


@energy
def logistic(z, features, labels):
    """Σ_n log(1 + exp(-l_n f_nᵀz)) + ½|z|²: no closed form for z, but one for its derivative."""
    margins = labels * (features @ z.unsqueeze(2)).squeeze(2)
    return nn.functional.softplus(-margins).sum(1) + 0.5 * (z**2).sum(1)


METHODS = [GradientDescent(0.05), Nesterov(0.05)]


@pytest.mark.parametrize("how", ["implicit", "unroll"])
@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_the_derivative_of_a_ridge_solution_is_its_closed_form(how: str, method) -> None:
    given = ridge_inputs()
    weights = randn(3, 2, seed=9)
    solution = minimize(
        ridge, {"z": torch.zeros(3, 2)}, method, given=given, tol=1e-11, max_steps=20000, differentiate=how
    )
    assert solution.converged.all()
    came = torch.autograd.grad((weights * solution.value["z"]).sum(), list(given.values()))
    expected = torch.autograd.grad((weights * ridge_closed_form(**given)).sum(), list(given.values()))
    for a, b in zip(came, expected, strict=True):
        assert (a - b).abs().max() < 1e-6


@pytest.mark.parametrize("how", ["implicit", "unroll"])
def test_the_derivative_of_a_logistic_solution_is_that_of_the_implicit_function_theorem(how: str) -> None:
    features, labels = randn(2, 8, 3).requires_grad_(), randn(2, 8, seed=1).sign()
    given = {"features": features, "labels": labels}
    over = {"z": torch.zeros(2, 3)}
    settings = {"tol": 1e-12, "max_steps": 20000, "differentiate": how}
    z = minimize(logistic, over, GradientDescent(0.1), given=given, **settings).value["z"]
    weights = randn(2, 3, seed=3)
    (came,) = torch.autograd.grad((weights * z).sum(), features)

    expected = torch.zeros_like(features)
    for row in range(2):  # -H⁻¹ ∂²E/∂z∂f, by torch's own functional derivatives, one row at a time

        def one(z_row: Tensor, f_row: Tensor, row: int = row) -> Tensor:
            return logistic(z=z_row[None], features=f_row[None], labels=labels[row : row + 1])[0]

        here = (z[row].detach(), features[row].detach())
        hessian = torch.autograd.functional.hessian(one, here)
        slope = -torch.linalg.solve(hessian[0][0], hessian[0][1].reshape(3, -1))  # (3, 8 * 3)
        expected[row] = (weights[row] @ slope).view(8, 3)
    assert (came - expected).abs().max() < 1e-6


def test_without_differentiate_the_solution_is_detached() -> None:
    solution = minimize(ridge, {"z": torch.zeros(3, 2)}, Armijo(), given=ridge_inputs())
    assert not solution.value["z"].requires_grad and not solution.energy.requires_grad


@pytest.mark.parametrize("how", ["no", "implicit", "unroll"])
def test_the_first_derivative_of_a_minimum_is_that_of_the_energy_at_it(how: str) -> None:
    given = ridge_inputs()
    free = min_over(
        ridge, "z", GradientDescent(0.05), start=Zeros(2), tol=1e-11, max_steps=20000, differentiate=how
    )
    came = torch.autograd.grad(free(**given).sum(), list(given.values()))
    best = ridge_closed_form(**given)
    expected = torch.autograd.grad(ridge(z=best, **given).sum(), list(given.values()))
    for a, b in zip(came, expected, strict=True):
        assert (a - b).abs().max() < 1e-6


def test_unroll_of_a_few_steps_is_the_derivative_of_those_steps() -> None:
    x = randn(3, 2).requires_grad_()
    few = {"max_steps": 3, "tol": 0.0, "differentiate": "unroll"}
    solution = minimize(Spring(), {"y": torch.zeros(3, 2)}, GradientDescent(0.1), given={"x": x}, **few)
    (slope,) = torch.autograd.grad(solution.value["y"].sum(), x)
    assert torch.allclose(slope, torch.full_like(x, 1 - 0.9**3))


def test_unroll_freezes_rows_that_are_done() -> None:
    start = torch.tensor([[0.5], [1.0], [4.0]], requires_grad=True)
    # |∇E| = 2|y|, halved a step
    solution = minimize(size, start, GradientDescent(0.25), tol=1.0, differentiate="unroll")
    assert solution.steps.tolist() == [0, 1, 3]
    (slope,) = torch.autograd.grad(solution.value.sum(), start)
    assert torch.allclose(slope, torch.tensor([[1.0], [0.5], [0.125]]))


def test_a_flat_direction_has_no_implicit_derivative_and_says_so() -> None:
    @energy
    def valley(y, x):
        return ((y.sum(1) - x.sum(1)) ** 2) / 2

    with pytest.raises(
        RuntimeError, match=r"singular at the minimizer of rows \[0, 1\].*Add a small L2 term"
    ):
        minimize(
            valley,
            {"y": torch.zeros(2, 2)},
            GradientDescent(0.1),
            given={"x": randn(2, 2).requires_grad_()},
            tol=1e-9,
            differentiate="implicit",
        )
