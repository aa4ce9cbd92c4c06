"""Latent variables, marginalized: the free energy at inverse temperature β.

    F_β(x, y) = -(1/β) log ∫ exp(-β E(x, y, z)) dμ(z)

μ is the measure that the nodes of `by` stand for: uniform over a set or a box by default (so F_β lies between
the minimum and the maximum over z), or the plain sum or integral. β = ∞ is the minimum over the nodes, 0 the
mean, -∞ the maximum; a negative β is averse to risk.

Reference: LeCun et al. (2006), "A Tutorial on Energy-Based Learning", eq. 7-9; Föllmer & Schied (2002),
entropic risk.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ebm.binder import Binder
from ebm.bound import Bound
from ebm.energy import Energy
from ebm.nodes import Nodes
from ebm.problem import Problem
from ebm.rows import expand


def marginal_over(
    energy: Energy, latent: str, beta: float, by: Nodes, *, max_rows: int | None = None
) -> MarginalOver:
    """The energy of the other variables, with the latent one marginalized: F_β = -(1/β) log ∫ exp(-βE) dμ(z).

    Args:
        energy: an energy of the latent and other variables.
        latent: the name of the latent variable.
        beta: inverse temperature, any real number or ±inf (inf: minimum over the nodes; 0: mean; -inf:
            maximum).
        by: how to integrate: `Finite`, `AllChoices`, `Grid` or `Importance` of `ebm.nodes`.
        max_rows: evaluate at most so many (row, node) pairs at once.

    Example:
        >>> from ebm import energy
        >>> from ebm.nodes import Finite
        >>> @energy
        ... def coin(y, z):
        ...     return ((y - z) ** 2).sum(1)
        >>> free = marginal_over(coin, "z", beta=1.0, by=Finite(torch.tensor([[-1.0], [1.0]])))
        >>> free(y=torch.tensor([[0.0]])), free.posterior(y=torch.tensor([[0.5]])).probability
        (tensor([1.]), tensor([[0.1192, 0.8808]]))
    """
    return MarginalOver(energy, latent, beta, by, max_rows)


@dataclass
class Posterior:
    """p(z_k | x, y) ∝ w_k exp(-β E(x, y, z_k)) on the nodes.

    Attributes:
        nodes: (B, K, *shape).
        probability: (B, K), rows sum to one.
        log_weight: log w_k of the measure, (B, K).
    """

    nodes: Tensor
    probability: Tensor
    log_weight: Tensor

    @property
    def mean(self) -> Tensor:
        """E[z | x, y], (B, *shape)."""
        p = self.probability.view(*self.probability.shape, *(1,) * (self.nodes.ndim - 2))
        return (p * self.nodes).sum(1)

    @property
    def information(self) -> Tensor:
        """KL(p(z | x, y) ‖ μ) in nats, (B,): what z tells, for a normalized measure."""
        return (torch.xlogy(self.probability, self.probability) - self.probability * self.log_weight).sum(1)

    @property
    def effective_sample_size(self) -> Tensor:
        """1 / Σ_k p_k², (B,): for `Importance`, how many of its K draws carry the estimate."""
        return 1.0 / (self.probability**2).sum(1)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n draws a row, (B, n, *shape)."""
        index = torch.multinomial(self.probability, n, replacement=True, generator=generator)
        index = index.view(*index.shape, *(1,) * (self.nodes.ndim - 2)).expand(-1, -1, *self.nodes.shape[2:])
        return self.nodes.gather(1, index)


class MarginalOver(Energy):
    """F_β(...) = -(1/β) log ∫ exp(-β E(..., z)) dμ(z); made by `marginal_over`, which says the rest."""

    def __init__(self, energy: Energy, latent: str, beta: float, by: Nodes, max_rows: int | None = None):
        super().__init__()
        if latent not in energy.variables:
            raise TypeError(
                f"{energy.label} is an energy of {', '.join(energy.variables)}; it has no {latent!r}."
            )
        if not isinstance(by, Nodes):
            raise TypeError(
                f"`by` says how to integrate: Finite, AllChoices, Grid or Importance; got {by!r}."
            )
        if math.isnan(beta) or (beta == 0 and not by.normalized):
            raise ValueError(
                f"beta = {beta} has no free energy here; beta = 0 (the mean) needs a normalized measure."
            )
        self.energy, self.latent, self.beta, self.by, self.max_rows = (
            energy,
            latent,
            float(beta),
            by,
            max_rows,
        )
        self.variables = tuple(v for v in energy.variables if v != latent)
        self.options = energy.options

    @property
    def label(self) -> str:
        return f"{self.energy.label} marginalized over {self.latent}"

    def prepare(self, binder: Binder, given: Mapping[str, Any]) -> dict[str, Any]:
        """Bind the inner energy, and draw random nodes, once."""
        like = (
            {}
            if binder.batch is None
            else {"rows": torch.empty(binder.batch, 0, dtype=binder.dtype, device=binder.device)}
        )
        return {"_bound": self.energy.bind(given, binder.generator, like), "_drawn": self.by.draw(binder)}

    def forward(self, *, _bound: Bound, _drawn: Tensor | None, **variables: Any) -> Tensor:
        energies, _, log_weight = self.on_nodes(_bound, _drawn, variables)
        if self.beta == math.inf:
            return energies.amin(1)
        if self.beta == -math.inf:
            return energies.amax(1)
        if self.beta == 0:
            return (log_weight.exp() * energies).sum(1)
        return torch.logsumexp(log_weight - self.beta * energies, 1) / -self.beta

    def on_nodes(
        self, bound: Bound, drawn: Tensor | None, variables: Mapping[str, Any]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Energies (B, K), nodes (B, K, *shape) and log-weights (B, K), of what `prepare` made."""
        here = bound.bind({n: variables[n] for n in self.variables if n in bound.variables})
        binder = Binder(None, here.batch, here.dtype, here.device)
        nodes, log_weight = self.by.place(binder, drawn)
        problem = Problem(here, {self.latent: nodes.shape[2:]}, max_rows=self.max_rows, batch=len(nodes))
        return problem.candidates(nodes)[0], nodes, log_weight

    def posterior(self, *, generator: torch.Generator | None = None, **variables: Any) -> Posterior:
        """p(z | x, y) on the nodes, for given values of all other variables.

        At β = ±inf it is uniform over the nodes that reach the extreme.
        """
        bound = self.bind(variables, generator)
        (term,) = bound.summands
        arguments = bound.arguments(term, {}, {})
        energies, nodes, log_weight = self.on_nodes(arguments["_bound"], arguments["_drawn"], arguments)
        if math.isinf(self.beta):
            extreme = energies.amin(1) if self.beta > 0 else energies.amax(1)
            log_p = torch.where(energies == expand(extreme, energies), 0.0, -torch.inf)
        else:
            log_p = log_weight - self.beta * energies
        return Posterior(nodes, torch.softmax(log_p, 1), log_weight)
