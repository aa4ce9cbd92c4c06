"""The checks of `ebm.testing` can fail: each is shown a member that breaks one rule, and has to say which."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ebm import Energy, energy
from ebm.energy import View
from ebm.infer import HMC, MALA, GradientDescent, Langevin
from ebm.infer.method import Method, State, with_gradient
from ebm.infer.sampler import Info, Noise, metropolis
from ebm.problem import Problem
from ebm.rows import expand, norm
from ebm.solution import Stop
from ebm.targets import DoubleWell, Gaussian
from ebm.testing import (
    EnergyContractError,
    MinimizerContractError,
    SamplerContractError,
    check_algebra,
    check_balance,
    check_binding,
    check_chains,
    check_counts,
    check_derivatives,
    check_dtype,
    check_energy,
    check_minimizer,
    check_moments,
    check_neighbors,
    check_poison,
    check_protocol,
    check_prox,
    check_reaches,
    check_report,
    check_rows,
    check_sampler,
    check_solution_derivative,
    check_state,
)
from ebm.testing.gpu_check import main
from ebm.testing.posed import bowl, tagging

ROOT = Path(__file__).parents[1]
Y = torch.tensor([[1.0, -2.0], [0.5, 3.0], [-1.5, 0.7]], dtype=torch.float64)
F64 = torch.float64

# --- energies ---------------------------------------------------------------------------------------


class Bowl(Energy):
    """½|y|², right in every respect; the wrong ones below change one thing."""

    def forward(self, y: Tensor) -> Tensor:
        return 0.5 * (y**2).sum(1)


class WrongGradient(Bowl):
    closed_form = ("y",)

    def value_and_grad(self, name: str, *, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward(y), 1.001 * y


class WrongValue(Bowl):
    closed_form = ("y",)

    def value_and_grad(self, name: str, *, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward(y) + 1e-6, y


class NoGraph(Bowl):
    closed_form = ("y",)

    def value_and_grad(self, name: str, *, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward(y), y.detach()


class WrongQuadratic(Bowl):
    def quadratic(self, name: str, **others: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return torch.eye(2, dtype=F64), torch.zeros((), dtype=F64), torch.tensor(1e-3, dtype=F64)


class Lopsided(Bowl):
    def quadratic(self, name: str, **others: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        skew = torch.tensor([[1.0, 0.5], [-0.5, 1.0]], dtype=F64)  # vᵀAv = |v|², yet A is not symmetric
        return skew, torch.zeros((), dtype=F64), torch.zeros((), dtype=F64)


class Absolute(Energy):
    separable = True

    def forward(self, z: Tensor) -> Tensor:
        return z.abs().sum(1)

    def prox(self, v: Tensor, step: Tensor) -> Tensor:
        return v.sign() * (v.abs() - expand(step, v)).clamp(min=0)


class OneStepForAll(Absolute):
    def prox(self, v: Tensor, step: Tensor) -> Tensor:
        return v.sign() * (v.abs() - step.mean()).clamp(min=0)


class SlightlyOff(Absolute):
    def prox(self, v: Tensor, step: Tensor) -> Tensor:
        return super().prox(v, 1.001 * step)


class NotSeparable(Absolute):
    def forward(self, z: Tensor) -> Tensor:
        return norm(z)

    def prox(self, v: Tensor, step: Tensor) -> Tensor:
        return (1 - step / norm(v)).clamp(min=0).unsqueeze(1) * v


class Unit(Energy):
    """0 on the circle of radius 1; its prox goes to a point of it, but not to the nearest."""

    indicator = True

    def forward(self, z: Tensor) -> Tensor:
        return torch.where((norm(z) - 1).abs() < 1e-9, 0.0, torch.inf).to(z.dtype)

    def prox(self, v: Tensor, step: Tensor) -> Tensor:
        return -v / norm(v).unsqueeze(1)


class Bare(Bowl):
    def __init__(self) -> None:
        super().__init__()
        self.depth = torch.tensor(2.0, dtype=F64)


class Unsaved(Bowl):
    """Loads something else than was saved."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("depth", torch.tensor(2.0, dtype=F64))
        self.register_load_state_dict_post_hook(Unsaved.forget)

    @staticmethod
    def forget(module: Unsaved, keys: Any) -> None:
        module.depth.fill_(3.0)

    def forward(self, y: Tensor) -> Tensor:
        return self.depth * super().forward(y)


class WrongProduct(Bowl):
    def __mul__(self, weight: Any) -> Energy:
        return View(self, weight=2 * weight)

    __rmul__ = __mul__


def of(function: Callable[[Tensor], Tensor]) -> Energy:
    return energy(lambda y: function(y))


ENERGIES: dict[str, tuple[Callable[..., None], Energy, str]] = {
    "one number for all": (check_rows, of(lambda y: (y**2).sum()), r"expected shape \(3,\), came \(\)"),
    "a column": (check_rows, of(lambda y: (y**2).sum(1, True)), r"expected shape \(3,\), came \(3, 1\)"),
    "another dtype": (
        check_rows,
        of(lambda y: (y**2).sum(1).float()),
        "expected torch.float64 on cpu, came torch.float32",
    ),
    "NaN": (
        check_rows,
        of(lambda y: y.sum(1).log()),
        r"finite at the example; it does not hold in 2 of 3 rows, \[0, 2\]",
    ),
    "an indicator of other values": (
        check_rows,
        type("Half", (Bowl,), {"indicator": True})(),
        r"an indicator is 0 or \+inf",
    ),
    "moved by its neighbor": (
        check_rows,
        of(lambda y: ((y - y.mean(0)) ** 2).sum(1)),
        r"replacing row 0 may change no other row: row 1 of 3: expected .*, came .* \(bits differ\)",
    ),
    "moved by its neighbor's order": (
        check_rows,
        of(lambda y: (y**2).sum(1) * torch.arange(len(y))),
        "permuting the rows permutes their energies: row 0",
    ),
    "a view": (
        check_rows,
        of(lambda y: (y.view(-1) ** 2).view(len(y), -1).sum(1)),
        "non-contiguous .*not view",
    ),
    "nothing of no rows": (
        check_rows,
        of(lambda y: ((y / y.shape[0] * len(y)) ** 2).sum(1) / (len(y) // len(y))),
        "B = 0",
    ),
    "a constant of float64": (
        check_rows,
        of(lambda y: ((y - torch.zeros(2, dtype=F64)) ** 2).sum(1)),
        r"follows the dtype .*expected torch\.float32 .* came torch\.float64",
    ),
    "a gradient cut off": (
        check_derivatives,
        of(lambda y: (y * y.detach()).sum(1)),
        "by autograd equals finite differences",
    ),
    "a wrong closed form": (
        check_derivatives,
        WrongGradient(),
        r"WrongGradient\.value_and_grad\('y'\) equals autograd: row 0",
    ),
    "a wrong value beside it": (check_derivatives, WrongValue(), r"the value of .* equals the energy"),
    "a closed form without a graph": (check_derivatives, NoGraph(), "keeps the graph"),
    "a wrong constant": (
        check_derivatives,
        WrongQuadratic(),
        r"½ vᵀAv - bᵀv \+ c .* equals the energy: row 0",
    ),
    "an A that is not symmetric": (check_derivatives, Lopsided(), "gives a symmetric A"),
    "a tensor that is not given": (
        check_binding,
        of(lambda y: ((y - Y.roll(1, 0)) ** 2).sum(1)),
        r"with nothing given, rows \[2, 0, 1\] have the energies they had.*Make every row-wise tensor a "
        r"variable",
    ),
    "a wrong product": (check_algebra, WrongProduct(), r"2\.5 \* E agrees with arithmetic: row 0"),
    "a bare tensor": (check_state, Bare(), "keeps the tensor 'depth' that is neither parameter nor buffer"),
    "a state that loads as another": (
        check_state,
        Unsaved(),
        "is what it was after saving and loading: row 0",
    ),
}


@pytest.mark.parametrize("name", ENERGIES)
def test_a_broken_energy_is_caught(name: str) -> None:
    check, wrong, words = ENERGIES[name]
    with pytest.raises(EnergyContractError, match=words):
        check(wrong, {"y": Y})
    with pytest.raises(EnergyContractError):  # the whole contract has this part
        check_energy(wrong, {"y": Y})


@pytest.mark.parametrize(
    "wrong, words",
    [
        (OneStepForAll(), "is the minimizer of .*a better u was found"),
        (SlightlyOff(), "is the minimizer of .*a better u was found"),
        (Unit(), "is the minimizer of .*a better u was found"),
        (NotSeparable(), "is separable: a coordinate of its prox depends on that coordinate alone"),
    ],
    ids=lambda v: type(v).__name__,
)
def test_a_broken_prox_is_caught(wrong: Energy, words: str) -> None:
    check_prox(Absolute(), {"z": Y})
    with pytest.raises(EnergyContractError, match=words):
        check_prox(wrong, {"z": Y})


def test_an_energy_that_is_right_passes_and_an_example_that_shows_nothing_is_refused() -> None:
    check_energy(Bowl(), {"y": Y})
    with pytest.raises(ValueError, match="at least 2 rows"):
        check_energy(Bowl(), {"y": Y[:1]})
    with pytest.raises(ValueError, match="all 3 rows of the example are equal"):
        check_energy(Bowl(), {"y": torch.ones(3, 2)})


# --- minimizers -------------------------------------------------------------------------------------


class Descent(GradientDescent):
    """Gradient descent, right; the wrong ones below change one thing."""

    def __init__(self) -> None:
        super().__init__(0.4)

    def look(self, problem: Problem, u: Tensor, **more: Tensor) -> State:
        return with_gradient(u, *problem.value_and_grad(u), **more)


class Liar(Descent):
    def verdict(self, state: State, tol: float) -> Tensor:
        return torch.full_like(state["value"], int(Stop.STEP)).to(torch.uint8)


class Never(Descent):
    def verdict(self, state: State, tol: float) -> Tensor:
        return torch.zeros_like(state["value"]).to(torch.uint8)


class Stale(Descent):
    """Reports the energy of the point before."""

    def step(self, problem: Problem, state: State) -> State:
        return {**super().step(problem, state), "value": problem.value(state["u"])}


class Mixed(Descent):
    def step(self, problem: Problem, state: State) -> State:
        u = state["u"] - 0.4 * (state["gradient"] + 1e-9 * state["gradient"].mean(0))
        return self.look(problem, u)


class OneStepSize(Descent):
    """A step that all rows share, found from their sum."""

    def step(self, problem: Problem, state: State) -> State:
        step = 0.4 / (1 + 1e-6 * state["value"].sum())
        return self.look(problem, state["u"] - step * state["gradient"])


class LiveNoise(Descent):
    """Draws for the rows that are left, so that what a row gets depends on who else is."""

    def step(self, problem: Problem, state: State) -> State:
        noise = torch.randn(state["u"].shape, generator=problem.generator, dtype=state["u"].dtype)
        scale = 0.1 * expand(state["gradient_norm"], noise)
        return self.look(problem, state["u"] - 0.4 * state["gradient"] + scale * noise)


class OwnNoise(Descent):
    """Draws from torch's global generator."""

    def step(self, problem: Problem, state: State) -> State:
        scale = 0.1 * expand(state["gradient_norm"], state["u"])
        return self.look(problem, state["u"] - 0.4 * state["gradient"] + scale * torch.randn_like(state["u"]))


class Hidden(Descent):
    def step(self, problem: Problem, state: State) -> State:
        self.calls = getattr(self, "calls", 0) + 1
        return super().step(problem, state)


class InPlace(Descent):
    def step(self, problem: Problem, state: State) -> State:
        return self.look(problem, state["u"].sub_(0.4 * state["gradient"]))


class NotARow(Descent):
    def init(self, problem: Problem, u: Tensor) -> State:
        return {**super().init(problem, u), "count": torch.zeros(())}


class HidesNan(Descent):
    """Takes NaN for a gradient of zero and an energy of zero: a row that is lost looks converged."""

    def look(self, problem: Problem, u: Tensor, **more: Tensor) -> State:
        value, gradient = problem.value_and_grad(u)
        return with_gradient(u, value.nan_to_num(0.0), gradient.nan_to_num(0.0))

    def init(self, problem: Problem, u: Tensor) -> State:
        return self.look(problem, u)

    def step(self, problem: Problem, state: State) -> State:
        return self.look(problem, state["u"] - 0.4 * state["gradient"])


class SpreadsNan(Descent):
    """A step that is shared: one row's NaN is everyone's."""

    def step(self, problem: Problem, state: State) -> State:
        share = 0.0 * state["value"].sum()
        return self.look(problem, state["u"] - (0.4 + share) * state["gradient"])


class Doubles(Descent):
    def step(self, problem: Problem, state: State) -> State:
        new = super().step(problem, state)
        return {**new, "gradient_norm": new["gradient_norm"].double()}


class Detached(Descent):
    def step(self, problem: Problem, state: State) -> State:
        return {name: tensor.detach() for name, tensor in super().step(problem, state).items()}


class HalfDetached(Descent):
    def step(self, problem: Problem, state: State) -> State:
        return super().step(problem, {**state, "u": state["u"].detach()})


MINIMIZERS: dict[str, tuple[Callable[..., None], Method, str]] = {
    "too slow": (
        check_reaches,
        GradientDescent(1e-5),
        "converges on .* within 2000 steps; of 4, row 0 stopped by max steps",
    ),
    "converged where it is not": (check_reaches, Liar(), "to within 1e-05 of a known minimum"),
    "never done": (check_reaches, Never(), "stopped by max steps"),
    "an old energy": (check_report, Stale(), "`energy` is E at `value`: row 0"),
    "rows mixed": (check_neighbors, Mixed(), "replacing row 0 changes no other row"),
    "a step size for all": (check_neighbors, OneStepSize(), "replacing row 0 changes no other row"),
    "noise for the rows left": (check_neighbors, LiveNoise(), "changes no other row|change nothing in row"),
    "noise of its own": (check_neighbors, OwnNoise(), "the same generator gives the same answer"),
    "state on self": (check_protocol, Hidden(), "leaves the method as it was; it changed calls"),
    "old state changed": (check_protocol, InPlace(), "leaves the old state's 'u' as it was"),
    "state without rows": (check_protocol, NotARow(), r"one item for each of 4 rows; 'count' came as \(\)"),
    "NaN hidden": (
        check_poison,
        HidesNan(),
        "expected a row that is not converged; came one stopped by gradient",
    ),
    "NaN shared": (check_poison, SpreadsNan(), "no other row feels it"),
    "float64 of float32": (check_dtype, Doubles(), "in float32: .*dtypes match"),
}


@pytest.mark.parametrize("name", MINIMIZERS)
def test_a_broken_minimizer_is_caught(name: str) -> None:
    check, wrong, words = MINIMIZERS[name]
    check(Descent(), bowl(3))
    with pytest.raises(MinimizerContractError, match=words):
        check(wrong, bowl(3))


def test_a_minimizer_whose_steps_have_no_derivative_has_to_say_so() -> None:
    with pytest.raises(
        MinimizerContractError, match="with differentiate='unroll': the solution carries no derivative"
    ):
        check_solution_derivative(Detached())
    with pytest.raises(MinimizerContractError, match="with differentiate='unroll': ∂y\\*/∂center of a bowl"):
        check_solution_derivative(HalfDetached())


def test_a_discrete_minimizer_needs_problems_of_its_own() -> None:
    discrete = type("Discrete", (Descent,), {"discrete": True})()
    with pytest.raises(ValueError, match=r"searches a discrete set; pass problems=\[Posed\(\.\.\.\)\]"):
        check_minimizer(discrete)
    assert tagging().batch == 4


# --- samplers ---------------------------------------------------------------------------------------


class AlwaysAccepts(MALA):
    def step(self, problem: Problem, state: State, noise: Noise) -> tuple[State, Info]:
        return super().step(problem, state, {**noise, "uniform": torch.zeros_like(noise["uniform"])})


class NeverMoves(MALA):
    def step(self, problem: Problem, state: State, noise: Noise) -> tuple[State, Info]:
        return super().step(
            problem, state, {**noise, "uniform": torch.full_like(noise["uniform"], torch.inf)}
        )


class NoReturn(MALA):
    """Forgets that the way back has another density: Metropolis's test for Langevin's proposal."""

    def step(self, problem: Problem, state: State, noise: Noise) -> tuple[State, Info]:
        u = state["u"] - state["drift"] * state["gradient"] + state["spread"] * noise["normal"]
        value, gradient = problem.value_and_grad(u)
        new = {"u": u, "value": value, "gradient": gradient}
        return metropolis(state, new, state["value"], value, noise["uniform"])


class SharedNoise(Langevin):
    def step(self, problem: Problem, state: State, noise: Noise) -> tuple[State, Info]:
        shared = noise["normal"] + 1e-9 * state["u"].mean(0)
        return super().step(problem, state, {"normal": shared})


class OwnDraws(Langevin):
    def draw(self, noise: Noise, generator: torch.Generator | None) -> None:
        noise["normal"].normal_()


class AcceptsNan(HMC):
    """A test written as "reject if worse": NaN is not worse."""

    def step(self, problem: Problem, state: State, noise: Noise) -> tuple[State, Info]:
        new, info = super().step(problem, state, noise)
        lost = info["nonfinite"]
        u = torch.where(expand(lost, new["u"]), new["u"] + 1.0, new["u"])
        return {**new, "u": u}, info


class Miscounts(HMC):
    def step(self, problem: Problem, state: State, noise: Noise) -> tuple[State, Info]:
        new, info = super().step(problem, state, noise)
        return new, {**info, "accepted": torch.ones_like(info["accepted"])}


class Silent(HMC):
    def step(self, problem: Problem, state: State, noise: Noise) -> tuple[State, Info]:
        new, info = super().step(problem, state, noise)
        return new, {**info, "nonfinite": torch.zeros_like(info["nonfinite"])}


class Remembers(Langevin):
    def step(self, problem: Problem, state: State, noise: Noise) -> tuple[State, Info]:
        self.last = state
        return super().step(problem, state, noise)


PLANE = Gaussian(torch.zeros(2, dtype=F64))
WELL = DoubleWell(dim=1).double()
SAMPLERS: dict[str, tuple[Callable[[], None], str]] = {
    "biased": (
        lambda: check_moments(Langevin(0.3), PLANE, steps=30),
        r"⟨u_0 u_0⟩ should be 1, came 1\.\d+, .* standard",
    ),
    "always accepting": (lambda: check_moments(AlwaysAccepts(0.4), PLANE, steps=30), "standard errors away"),
    "stuck": (lambda: check_moments(NeverMoves(0.4), PLANE, steps=30), "no chain has moved in 30 steps"),
    "without the way back": (lambda: check_moments(NoReturn(0.4), PLANE, steps=30), "standard errors away"),
    "out of balance": (
        lambda: check_balance(NoReturn(0.1), WELL),
        "not in detailed balance: the flow between",
    ),
    "unadjusted": (lambda: check_balance(Langevin(0.1), WELL), "not in detailed balance: the flow between"),
    "moved by its neighbors": (
        lambda: check_chains(SharedNoise(0.1), bowl(2)),
        "replacing chain 0 changes no other",
    ),
    "draws of its own": (
        lambda: check_chains(OwnDraws(0.1), bowl(2)),
        "the same generator gives the same draws",
    ),
    "state on self": (lambda: check_chains(Remembers(0.1), bowl(2)), "a step leaves the sampler as it was"),
    "NaN accepted": (lambda: check_counts(AcceptsNan(0.3, 3)), "the share of steps that moved|NaN proposal"),
    "acceptance made up": (
        lambda: check_counts(Miscounts(0.3, 3)),
        "`accepted` is the share of steps that moved",
    ),
    "NaN not counted": (
        lambda: check_counts(Silent(0.3, 3)),
        "chain 2 sees NaN at every step; nonfinite counts 0",
    ),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_broken_sampler_is_caught(name: str) -> None:
    check, words = SAMPLERS[name]
    with pytest.raises(SamplerContractError, match=words):
        check()


def test_samplers_that_are_right_pass() -> None:
    check_sampler(MALA(0.2))
    check_sampler(Langevin(0.1))


# --- without hypothesis, without CUDA, without anything ---------------------------------------------

BARE = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in {blocked!r} else self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""


def bare(code: str, *blocked: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter in which some packages cannot be imported."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BARE.format(blocked=set(blocked)) + code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_strategies_without_hypothesis_say_what_to_install() -> None:
    ran = bare("import ebm.testing\nprint('checks are here')\nimport ebm.testing.strategies", "hypothesis")
    assert ran.stdout == "checks are here\n"
    assert "hypothesis, which is not installed: pip install hypothesis" in ran.stderr


def test_gpu_check_needs_torch_and_numpy_alone() -> None:
    others = ("hypothesis", "matplotlib", "numba", "pytest", "safetensors", "scipy", "sklearn", "tqdm")
    code = "from ebm.testing.gpu_check import main\nsys.exit(main(['--device', 'cpu', '--only', 'energy L']))"
    ran = bare(code, *others)
    assert ran.returncode == 0, ran.stderr
    assert "ok    energy L1" in ran.stdout and "all hold" in ran.stdout


def test_gpu_check_reports_failures_in_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any) -> None:
        raise EnergyContractError("row 0 differs")

    monkeypatch.setattr("ebm.testing.gpu_check.check_energy_on", fails)
    assert main(["--device", "cpu", "--only", "energy Ring"]) == 1
    printed = capsys.readouterr().out
    assert (
        "FAIL  energy Ring: EnergyContractError: row 0 differs" in printed
        and "1 failed: energy Ring" in printed
    )


def test_gpu_check_without_a_device_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main([]) == 0
    assert "no CUDA device" in capsys.readouterr().out


@pytest.mark.cuda
def test_the_contracts_hold_on_cuda() -> None:
    assert main(["--device", "cuda"]) == 0
