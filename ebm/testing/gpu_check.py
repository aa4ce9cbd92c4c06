"""The contracts on CUDA: `python -m ebm.testing.gpu_check`, with no package but torch and numpy.

    every energy, minimizer and sampler on its list, on the device        the whole contract
    E(v) and argmin E on the device = those on the CPU                    to rounding, and to the solve's test
    L(Z) and ∂L/∂Z of every criterion on the device = those on the CPU    to rounding
    worlds there = here; agents there reach goals and repeat themselves   to rounding

Prints a line for each; the exit code is 0 if all hold, and also where there is no CUDA device (which it
says).
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch

from ebm.infer.method import Method
from ebm.testing.acting import check_planner_on, check_world_on
from ebm.testing.chains import check_chains, check_counts
from ebm.testing.criterion import SEED, CriterionMember
from ebm.testing.criterion_list import criteria
from ebm.testing.discrete import check_holes
from ebm.testing.energy import check_energy
from ebm.testing.energy_list import EnergyMember, energies
from ebm.testing.examples import converted, copied, evaluate, is_random
from ebm.testing.minimizer import check_minimizer
from ebm.testing.minimizer_list import minimizers
from ebm.testing.moments import check_balance, check_moments
from ebm.testing.neighbors import is_stochastic
from ebm.testing.planner_list import planners
from ebm.testing.planner_list import problems as planning_problems
from ebm.testing.posed import Posed, as_dict
from ebm.testing.sampler_list import SamplerMember, samplers
from ebm.testing.solutions import check_reaches, check_report
from ebm.testing.verdict import (
    CriterionContractError,
    EnergyContractError,
    MinimizerContractError,
    require_equal,
)
from ebm.testing.world_list import worlds

Check = tuple[str, Callable[[], None]]

SOLVED = 1e-6  # how far two solutions may be apart that are right to their tests
DROPPED = 1e-9  # of a neighbor's influence where kernels sum in another order for another number of rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all checks on a device and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m ebm.testing.gpu_check", description="The contracts on CUDA."
    )
    parser.add_argument("--device", default="cuda", help="where to run them (default: cuda)")
    parser.add_argument("--only", default="", help="run the checks whose line contains this")
    options = parser.parse_args(arguments)
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print(f"no CUDA device: torch {torch.__version__} sees none here, so nothing was checked.")
        return 0
    device = torch.device(options.device)
    print(f"torch {torch.__version__}, {_named(device)}")
    failed = [name for name, check in all_checks(device) if options.only in name and not _passes(name, check)]
    print(f"{len(failed)} failed: {', '.join(failed)}" if failed else "all hold")
    return 1 if failed else 0


def all_checks(device: torch.device) -> Iterator[Check]:
    """The name and the function of every check."""
    for name, energy in energies().items():
        yield f"energy {name}", partial(check_energy_on, device, energy)
    minimizers_there, problems_here = minimizers(device), minimizers()
    for name, member in minimizers_there.items():
        tolerance = member.tolerance if device.type == "cpu" else max(member.tolerance, DROPPED)
        for problem, here in zip(member.problems, problems_here[name].problems, strict=True):
            there = problem.to(device=device)
            yield (
                f"minimizer {name} on {here}",
                partial(
                    check_minimizer,
                    member.method,
                    [there],
                    tolerance=tolerance,
                    device=device,
                    bowls=member.bowls,
                ),
            )
            if not is_stochastic(problems_here[name].method, here):
                agree = partial(check_solutions_agree, problems_here[name].method, here, member.method, there)
                yield f"minimizer {name} on {here}, here and there", agree
        for problem in member.reaches:
            yield (
                f"minimizer {name} reaches {problem}",
                partial(_reaches, member.method, problem.to(device=device)),
            )
    for name, criterion in criteria().items():
        yield f"criterion {name}", partial(check_criterion_on, device, criterion)
    for name, sampler in samplers().items():
        yield f"sampler {name}", partial(check_sampler_on, device, sampler)
    for name, world in worlds().items():
        yield f"world {name}", partial(check_world_on, device, world)
    for name, make in planners().items():
        for where, plane in planning_problems().items():
            yield f"planner {name} in {where}", partial(check_planner_on, device, make, plane)


def check_energy_on(device: torch.device, member: EnergyMember) -> None:
    """The contract of an energy on a device, and that it has there the values that it has here."""
    energy, example = copied(member.energy, device=device), converted(member.example, device=device)
    check_energy(energy, example, bitwise=member.bitwise)
    if not is_random(member.energy, member.example):
        here, there = evaluate(member.energy, member.example), evaluate(energy, example)
        require_equal(
            EnergyContractError, there.cpu(), here, f"the values on {device} are those on the CPU", 1e-11
        )


def check_criterion_on(device: torch.device, member: CriterionMember) -> None:
    """Value and gradients of a criterion on a device are those on the CPU, in both precisions."""
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 10 * member.single)):
        found = []
        for home in (torch.device("cpu"), device):
            codes = [z.detach().to(home, dtype).requires_grad_() for z in member.codes]
            criterion = copy.deepcopy(member.criterion).to(home, dtype)
            output = criterion(*codes, generator=torch.Generator().manual_seed(SEED))
            output.loss.backward()
            gradients = {f"the gradient of {i}": z.grad for i, z in enumerate(codes) if z.grad is not None}
            found.append({"the loss": output.loss.detach()[None], **gradients})
        for name, expected in found[0].items():
            claim = f"{name} in {dtype} on {device} is that on the CPU"
            require_equal(CriterionContractError, found[1][name].cpu(), expected, claim, tolerance)


def check_solutions_agree(method_here: Method, here: Posed, method_there: Method, there: Posed) -> None:
    """A deterministic method finds on a device what it finds here."""
    expected, came = here.solve(method_here), there.solve(method_there)
    tolerance = max(SOLVED, 2 * here.reach)
    for name, value in as_dict(expected.value).items():
        claim = f"the solution on {came.energy.device} is the one on the CPU ({name})"
        require_equal(MinimizerContractError, as_dict(came.value)[name].cpu(), value, claim, tolerance)


def check_sampler_on(device: torch.device, member: SamplerMember) -> None:
    """The contract of a sampler on a device."""
    for problem in member.walks():
        check_chains(member.sampler, problem.to(device=device))
    for problem in member.pierced():
        check_holes(member.sampler, problem.to(device=device))
    if member.any_shape and not member.problems:
        check_counts(member.sampler, device=device)
    for energy in member.targets:
        target = copied(energy, device=device)
        check_moments(member.sampler, target, steps=member.steps)
        if member.reversible:
            check_balance(member.sampler, target)


def _reaches(method: Method, problem: Posed) -> None:
    check_reaches(method, problem)
    check_report(method, problem)


def _named(device: torch.device) -> str:
    return f"{torch.cuda.get_device_name(device)} ({device})" if device.type == "cuda" else str(device)


def _passes(name: str, check: Callable[[], None]) -> bool:
    began = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check()
    except Exception as problem:
        print(f"FAIL  {name}: {type(problem).__name__}: {problem}")
        if not isinstance(problem, AssertionError):
            traceback.print_exc()
        return False
    print(f"ok    {name} ({time.perf_counter() - began:.1f} s)", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
