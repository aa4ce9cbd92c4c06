"""Energy traces: the energy along each chain, the first thing to look at after sampling.

    drift = (mean of E over the last half - over the first tenth) / standard error
    standard error² = variance · τ · (1 / draws of the half + 1 / draws of the tenth),    τ = draws / ESS

In equilibrium the trace of the energy is stationary: the drift is about a standard normal number, and all
chains have the same mean. A drift of -10 says that a chain came rolling downhill: the burn-in was too short.
Variance and τ are those of the last half, which is closer to equilibrium.

Reference: Geweke (1992), "Evaluating the accuracy of sampling-based approaches to the calculation of
posterior moments", for the test and its shares, with a spectral estimate in place of the effective sample
size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.measure.ess import ess
from ebm.measure.rhat import rhat
from ebm.solution import Samples

DRIFT = 4.0  # standard errors: one chain in 16,000 exceeds it by chance
ENOUGH = 400  # effective draws, and R-hat below 1.01: what Vehtari et al. (2021) ask for
AGREE = 1.01


@dataclass(frozen=True)
class EnergyTrace:
    """What the energies of B chains tell; print it for a table and a verdict.

    Attributes:
        mean: of each chain, (B,).
        std: of each chain, (B,).
        lowest: energy that each chain has seen, (B,).
        drift: from the first tenth to the last half, in standard errors, (B,); 0 where nothing changes.
        ess: effective draws of each chain, (B,); NaN where nothing changes.
        total: effective draws of all chains together, a 0-dim tensor.
        rhat: whether the chains agree, a 0-dim tensor.
    """

    mean: Tensor
    std: Tensor
    lowest: Tensor
    drift: Tensor
    ess: Tensor
    total: Tensor
    rhat: Tensor

    @property
    def findings(self) -> list[str]:
        """What is wrong and what to do, in words; empty if nothing is."""
        frozen, drifting = int((self.std == 0).sum()), int((self.drift.abs() > DRIFT).sum())
        found = []
        if frozen:
            found.append(f"{frozen} chains never moved: take a smaller step_size")
        if drifting:
            found.append(f"{drifting} chains drift (|drift| > {DRIFT:g}): take a longer burn_in")
        if not bool(self.rhat < AGREE):
            found.append(f"the chains disagree (R-hat {float(self.rhat):.3f} > {AGREE}): take more steps")
        if not bool(self.total >= ENOUGH):
            found.append(f"{float(self.total):.0f} effective draws, fewer than {ENOUGH}: take more steps")
        return found

    def __str__(self) -> str:
        names, shown = ("mean", "std", "lowest", "drift", "ess"), min(len(self.mean), 10)
        lines = ["chain" + "".join(f"{name:>12}" for name in names)]
        for row in range(shown):
            lines.append(f"{row:>5}" + "".join(f"{float(getattr(self, name)[row]):>12.4g}" for name in names))
        if shown < len(self.mean):
            lines.append(f"  ... and {len(self.mean) - shown} more")
        lines.append(f"all chains: {float(self.total):.0f} effective draws, R-hat {float(self.rhat):.3f}")
        return "\n".join(lines + [f"- {finding}" for finding in self.findings])


def energy_trace(energies: Tensor) -> EnergyTrace:
    """Summarize the energies along B chains.

    Args:
        energies: (N, B), N >= 8 draws of B chains, such as `Samples.energy` or what `energies_of` returns.

    Raises:
        TypeError, ValueError: for another shape, or energies that are NaN or infinite.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> settled = torch.randn(400, 4, generator=g)
        >>> energy_trace(settled).findings
        []
        >>> falling = settled + 20 * torch.exp(-torch.arange(400) / 10).unsqueeze(1)
        >>> energy_trace(falling).findings[0]
        '4 chains drift (|drift| > 4): take a longer burn_in'
    """
    if energies.ndim != 2 or len(energies) < 8:
        raise ValueError(f"energies are (N, B), N >= 8 draws of B chains; got {tuple(energies.shape)}.")
    early, late = energies[: max(1, len(energies) // 10)], energies[-(len(energies) // 2) :]
    tau = len(late) / ess(late.unsqueeze(1), "mean")  # (N, 1, B): every chain a scalar of its own
    error = (late.var(0) * tau * (1 / len(late) + 1 / len(early))).sqrt()
    drift = (late.mean(0) - early.mean(0)) / error.nan_to_num(0.0)  # a half that never changes has no error
    still = (energies == energies[0]).all(0)
    return EnergyTrace(
        mean=energies.mean(0),
        std=energies.std(0).masked_fill(still, 0.0),
        lowest=energies.amin(0),
        drift=drift.masked_fill(still, 0.0),
        ess=ess(energies.unsqueeze(1), "mean"),
        total=ess(energies),
        rhat=rhat(energies),
    )


def energies_of(energy: Energy, samples: Samples, given: Mapping[str, Any] | None = None) -> Tensor:
    """The energy of every draw, (N, B), also for a sampler that does not know it (`Langevin`).

    Args:
        energy: the energy that was sampled.
        samples: its draws.
        given: the values of all other variables, as they were given to `sample`.
    """
    if samples.energy is not None:
        return samples.energy
    given, values = dict(given or {}), samples.value
    if isinstance(values, Tensor):
        values = {next(name for name in energy.variables if name not in given): values}
    draws = [dict(zip(values, parts, strict=True)) for parts in zip(*values.values(), strict=True)]
    bound = energy.bind(given, like=draws[0])
    with torch.no_grad():
        return torch.stack([bound(**draw) for draw in draws])
