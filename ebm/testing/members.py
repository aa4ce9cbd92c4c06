"""The lists: every energy and every method of this package, each with what it is held to.

A new member is put on its list, one line, and inherits the whole contract, in the project's tests and on CUDA
(`python -m ebm.testing.gpu_check`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ebm.choices import Choices
from ebm.energy import Energy
from ebm.function import energy
from ebm.infer.cem import CEM
from ebm.infer.dynamic_programming import DynamicProgramming
from ebm.infer.enumerate import Enumerate
from ebm.infer.gradient import Armijo, GradientDescent, Momentum, Nesterov
from ebm.infer.method import Method
from ebm.infer.starts import Zeros
from ebm.latent import min_over
from ebm.marginal import marginal_over
from ebm.nodes import Finite, Grid, Importance
from ebm.targets.ackley import Ackley
from ebm.targets.banana import Banana
from ebm.targets.double_well import DoubleWell
from ebm.targets.ellipse import Ellipse
from ebm.targets.funnel import Funnel
from ebm.targets.gaussian import Gaussian
from ebm.targets.himmelblau import Himmelblau
from ebm.targets.mixture import Mixture
from ebm.targets.rastrigin import Rastrigin
from ebm.targets.ring import Ring
from ebm.targets.rosenbrock import Rosenbrock
from ebm.testing.posed import Bowl, Posed, Springs, bowl, nearest, springs, tagging, target


@dataclass(frozen=True)
class EnergyMember:
    """An energy with a value for each variable; `bitwise` as in `check_rows`."""

    energy: Energy
    example: dict[str, Any]
    bitwise: bool = True


@dataclass(frozen=True)
class MinimizerMember:
    """A minimizer with the problems that it is checked on in full, and more that it has to reach the answer of."""

    method: Method
    problems: Sequence[Posed]
    reaches: Sequence[Posed] = field(default_factory=list)
    tolerance: float = 0.0


def randn(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers in float64, the same for everyone."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def network(seed: int = 0) -> nn.Module:
    """A small smooth network (B, 2) -> (B, 2) in float64, the same for everyone."""
    layers = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=torch.float64, generator=generator) / 2)
    return layers


def energies() -> dict[str, EnergyMember]:
    """Every energy of the package, and every way to make one of others."""
    y, z = randn(4, 2), randn(4, 3, seed=1)
    spread = torch.tensor([[1.0, 0.5], [0.5, 2.0]], dtype=torch.float64)
    targets: list[Energy] = [
        Ackley(),
        Banana(),
        DoubleWell(),
        Funnel(),
        Gaussian(y[0], spread),
        Himmelblau(),
        Mixture.on_circle(dtype=torch.float64),
        Rastrigin(),
        Ring(),
        Rosenbrock(),
    ]
    members = {type(e).__name__: EnergyMember(e.double(), {"y": y}) for e in targets}
    members["Ellipse"] = EnergyMember(Ellipse().double(), {"y": y, "z": z[:, :1]})
    tied = {"y": y, "z": z, "center": randn(4, 2, seed=2)}
    members["Springs"] = EnergyMember(Springs(), tied)
    for shape in ((), (3,), (2, 3)):
        example = {n: randn(4, *shape, seed=i).abs() for i, n in enumerate(("y", "center", "depth"))}
        members[f"Bowl {shape}"] = EnergyMember(Bowl(), example)
    encoded = Springs().compose(center=(network(), "x"))
    members["composed"] = EnergyMember(encoded, {"y": y, "z": z, "x": randn(4, 2, seed=3)})
    members["sum"] = EnergyMember(
        0.5 * DoubleWell().double() + encoded.named("code") - 0.1 * Gaussian(y[0]), {"y": y, "z": z, "x": tied["center"]}
    )
    members["given early"] = EnergyMember(Springs().given(center=tied["center"]), {"y": y, "z": z})
    members["picked"] = EnergyMember(picked, {"y": y, "which": torch.tensor([0, 1, 0, 1]), "pair": (z, z.abs())})
    descent = GradientDescent(0.9)
    members["min_over"] = EnergyMember(min_over(Springs(), "z", descent, Zeros(3), tol=1e-12), tied_without_z(tied), False)
    for how in ("implicit", "unroll"):
        free = min_over(Springs(), "z", descent, Zeros(3), tol=1e-12, max_steps=400, differentiate=how)
        members[f"min_over {how}"] = EnergyMember(free, tied_without_z(tied), False)
    narrow = {"y": y, "z": z[:, :1], "center": tied["center"]}
    by = {
        "finite": Finite(randn(5, 1, seed=4)),
        "grid": Grid(-3.0, 3.0, 20),
        "importance": Importance(6, torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)),
    }
    for name, nodes in by.items():
        members[f"marginal_over {name}"] = EnergyMember(marginal_over(Springs(), "z", 1.5, nodes), tied_without_z(narrow))
    return members


def tied_without_z(example: dict[str, Tensor]) -> dict[str, Tensor]:
    """The variables that are left once z is minimized or marginalized away."""
    return {name: value for name, value in example.items() if name != "z"}


@energy
def picked(y: Tensor, which: Tensor, pair: tuple[Tensor, Tensor]) -> Tensor:
    """An energy that is given integers, and a tuple of tensors."""
    chosen = y.gather(1, which.unsqueeze(1)).squeeze(1)
    return (chosen - pair[0].sum(1)).square() + (pair[1] * chosen.unsqueeze(1)).square().sum(1)


def everywhere(**settings: Any) -> list[Posed]:
    """Bowls of shapes (B,), (B, 4), (B, 2, 3), and two variables at once."""
    return [bowl(**settings), bowl(4, **settings), bowl(2, 3, **settings), springs(**settings)]


def minimizers() -> dict[str, MinimizerMember]:
    """Every minimizer of the package, with the problems that suit it."""
    around = 0.5 * randn(4, 2)
    wells = target(DoubleWell().double(), around + 0.1)
    round_gaussian = target(Gaussian(around[0], torch.eye(2, dtype=torch.float64)), 3 * around)
    hills = target(Himmelblau().double(), 3 * around, reach=1e-4, max_steps=20000)
    ring = target(Ring().double(), 2 * around + 1, reach=1e-4)
    few = {"max_steps": 150, "tol": 1e-6}
    many_wells = target(Rastrigin().double(), 2 * around, reach=1e-3, **few)
    members = {
        "GradientDescent": MinimizerMember(GradientDescent(0.4), everywhere(), [round_gaussian]),
        "GradientDescent, small": MinimizerMember(GradientDescent(0.01), [], [wells, hills, ring]),
        "GradientDescent, a step for each row": MinimizerMember(
            GradientDescent(torch.linspace(0.2, 0.45, 4, dtype=torch.float64)), [], everywhere()
        ),
        "Armijo": MinimizerMember(Armijo(), everywhere(), [round_gaussian, wells, hills, ring]),
        "Momentum": MinimizerMember(Momentum(0.2, 0.5), everywhere(), [round_gaussian]),
        "Nesterov": MinimizerMember(Nesterov(0.4), everywhere(), [round_gaussian]),
        "CEM": MinimizerMember(CEM(400, 40, std=2.0), everywhere(**few), [wells, many_wells]),
        "Enumerate": MinimizerMember(Enumerate(), [tagging()]),
        "Enumerate, given values": MinimizerMember(Enumerate(randn(50, 2, seed=7)), [nearest(randn(50, 2, seed=7))]),
        "DynamicProgramming": MinimizerMember(DynamicProgramming(), [tagging(), tagging(choices=2, length=5)]),
    }
    return members
