"""Improved contrastive divergence: what CD leaves out, the way in which the sampler depends on the model.

    L = ⟨E(y⁺)⟩ - ⟨E(sg y⁻)⟩ + w ⟨E_sg(y⁻)⟩ - w_H ⟨log min_j |y⁻_i - b_j|⟩        sg: no gradient enters

    y⁻ = y_{k-1} - ε ∇E(y_{k-1}) + √(2ε/β) ξ,        differentiated through this last step

CD minimizes the difference of two divergences, KL(data | model) - KL(chains | model), but follows only a part
of its gradient. The missing part teaches the energy to be easy for its sampler: the last step shall lead
downhill (E_sg, whose own weights are held), and away from where other chains b_j are (the nearest-neighbor
estimate of the entropy, but for a constant and the factor D).

Reference: Du, Li, Tenenbaum & Mordatch (2021), "Improved Contrastive Divergence Training of Energy Based
Models", sect. 3; the estimate of the entropy: Kozachenko & Leonenko (1987).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ebm.contrastive.negatives import Negatives
from ebm.contrastive.persistent_contrastive_divergence import PersistentContrastiveDivergence, theirs
from ebm.contrastive.replay_buffer import Drawn, ReplayBuffer
from ebm.energy import Energy
from ebm.infer.langevin import Langevin
from ebm.infer.method import count, positive
from ebm.loss import LossOutput, energy_of
from ebm.parts import evaluating

NEAREST = 1e-12  # two chains at the same point count as so far apart


class ImprovedContrastiveDivergence(PersistentContrastiveDivergence):
    """PCD whose last Langevin step is differentiated: the loss of `PersistentContrastiveDivergence`, and

        w ⟨E_sg(y⁻)⟩ - w_H ⟨log min_j |y⁻_i - b_j|⟩.

    Reports beside the rest "sampler's energy", ⟨E(y⁻)⟩ after the last step, and "log distance", the second
    mean.

    Args:
        step_size: ε of the Langevin sampler.
        buffer: the chains; needs room for `neighbors` besides a batch.
        steps: k >= 1, of which the last is differentiated.
        divergence: w >= 0; 1 in the paper.
        entropy: w_H >= 0; 0.3 in its code.
        neighbors: how many other chains b_j.
        variable, beta, squares, compile: as in `ContrastiveDivergence`; the last step is never compiled.

    Raises:
        ValueError: if a setting is out of range; on a call, if the last step leaves all that is finite.

    Example:
        >>> from ebm.infer.starts import Normal
        >>> from ebm.targets import DoubleWell
        >>> loss = ImprovedContrastiveDivergence(0.01, ReplayBuffer(Normal(1), 200), 5, neighbors=100)
        >>> output = loss(DoubleWell(dim=1), y=torch.ones(64, 1))
        >>> sorted(output.terms)
        ['buffer age', 'energy off data', 'energy on data', 'log distance', "sampler's energy"]
    """

    sampler: Langevin

    def __init__(
        self,
        step_size: float,
        buffer: ReplayBuffer,
        steps: int = 1,
        *,
        divergence: float = 1.0,
        entropy: float = 0.3,
        neighbors: int = 100,
        variable: str = "y",
        beta: float = 1.0,
        squares: float = 0.0,
        compile: bool = False,
    ):
        super().__init__(
            Langevin(step_size),
            buffer,
            steps,
            variable=variable,
            beta=beta,
            squares=squares,
            compile=compile,
        )
        positive("divergence", divergence, zero=True)
        positive("entropy", entropy, zero=True)
        self.step_size, self.divergence, self.entropy = float(step_size), float(divergence), float(entropy)
        self.neighbors = count("neighbors", neighbors)

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        y, given = self.take_data(energy, data)
        every = self.take(y, given, generator, more=self.neighbors)
        kept = {name: rows[: len(y)] for name, rows in every.kept.items()}
        drawn = Drawn(every.slots[: len(y)], every.points[: len(y)], every.age[: len(y)], kept)
        given = theirs(given, drawn)
        before, others = every.points.to(y).split([len(y), self.neighbors])
        if self.steps > 1:
            before = self.chains(energy, before, given, generator, self.steps - 1).value
        y_last, slope, value = self._last_step(energy, before, given, generator)
        self._refuse_lost(y_last)
        apart = log_distance(y_last, others)
        output = self.settle(energy, data, drawn, Negatives(y_last.detach(), None), generator)
        # (sg ∇E(y⁻)) · y⁻ has the gradient of E_sg(y⁻)
        downhill = (slope * y_last).flatten(1).sum(1).mean()
        loss = output.loss + self.divergence * downhill - self.entropy * apart
        loss = loss + self.divergence * (value - downhill).detach()
        terms = {"sampler's energy": value, "log distance": apart.detach()}
        return LossOutput(loss, {**output.terms, **terms})

    def _refuse_lost(self, y: Tensor) -> None:
        """Keep NaN and infinity out of the buffer, from which they would never leave."""
        lost = ~y.detach().flatten(1).isfinite().all(1)
        if bool(lost.any()):
            raise ValueError(
                f"the last step of Langevin led {int(lost.sum())} of {len(y)} chains to NaN or infinity (row "
                f"{int(lost.nonzero()[0])} first). Take a smaller step_size; it is {self.step_size:g}."
            )

    def _last_step(
        self, energy: Energy, before: Tensor, given: dict[str, Any], generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One step of Langevin with its graph, and there ∇E, like y, and ⟨E⟩, both detached."""
        with evaluating(energy), torch.enable_grad():
            u = before.detach().requires_grad_()
            total = energy_of(energy, {**given, self.variable: u}, generator).sum()
            (slope,) = torch.autograd.grad(total, u, create_graph=True)
            noise = torch.empty_like(before).normal_(generator=generator)
            after = before - self.step_size * slope + math.sqrt(2 * self.step_size / self.beta) * noise
            v = after.detach().requires_grad_()
            reached = energy_of(energy, {**given, self.variable: v}, generator)
            (downhill,) = torch.autograd.grad(reached.sum(), v)
        return after, downhill, reached.detach().mean()


def log_distance(y: Tensor, others: Tensor) -> Tensor:
    """⟨log min_j |y_i - b_j|⟩ of points (B, *shape) to others (N, *shape); 0-dimensional.

    Example:
        >>> log_distance(torch.tensor([[0.0], [3.0]]), torch.tensor([[1.0], [-4.0]]))  # (log 1 + log 2) / 2
        tensor(0.3466)
    """
    far = torch.cdist(y.flatten(1), others.flatten(1), compute_mode="donot_use_mm_for_euclid_dist")
    return far.amin(1).clamp(min=NEAREST).log().mean()
