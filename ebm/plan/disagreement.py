"""Disagreement: models that learned from the same data agree where the data was, and nowhere else.

    E(state, actions) = (1/T) Σ_{t=1..T} (1/S) Σ_d Var_k s_t^k[d],    s^k = rollout_k(state, actions)

A planner finds the places where a learned model is wrong in its favor. Added to a planning energy, this cost
keeps plans where the members of an ensemble know what will happen; with a negative weight it sends them where
there is most to learn. What to do of several answers:

    mean            the average member, blind to a member that foresees a disaster    marginal_over, β = 0
    worst case      the most pessimistic member alone                                 marginal_over, β = -∞
    CVaR            the mean of the worst members                                     CVaR
    disagreement    how far they are apart, whatever it costs                         this one

Reference: Pathak, Gandhi, Gupta (2019), "Self-Supervised Exploration via Disagreement", eq. 1 (as a reward);
Sekar et al. (2020), "Planning to Explore via Self-Supervised World Models"; LeCun (2022), sect. 3.1.
"""

from __future__ import annotations

from torch import Tensor

from ebm.energy import Energy
from ebm.world.ensemble import Ensemble
from ebm.world.model import ModelState


class Disagreement(Energy):
    """The mean variance of the members' paths, (1/T) Σ_t mean_d Var_k s_t^k, divided by K, not K - 1.

    A part of the cost of a `TrajectoryEnergy` on the same ensemble, which imagines the mean of the members
    (or the one that `z` names) beside.

    Args:
        ensemble: K members, at least 2.

    Raises:
        TypeError: if it is no `Ensemble`.
        ValueError: if it has one member, who never disagrees.

    Example:
        >>> import torch
        >>> from ebm.plan import GoalDistance, TrajectoryEnergy
        >>> from ebm.world import KnownDynamics
        >>> slow, fast = (KnownDynamics(lambda s, a, k=k: s + k * a, action_size=1) for k in (1.0, 3.0))
        >>> both = Ensemble([slow, fast])
        >>> Disagreement(both)(state=torch.zeros(2, 1), actions=torch.tensor([[[0.0]], [[1.0]]]))
        tensor([0., 1.])
        >>> TrajectoryEnergy(both, GoalDistance() + 5.0 * Disagreement(both)).variables
        ('actions', 'observation', 'goal')
    """

    def __init__(self, ensemble: Ensemble):
        super().__init__()
        if not isinstance(ensemble, Ensemble):
            raise TypeError(f"those who disagree are the members of an Ensemble; got {ensemble!r}.")
        if len(ensemble.models) < 2:
            raise ValueError("one member never disagrees; an ensemble for Disagreement has at least 2.")
        self.ensemble = ensemble

    def forward(self, state: ModelState, actions: Tensor) -> Tensor:
        future = self.ensemble.paths(state, actions)[:, :, 1:]  # (B, K, T, S)
        return (future - future.mean(1, keepdim=True)).square().mean(1).flatten(1).mean(1)
