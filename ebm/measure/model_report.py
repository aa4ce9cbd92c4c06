"""The collapse report of a model over (y, z): what its latent says, and what that leaves of its energy.

    gap    = β (⟨E(y, z')⟩ - ⟨E(y, z*)⟩)     z' the latent of another row: what z is good for, in nats
    bits   = H(z*)                             of a discrete z
           = ½ Σ_j log₂(1 + β r_j)             r_j = ⟨E(y, z* + s_j e_j) + E(y, z* - s_j e_j) - 2 E(y, z*)⟩

s_j is the standard deviation of z_j: bits tell how many steps of it the energy can see, as the capacity of a
channel whose noise is p(z | y) ∝ exp(-βE); exactly, if all is linear and Gaussian. With the report of the
free energy there are six ways to fail:

    flat energy                 F is the same everywhere, and z changes nothing
    constant code               every y has the same z
    latent ignored              z differs and changes nothing: gap < 1 nat
    latent carries everything   z finds an explanation of any y: F is flat in the data's box, or doesn't tell
                                data from other points
    dimensional collapse        z keeps to few directions of its space
    dead codes                  fewer than half of the values of a discrete z are ever chosen

Reference: LeCun (2022), "A Path Towards Autonomous Machine Intelligence", sect. 4.2 to 4.4, for what limits
the latent; Lucas et al. (2019), "Don't Blame the ELBO!", for latents that are ignored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.measure.codes import COMPLETE, DIMENSIONAL, CodeReport, code_report
from ebm.measure.collapse import BLIND, BOX, FLAT, SHUFFLED, CollapseReport, collapse_report
from ebm.solution import Solution

FLAT_ENERGY, CONSTANT, IGNORED = "flat energy", "constant code", "latent ignored"
EVERYTHING, DEAD, ALIVE = "latent carries everything", "dead codes", "alive"
USED = 0.5  # of the values of a discrete latent: fewer are dead codes


class LatentModel(Protocol):
    """What a report needs of a model."""

    @property
    def free_energy(self) -> Energy:
        """F(y)."""

    def infer(self, y: Tensor) -> Solution:
        """z* = argmin_z E(y, z)."""

    def __call__(self, *, y: Tensor, z: Tensor) -> Tensor:
        """E(y, z)."""


@dataclass(frozen=True)
class ModelReport:
    """What `model_report` measured; `print` it for a table.

    Attributes:
        free_energy: the report of F(y).
        gap: what the latents of other rows cost more, in nats.
        bits: what z says, in bits.
        codes: the report of continuous latents; None for discrete ones.
        values, used: of a discrete latent, how many there are and how many were chosen; 0 for continuous.
        perplexity: exp of the entropy of the choices; 0 for continuous.
    """

    free_energy: CollapseReport
    gap: float
    bits: float
    codes: CodeReport | None
    values: int
    used: int
    perplexity: float

    @property
    def verdict(self) -> str:
        """The first that holds of the six in the order of the list above, or "alive"."""
        told = [points.auroc >= BLIND for points in self.free_energy.off_data.values()]
        if self.free_energy.verdict == FLAT_ENERGY and self.gap < FLAT:
            return FLAT_ENERGY
        if (self.values > 1 and self.used == 1) or (self.codes and self.codes.verdict == COMPLETE):
            return CONSTANT
        if self.gap < FLAT and self.values != 1:
            return IGNORED
        if self.flat_in_the_box or not any(told):
            return EVERYTHING
        if self.codes and self.codes.verdict == DIMENSIONAL:
            return DIMENSIONAL
        return DEAD if self.used < USED * self.values else ALIVE

    @property
    def flat_in_the_box(self) -> bool:
        """Whether F varies by less than a nat in the data's box, whatever it does outside."""
        free = self.free_energy
        gaps = [abs(free.beta * free.off_data[name].gap) for name in (BOX, SHUFFLED)]
        return max(free.spread, free.slope, *gaps) < FLAT

    def numbers(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        return {
            "verdict": self.verdict,
            **{name: getattr(self, name) for name in ("gap", "bits", "values", "used", "perplexity")},
            "codes": None if self.codes is None else self.codes.numbers(),
            "free energy": self.free_energy.numbers(),
        }

    def __str__(self) -> str:
        if self.codes is None:
            chosen = f"{self.used} of {self.values} values chosen, perplexity {self.perplexity:.2f}"
        else:
            chosen = f"{self.codes.directions:.1f} of {self.codes.dimensions} directions"
        return "\n".join(
            [
                str(self.free_energy).rsplit("\n", 1)[0],
                f"latent: {chosen}; {self.bits:.2f} bits; another row's costs {self.gap:.3g} nats more",
                f"verdict: {self.verdict}",
            ]
        )


@torch.no_grad()
def model_report(
    model: LatentModel,
    y: Tensor,
    *,
    values: int | None = None,
    beta: float = 1.0,
    points: int = 2000,
    generator: torch.Generator | None = None,
) -> ModelReport:
    """Ask what a model's latent says of data, and whether its free energy tells data from other points.

    Args:
        model: an energy of y and z with `infer(y)` and `free_energy`.
        y: data, (N, *shape), best such as the model was not trained on; N at least 2.
        values: how many values a discrete latent has; if None, `len(model.values)` or the greatest + 1.
        beta: β > 0, the inverse temperature that gives the energy its unit.
        points: how many points off the data to draw for each set.
        generator: source of all randomness.

    Raises:
        ValueError: if there are fewer than two rows, a setting is out of range, or an energy is NaN.

    Example:
        >>> from ebm.regularized import SparseCoding
        >>> g = torch.Generator().manual_seed(0)
        >>> y = torch.randn(500, 1, generator=g) * torch.tensor([[1.0, 0.0]]) + 0.01
        >>> weak, strong = (SparseCoding(torch.eye(2), s) for s in (1e-3, 50.0))
        >>> model_report(weak, y, beta=100, generator=g).verdict, model_report(strong, y, generator=g).verdict
        ('latent carries everything', 'constant code')
    """
    free = collapse_report(model.free_energy, y, beta=beta, points=points, generator=generator)
    z = _one(model.infer(y))
    best = model(y=y, z=z)
    other = torch.randperm(len(y), generator=generator, device=_home(generator, y)).to(y.device)
    other = torch.where(other == torch.arange(len(y), device=y.device), (other + 1) % len(y), other)
    gap = beta * float((model(y=y, z=z[other]) - best).mean())
    chosen = _choices(z)
    if chosen is None:
        bits = _continuous_bits(model, y, z, best, beta)
        return ModelReport(free, gap, bits, code_report(z.flatten(1)), 0, 0, 0.0)
    known = values if values is not None else _values_of(model, z, chosen)
    counts = torch.bincount(chosen, minlength=known).double()
    entropy = float(torch.special.entr(counts / counts.sum()).sum())
    used = int((counts > 0).sum())
    return ModelReport(free, gap, entropy / math.log(2), None, known, used, math.exp(entropy))


def _one(solution: Solution) -> Tensor:
    return solution.value if isinstance(solution.value, Tensor) else next(iter(solution.value.values()))


def _choices(z: Tensor) -> Tensor | None:
    """The index of a discrete latent, (N,): integers, or one-hot vectors; None if z is continuous."""
    if not z.is_floating_point():
        return (
            z.flatten(1)[:, 0] if z.ndim > 1 and z[0].numel() == 1 else z.flatten() if z.ndim == 1 else None
        )
    flat = z.flatten(1) if z.ndim > 1 else z.unsqueeze(1)
    one_hot = flat.shape[1] > 1 and bool(((flat == 0) | (flat == 1)).all()) and bool((flat.sum(1) == 1).all())
    return flat.argmax(1) if one_hot else None


def _values_of(model: LatentModel, z: Tensor, chosen: Tensor) -> int:
    values = getattr(model, "values", None)
    if isinstance(values, Tensor):
        return len(values)
    return z.shape[1] if z.is_floating_point() else int(chosen.max()) + 1


def _continuous_bits(model: LatentModel, y: Tensor, z: Tensor, best: Tensor, beta: float) -> float:
    """½ Σ_j log₂(1 + β r_j), one coordinate moved by its standard deviation at a time."""
    rows, bits = z.flatten(1), 0.0
    for j, step in enumerate(rows.std(0).tolist()):
        rise = -2 * best
        for sign in (1.0, -1.0):
            moved = rows.clone()
            moved[:, j] += sign * step
            rise = rise + model(y=y, z=moved.view_as(z))
        bits += 0.5 * math.log2(1 + beta * max(0.0, float(rise.mean())))
    return bits


def _home(generator: torch.Generator | None, y: Tensor) -> torch.device:
    return y.device if generator is None else generator.device
