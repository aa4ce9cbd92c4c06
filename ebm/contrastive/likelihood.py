"""Maximum likelihood where Z can be had: push down on the data, up wherever the model puts its mass.

    L = -⟨log p⟩ = β⟨E⟩_data + log Z,        Z = ∫ exp(-βE(y)) dy
    ∇L = β(⟨∇E⟩_data - ⟨∇E⟩_model)

This is the loss that all other contrastive losses stand in for: nothing is estimated, the model's mass pulls
up exactly as hard as the data pull down, and at the end the energy gap ⟨E⟩_model - ⟨E⟩_data is 0. It can be
had for a finite set of states (`AllChoices`, `Finite`), by quadrature in one or two dimensions (`Grid`), and
for energies that know their log Z in closed form.

What it costs: the energy of every node, and with other variables given of every node for every row. When it
fails: when the nodes miss mass. A grid must cover all low energy, and be finer than its finest detail.

Reference: LeCun et al. (2006), "A Tutorial on Energy-Based Learning", sect. 2.2.4 (negative log-likelihood).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ebm.binder import Binder
from ebm.contrastive.points import Points, in_full
from ebm.energy import Energy
from ebm.infer.method import number
from ebm.loss import OFF_DATA, ON_DATA, Loss, LossOutput
from ebm.nodes import AllChoices, Nodes


class MaximumLikelihood(Loss):
    """L = β⟨E⟩_data + log Z, the negative log-likelihood of the data in nats a row.

    Terms: "energy on data"; "energy off data", the mean energy of the model, for nodes; and "log Z".

    Args:
        by: where to sum or integrate y, with `normalized=False`: `AllChoices(2, 5, normalized=False)`,
            `Grid([-3, -3], [3, 3], 100, normalized=False)`. If its measure is normalized, so is p relative
            to it, and L differs by a constant. None: the energy has a differentiable `log_z` of its own.
        beta: β > 0, the inverse temperature of the model; with a closed form, 1.
        variable: the variable of the energy that is data; for all others, given, p is conditional.

    Raises:
        ValueError: if β isn't positive, or isn't 1 without nodes; on a call, for data where the nodes can't
            be: labels out of range, points beyond a grid.
        TypeError: for what are no nodes; on a call without them, if the energy has no log Z, or one that
            parameters are missing from; for whole numbers where the nodes are real ones.

    Example:
        >>> from ebm import energy
        >>> from ebm.nodes import AllChoices
        >>> @energy
        ... def ferromagnet(y):  # two spins, 0 or 1, that would rather agree
        ...     return (y[:, 0] != y[:, 1]).double()
        >>> exact = MaximumLikelihood(AllChoices(2, 2, normalized=False))
        >>> round(exact(ferromagnet, y=torch.tensor([[0, 0], [1, 1]])).loss.item(), 4)  # log(2 + 2/e)
        1.0064
    """

    def __init__(self, by: Nodes | None = None, *, beta: float = 1.0, variable: str = "y"):
        super().__init__()
        if by is not None and not isinstance(by, Nodes):
            raise TypeError(
                f"`by` says where to sum: AllChoices, Finite or Grid of ebm.nodes, or None; got {by!r}."
            )
        if by is None and beta != 1:
            raise ValueError(f"a closed-form log Z is that of β = 1; got beta={beta}. Scale the energy.")
        self.by, self.beta, self.variable = by, number("beta", beta), variable

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        points = Points(self, energy, self.variable, data, generator, real=False)
        if self.by is not None:
            refuse_outside(self.by, self.variable, points.y)
        on_data = points.energy(points.y)
        terms = {ON_DATA: on_data.detach().mean()}
        if self.by is None:
            log_z = own_log_z(energy)
        else:
            alone = len(data) == 1  # Z does not depend on the row
            log_z, off_data = self._sum(energy, data, points, alone, generator)
            terms[OFF_DATA] = off_data.detach().mean()
        terms["log Z"] = log_z.detach().mean()
        return LossOutput(self.beta * on_data.mean() + log_z.mean(), terms)

    def _sum(
        self,
        energy: Energy,
        data: dict[str, Any],
        points: Points,
        alone: bool,
        generator: torch.Generator | None,
    ) -> tuple[Tensor, Tensor]:
        """log Z and the model's mean energy, (B,) each; (1,) if they are the same for all rows."""
        if alone:
            data = {self.variable: points.y[:1]}
            points = Points(self, energy, self.variable, data, generator, real=False)
        y = points.y
        kind = y.dtype if y.is_floating_point() else _precision(energy)
        binder = Binder(generator, len(y), kind, y.device)
        by = self.by
        if by is None:
            raise ValueError("log Z is summed over nodes; pass some.")
        nodes, log_weight = by.place(binder, by.draw(binder))  # (B, K, *shape), (B, K)
        if nodes.shape[2:] != y.shape[1:]:
            raise ValueError(
                f"the nodes of `by` have shape {tuple(nodes.shape[2:])}, and a row of the data is "
                f"{tuple(y.shape[1:])}; they are values of one variable."
            )
        if nodes.is_floating_point() and not y.is_floating_point():
            raise TypeError(
                f"{type(by).__name__} holds real numbers, and {self.variable!r} is discrete, {y.dtype}: its "
                f"states are listed by AllChoices(n, *shape)."
            )
        energies = points.energies(nodes)
        log_p = log_weight.to(energies.dtype) - self.beta * energies
        share = log_p.detach().softmax(1)
        held = torch.where(share == 0, 0.0, share * energies.detach())  # where E = inf there is no mass
        return log_p.logsumexp(1), held.sum(1)


def refuse_outside(by: Nodes, variable: str, y: Tensor) -> None:
    """Refuse data to which a sum over the nodes gives probability 0.

    Raises:
        ValueError: naming the rows.
    """
    outside = by.outside(y)
    if bool(outside.any()):
        rows = outside.nonzero().flatten().tolist()
        what = f"[0, {by.n})" if isinstance(by, AllChoices) else "its box"
        raise ValueError(
            f"{type(by).__name__} covers {what}, and {variable!r} lies outside in {len(rows)} of {len(y)} "
            f"rows, {rows[:5]}, the first of which holds {y[rows[0]].tolist()}. Log Z must be that of all "
            f"places where data can be."
        )


def own_log_z(energy: Energy) -> Tensor:
    """The closed-form log Z of an energy, 0-dimensional or (B,), with its gradient.

    Raises:
        TypeError: if the energy has none, or one without a gradient although it has parameters to learn.
    """
    log_z = getattr(energy, "log_z", None)
    if log_z is None:
        raise TypeError(
            f"{energy.label} has no closed-form `log_z`. Say where to sum or integrate, "
            f"MaximumLikelihood(Grid(...)) or (AllChoices(...)); or take a loss that needs no log Z: NCE, "
            f"ScoreMatching, ContrastiveDivergence."
        )
    learned = [p for p in energy.parameters() if p.requires_grad]
    if learned and not (isinstance(log_z, Tensor) and log_z.requires_grad) and torch.is_grad_enabled():
        raise TypeError(
            f"the log_z of {energy.label} has no gradient, so half of the likelihood's would be missing. "
            f"Return it as a tensor computed from the parameters."
        )
    return in_full(torch.as_tensor(log_z))


def _precision(energy: Energy) -> torch.dtype:
    """The precision of log-weights beside energies of discrete data."""
    return next((p.dtype for p in energy.parameters() if p.is_floating_point()), torch.get_default_dtype())
