"""Part three: sampling. An energy is a landscape, and p ∝ exp(-E) says how often each place is visited.

    Langevin   y ← y - ε ∇E(y) + √(2ε) ξ
    MALA       the same step, accepted or rejected such that p is met exactly
    HMC        a ball that rolls without friction for a while, then accepted or rejected
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from ebm.demo.part import Part, Picture
from ebm.infer import HMC, MALA, Langevin, sample
from ebm.infer.sampler import Sampler
from ebm.measure import energies_of, ess
from ebm.show import landscape
from ebm.show.style import BLUE, GREEN, VERMILION
from ebm.targets import Mixture, Ring
from ebm.targets.target import Target

FORMULA = "<i>p</i>(<i>y</i>) ∝ exp(−<i>E</i>(<i>y</i>))"
CHAINS, BURN_IN, SHOWN = 64, 400, 60  # burn-in in gradients, points of a path in steps
COLORS = {"Langevin": VERMILION, "MALA": GREEN, "HMC": BLUE}


@dataclass(frozen=True)
class Walk:
    """What one sampler did on one target."""

    path: Tensor  # the first steps of one chain, (SHOWN, 2)
    draws: Tensor  # (N, B, 2)
    early: tuple[Tensor, Tensor]  # gradients spent, and the chains' mean distance from where all of them began
    numbers: dict[str, float]


def samplers_part(part: Part) -> None:
    """Sample two landscapes with three samplers, with equal work, and hold the results to exact answers."""
    part.introduce(
        "Walking through a landscape",
        FORMULA,
        "Minimizing finds the bottom of a valley. Sampling wanders through the landscape such that every place is "
        "visited as often as exp(−E) says. Three samplers do it, all from one starting point and with equally many "
        "gradients of the energy.",
        "Langevin dynamics takes a step downhill and adds noise; it is simple, and a little wrong: the larger its "
        "steps the more it blurs. MALA makes the same step, then accepts or rejects it, which makes it exact. "
        "Hamiltonian Monte Carlo (HMC) lets a ball roll for ten steps before it decides, so it gets farther.",
    )
    gradients = 1000 if part.quick else 4000
    places: dict[str, tuple[Target, Sequence[Sampler]]] = {
        "a ring": (Ring(2.0, 0.25), (Langevin(0.06), MALA(0.06), HMC(0.3, 10))),
        "eight modes": (Mixture.on_circle(8, 2.5, 0.45), (Langevin(0.15), MALA(0.15), HMC(0.5, 10))),
    }
    walks: dict[str, dict[str, Walk]] = {}
    with tqdm(total=6, desc="    samplers") as bar:
        for place, (target, methods) in places.items():
            exact = mean_energy(target)
            part.numbers[place] = {"mean energy, exact": exact}
            walks[place] = {}
            for method in methods:
                name = type(method).__name__
                walks[place][name] = walk(target, method, gradients, exact, part.generator())
                part.numbers[place][name] = walks[place][name].numbers
                bar.update()
    targets = {place: target for place, (target, _) in places.items()}
    show_landscapes(part, targets, walks)
    show_early(part, targets, walks)
    add_numbers(part, walks)


def walk(target: Target, method: Sampler, gradients: int, exact: float, generator: torch.Generator) -> Walk:
    """64 chains from one minimum; their draws, and how true they are."""
    start = target.minima[:1].expand(CHAINS, 2).contiguous()
    each = method.gradients
    steps = (gradients + BURN_IN) // each
    samples = sample(target, start, method, num_samples=steps, generator=generator)
    draws = samples.value[BURN_IN // each :]
    energies = energies_of(target, samples)[BURN_IN // each :].double()
    deviation = float((energies.var() / ess(energies, "mean")).sqrt())
    covariance = target.covariance
    variance = float(draws.flatten(0, 1).var(0).mean())
    numbers = {
        "accepted": float(samples.accepted.mean()),
        "gradients a chain": float(gradients),
        "effective samples per 1000 gradients": float(ess(draws.double()).mean()) * 1000 / (gradients * CHAINS),
        "mean energy": float(energies.mean()),
        "its standard error": deviation,
        "mean energy off by, in standard errors": (float(energies.mean()) - exact) / deviation,
        "mean variance over exact": variance / float(covariance.diagonal().mean()),
    }
    distance = (samples.value[: BURN_IN // each] - start).norm(dim=2).mean(1)
    spent = torch.arange(1, len(distance) + 1) * each
    return Walk(samples.value[:SHOWN, 0], draws, (spent, distance), numbers)


def mean_energy(target: Target) -> float:
    """⟨E⟩ by the trapezoid rule, which converges exponentially for what vanishes at the edge."""
    x0, x1, y0, y1 = target.extent
    wide = torch.linspace(2 * x0, 2 * x1, 1601, dtype=torch.float64)
    high = torch.linspace(2 * y0, 2 * y1, 1601, dtype=torch.float64)
    points = torch.cartesian_prod(wide, high).float()
    energy = target(y=points).double()
    weight = (-energy).exp()
    return float((weight * energy).sum() / weight.sum())


def show_landscapes(part: Part, targets: dict[str, Target], walks: dict[str, dict[str, Walk]]) -> None:
    """Draws and one path on each landscape, a column a sampler."""

    def draw(figure: Figure) -> None:
        grid = figure.subplots(2, 3)
        for row, (place, target) in zip(grid, targets.items(), strict=True):
            for axes, (name, each) in zip(row, walks[place].items(), strict=True):
                landscape(target, "y", axes, target.extent, ceiling=target.minimum + 8, colorbar=False)
                points = each.draws.flatten(0, 1)
                points = points[torch.linspace(0, len(points) - 1, 1500).long()]
                axes.plot(*points.T.numpy(), ".", color="white", markersize=2.2, alpha=0.6)
                axes.plot(*each.path.T.numpy(), "-", color=COLORS[name], linewidth=1.3)
                axes.plot(*target.minima[0].numpy(), "o", color="white", markeredgecolor=COLORS[name], markersize=7)
                axes.set(xticks=[], yticks=[], xlabel="", ylabel="", aspect="equal")
                axes.set_title(f"{name} on {place}", fontsize=11.5)

    caption = (
        f"Draws of {CHAINS} chains (white) and the first {SHOWN} steps of one of them (colored), on two landscapes: a "
        f"ring-shaped valley, and eight separate pits. Dark is low energy. All chains start at the white circle. "
        f"Langevin's cloud is too wide; MALA's and HMC's fit the valley. A step of HMC is ten gradients, and takes "
        f"it much farther."
    )
    alt = "Six maps of energy with clouds of samples and the path of a chain; the path of HMC covers most ground."
    part.add(draw, (10.4, 7.2), Picture("samplers-landscapes.png", "Three ways of walking", caption, alt))


def show_early(part: Part, targets: dict[str, Target], walks: dict[str, dict[str, Walk]]) -> None:
    """How fast the chains get away from where they began."""
    settled = {}
    for place, target in targets.items():
        points = target.exact_samples(20_000, part.generator())
        settled[place] = float((points - target.minima[0]).norm(dim=1).mean())

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, 2)
        for axes, (place, each) in zip(panels, walks.items(), strict=True):
            for name, one in each.items():
                axes.plot(*(x.numpy() for x in one.early), color=COLORS[name], label=name)
            axes.axhline(settled[place], color="black", linewidth=0.9, linestyle=(0, (2, 3)))
            axes.set(title=place, xlabel="gradients spent by each chain", ylim=(0, None), xlim=(0, BURN_IN))
            axes.legend(loc="lower right")
        panels[0].set_ylabel("mean distance from the start")

    caption = (
        "The mean distance of the chains from the point where all of them began, against the work. A chain has "
        "forgotten its start when its curve reaches the dotted line, the mean distance of independent draws."
    )
    alt = "Rising curves of distance against gradients; HMC reaches the dotted level first."
    part.add(draw, (10.4, 3.7), Picture("samplers-early.png", "Forgetting the start", caption, alt))


def add_numbers(part: Part, walks: dict[str, dict[str, Walk]]) -> None:
    """The samplers side by side as a table."""
    header = ("", "accepted", "effective samples per 1000 gradients", "mean energy", "exact", "off by", "variance")
    rows = []
    for place, each in walks.items():
        exact = part.numbers[place]["mean energy, exact"]
        for name, one in each.items():
            n = one.numbers
            rows.append(
                (
                    f"{place}, {name}",
                    f"{100 * n['accepted']:.0f} %" if name != "Langevin" else "no test",
                    f"{n['effective samples per 1000 gradients']:.1f}",
                    f"{n['mean energy']:.3f} ± {n['its standard error']:.3f}",
                    f"{exact:.3f}",
                    f"{n['mean energy off by, in standard errors']:+.1f} σ",
                    f"{100 * n['mean variance over exact']:.1f} %",
                )
            )
    caption = (
        "Equal work, and exact answers to compare with: the mean energy by quadrature, the variance of y in closed "
        "form (100 % is exact). An effective sample is worth one independent draw. Beyond ± 3 σ it is no accident: "
        "Langevin alone is off, and more so with larger steps, in exchange for the speed."
    )
    part.add_table("How far, and how true", caption, header, rows)
