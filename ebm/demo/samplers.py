"""Part three: sampling. An energy is a landscape, and p ∝ exp(-E) says how often each place is visited.

Langevin   y ← y - ε ∇E(y) + √(2ε) ξ
MALA       the same step, accepted or rejected such that p is met exactly
HMC        a ball that rolls without friction for a while, then accepted or rejected
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

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
from ebm.solution import one_tensor
from ebm.targets import Mixture, Ring
from ebm.targets.target import Target

FORMULA = "<i>p</i>(<i>y</i>) ∝ exp(−<i>E</i>(<i>y</i>))"
CHAINS, BURN_IN, SHOWN = 64, 400, 120  # gradients to forget the start with, and of the path that is drawn
COLORS = {"Langevin": VERMILION, "MALA": GREEN, "HMC": BLUE}

Targets = dict[str, Target]


@dataclass(frozen=True)
class Walk:
    """What one sampler did on one target."""

    path: Tensor  # of one chain, from the start, (steps, 2)
    draws: Tensor  # (N, B, 2)
    numbers: dict[str, Any]


Walks = dict[str, dict[str, Walk]]


def samplers_part(part: Part) -> None:
    """Sample two landscapes with three samplers, with equal work, and hold the results to exact answers."""
    part.introduce(
        "Walking through a landscape",
        FORMULA,
        "Minimizing finds the bottom of a valley. Sampling wanders through the landscape such that every "
        "place is visited as often as exp(−E) says. Three samplers do it, all from one starting point "
        "and with equally many gradients of the energy.",
        "Langevin dynamics takes a step downhill and adds noise; it is simple, and a little wrong: the "
        "larger its steps the more it blurs. MALA makes the same step, then accepts or rejects it, which "
        "makes it exact. Hamiltonian Monte Carlo (HMC) lets a ball roll for several steps before it "
        "decides, so it gets farther.",
    )
    gradients = 1000 if part.quick else 4000
    places: dict[str, tuple[Target, Sequence[Sampler]]] = {
        "a ring": (Ring(2.0, 0.25), (Langevin(0.06), MALA(0.06), HMC(0.3, 10))),
        "eight modes": (Mixture.on_circle(8, 2.5, 0.45), (Langevin(0.15), MALA(0.15), HMC(0.5, 6))),
    }
    walks: Walks = {}
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
    show_truth(part, targets, walks)
    add_numbers(part, walks)


def walk(target: Target, method: Sampler, gradients: int, exact: float, generator: torch.Generator) -> Walk:
    """64 chains from one minimum; their draws, and how true they are."""
    start = target.minima[:1].expand(CHAINS, 2).contiguous()
    each = method.gradients
    steps = (gradients + BURN_IN) // each
    samples = sample(target, start, method, num_samples=steps, generator=generator)
    every = one_tensor(samples.value)
    draws = every[BURN_IN // each :]
    energies = energies_of(target, samples)[BURN_IN // each :].double()
    deviation = float((energies.var() / ess(energies, "mean")).sqrt())
    exact_variance = cast(Tensor, target.covariance).diagonal().mean()
    variance = float(draws.flatten(0, 1).var(0).mean() / exact_variance)
    effective = float(ess(draws.double()).mean())
    numbers: dict[str, Any] = {
        "accepted": float(samples.accepted.mean()),
        "gradients a chain": float(gradients),
        "effective samples per 1000 gradients": effective * 1000 / (gradients * CHAINS),
        "mean energy": float(energies.mean()),
        "its standard error": deviation,
        "mean energy off by, in standard errors": (float(energies.mean()) - exact) / deviation,
        "mean variance over exact": variance,
    }
    return Walk(torch.cat([start[:1], every[: SHOWN // each, 0]]), draws, numbers)


def mean_energy(target: Target) -> float:
    """⟨E⟩ by the trapezoid rule, which converges exponentially for what vanishes at the edge."""
    x0, x1, y0, y1 = target.extent
    wide = torch.linspace(2 * x0, 2 * x1, 1601, dtype=torch.float64)
    high = torch.linspace(2 * y0, 2 * y1, 1601, dtype=torch.float64)
    points = torch.cartesian_prod(wide, high).float()
    energy = target(y=points).double()
    weight = (-energy).exp()
    return float((weight * energy).sum() / weight.sum())


def show_landscapes(part: Part, targets: Targets, walks: Walks) -> None:
    """Draws and one path on each landscape, a column a sampler."""

    def draw(figure: Figure) -> None:
        grid = figure.subplots(2, 3)
        for row, (place, target) in zip(grid, targets.items(), strict=True):
            for axes, (name, each) in zip(row, walks[place].items(), strict=True):
                landscape(target, "y", axes, target.extent, ceiling=target.minimum + 12, colorbar=False)
                points = each.draws.flatten(0, 1)
                points = points[torch.linspace(0, len(points) - 1, 1500).long()]
                axes.plot(*points.T.numpy(), ".", color="white", markersize=2.2, alpha=0.5)
                axes.plot(*each.path.T.numpy(), "-", color="white", linewidth=2.4, alpha=0.7)
                axes.plot(*each.path.T.numpy(), "-", color=COLORS[name], linewidth=1.4)
                axes.plot(*each.path[0].numpy(), "o", color="white", markeredgecolor="black", markersize=7)
                axes.set(xticks=[], yticks=[], xlabel="", ylabel="", aspect="equal")
                axes.set_title(f"{name} on {place}", fontsize=11.5)
                for spine in axes.spines.values():
                    spine.set_visible(False)

    caption = (
        f"Draws of {CHAINS} chains (white dots) and the way that one of them went with its first {SHOWN} "
        "gradients (colored), on two landscapes: a ring-shaped valley and eight separate pits. Dark is "
        "low energy. All chains start at the white circle. Langevin's cloud is too wide; the others fit "
        "their valleys."
    )
    alt = "Six maps of energy with clouds of samples and the path of one chain; Langevin's clouds are widest."
    part.add(draw, (10.4, 7.2), Picture("samplers-landscapes.png", "Three ways of walking", caption, alt))


def show_truth(part: Part, targets: Targets, walks: Walks) -> None:
    """The distance from the center on the ring, and the share of draws by mode, beside the exact answers."""
    ring, modes = targets.values()
    near, far = 0.8, 3.2
    radius = torch.linspace(near, far, 400)
    along = torch.stack([radius, torch.zeros_like(radius)], 1)
    density = 2 * torch.pi * radius * (-ring(y=along) - (ring.log_z or 0.0)).exp()
    shares: dict[str, Tensor] = {}
    for name, each in walks["eight modes"].items():
        mode = torch.cdist(each.draws.flatten(0, 1), modes.minima).argmin(1)
        shares[name] = mode.bincount(minlength=8) / len(mode)
        part.numbers["eight modes"][name]["share of draws by mode"] = shares[name].tolist()

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        for name, each in walks["a ring"].items():
            lengths = each.draws.flatten(0, 1).norm(dim=1).numpy()
            bins = {"bins": 60, "range": (near, far), "density": True, "histtype": "step"}
            left.hist(lengths, color=COLORS[name], label=name, **bins)
        left.plot(radius, density, color="black", linewidth=1, linestyle=(0, (3, 2)), label="exact")
        left.set(title="on the ring", xlabel="distance from the center", ylabel="density", xlim=(near, far))
        left.legend()
        for i, (name, share) in enumerate(shares.items()):
            place = torch.arange(8) + 0.27 * (i - 1)
            right.bar(place.numpy(), 100 * share.numpy(), width=0.25, color=COLORS[name], label=name)
        right.axhline(12.5, color="black", linewidth=1, linestyle=(0, (3, 2)))
        right.set(title="in the eight modes", xlabel="mode, counted from the start", ylabel="% of draws")
        right.set_xticks(range(8), [str(i) for i in range(1, 9)])

    caption = (
        "Held to exact answers (dashed). Left, how far draws on the ring are from its center: MALA and "
        "HMC cannot be told from the exact curve, Langevin spreads too wide. Right, the share of draws "
        "in each of the eight equal modes. All chains start in the first mode; whoever has crossed the "
        "ridges often enough has forgotten it."
    )
    alt = "Left, radial densities, Langevin's too wide. Right, bars near 12.5 percent for eight modes."
    part.add(draw, (10.4, 3.9), Picture("samplers-truth.png", "Right and nearly right", caption, alt))


def add_numbers(part: Part, walks: Walks) -> None:
    """The samplers side by side as a table."""
    header = ("", "accepted", "worth per 1000 gradients", "mean energy", "exact", "off by", "variance")
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
        "Equal work, and exact answers to compare with: the mean energy by quadrature, the variance of y "
        "in closed form (100 % is exact). Worth: how many independent draws 1000 gradients are worth "
        "(effective sample size). Beyond ± 3 σ it is no accident: Langevin alone is off, and more so "
        "with larger steps, in exchange for the speed."
    )
    part.add_table("How far, and how true", caption, header, rows)
