"""Ensembles: several models of one world, who disagree where none of them has been.

    z ∈ {0, ..., K-1},    s_{t+1} = step_z(s_t, a_t);        no z: s_{t+1} = (1/K) Σ_k step_k(s_t, a_t)

The number of a member is a latent variable like any other: what a plan costs over the ensemble is a matter of
what is done with z.

    mean          marginal_over(E, "z", 0.0, by=Finite(ensemble.members()))     what it costs on average
    worst case    marginal_over(E, "z", -inf, by=Finite(ensemble.members()))    what the gloomiest foresees
    CVaR          CVaR(E, "z", 0.8, Finite(ensemble.members()))                 the gloomiest fifth's mean

One z for a path follows one member through it; one for each step, (B, T, 1), changes members on the way.

Reference: Lakshminarayanan, Pritzel, Blundell (2017), "Simple and Scalable Predictive Uncertainty Estimation
using Deep Ensembles"; Chua et al. (2018), "Deep Reinforcement Learning in a Handful of Trials using
Probabilistic Dynamics Models", sect. 5 (TS∞, TS1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ebm.binder import map_rows
from ebm.world.model import ModelState, WorldModel, moving


class Ensemble(WorldModel):
    """K world models with one encoder; the latent variable z says whose step is taken.

    The encoder is that of the first member: give all members the same one (`second.dots = first.dots`), or
    models whose observation is the state. Rows are sorted by member, so a step costs one evaluation a row.

    Args:
        models: the members, with states and actions of the same sizes.

    Attributes:
        models: the members, a `ModuleList`.

    Raises:
        TypeError: if one is no `WorldModel`; on a call, if z holds no whole numbers.
        ValueError: if there is none, or their actions differ in size; on a call, for a number that no member
            has.

    Example:
        >>> from ebm import marginal_over
        >>> from ebm.nodes import Finite
        >>> from ebm.plan import GoalDistance, TrajectoryEnergy
        >>> from ebm.world import KnownDynamics
        >>> slow, fast = (KnownDynamics(lambda s, a, k=k: s + k * a, action_size=1) for k in (1.0, 3.0))
        >>> both = Ensemble([slow, fast])
        >>> both.step(torch.zeros(2, 1), torch.ones(2, 1), z=torch.tensor([1, 0])).flatten()
        tensor([3., 1.])
        >>> E = TrajectoryEnergy(both, GoalDistance(), latent="z")
        >>> worst = marginal_over(E, "z", -torch.inf, by=Finite(both.members()))
        >>> worst(observation=torch.zeros(1, 1), goal=torch.ones(1, 1), actions=torch.ones(1, 1, 1))
        tensor([4.])
    """

    def __init__(self, models: Sequence[WorldModel]):
        super().__init__()
        for model in models:
            if not isinstance(model, WorldModel):
                raise TypeError(f"the members of an ensemble are WorldModels; got {model!r}.")
        sizes = [model.action_size for model in models]
        if not sizes or len(set(sizes)) > 1:
            raise ValueError(f"an ensemble has members, with actions of one size; got sizes {sizes}.")
        self.models, self.action_size = nn.ModuleList(models), sizes[0]

    @property
    def worlds(self) -> list[WorldModel]:
        """The members, in order."""
        return [model for model in self.models if isinstance(model, WorldModel)]

    def members(self) -> Tensor:
        """The numbers of the members, 0 ... K-1, (K,) int64, to integrate over with `Finite`."""
        return torch.arange(len(self.models))

    def encode(self, observation: Any) -> ModelState:
        return self.worlds[0].encode(observation)

    def encode_frames(self, observations: Tensor) -> tuple[Tensor, ModelState]:
        return self.worlds[0].encode_frames(observations)

    def step(self, state: ModelState, actions: Tensor, z: Tensor | None = None) -> ModelState:
        """The next states of the members z, (B,) or (B, 1) int64; of z = None the mean of all."""
        if z is None:
            mean = torch.stack([moving(model.step(state, actions)) for model in self.worlds]).mean(0)
            return mean if isinstance(state, Tensor) else (mean, *state[1:])
        after = self._by_member(z, lambda model, s, a: moving(model.step(s, a)), state, actions)
        return after if isinstance(state, Tensor) else (after, *state[1:])

    def rollout(self, state: ModelState, actions: Tensor, z: Tensor | None = None) -> Tensor:
        """The paths (B, T + 1, S) of the members z, (B,) or (B, 1); of (B, T, 1), one for each step."""
        if z is None or z.ndim == 3:
            return super().rollout(state, actions, z)
        return self._by_member(z, lambda model, s, a: model.rollout(s, a), state, actions)

    def paths(self, state: ModelState, actions: Tensor) -> Tensor:
        """What every member foresees under actions (B, T, A), (B, K, T + 1, S)."""
        return torch.stack([model.rollout(state, actions) for model in self.worlds], 1)

    def _by_member(
        self,
        z: Tensor,
        function: Callable[[WorldModel, ModelState, Tensor], Tensor],
        state: ModelState,
        actions: Tensor,
    ) -> Tensor:
        """function(member z_i, state_i, actions_i) for every row i, each member called once with its rows."""
        number = self._checked(z, len(actions))
        order = number.argsort(stable=True)
        counts = torch.bincount(number, minlength=len(self.models)).tolist()
        parts = []
        for model, rows in zip(self.worlds, order.split(counts), strict=True):
            if len(rows) or not len(order):
                own = map_rows(state, partial(torch.index_select, dim=0, index=rows))
                parts.append(function(model, own, actions.index_select(0, rows)))
        joined = torch.cat(parts)
        return torch.empty_like(joined).index_copy(0, order, joined)

    def _checked(self, z: Tensor, batch: int) -> Tensor:
        if z.is_floating_point() or z.dtype == torch.bool:
            raise TypeError(
                f"z says by its number whose step is taken, a whole number; got {z.dtype}. Integrate over "
                "Finite(ensemble.members())."
            )
        if z.shape not in ((batch,), (batch, 1)):
            raise ValueError(f"z has shape ({batch},) or ({batch}, 1), a member a row; got {tuple(z.shape)}.")
        if batch and not 0 <= int(z.min()) <= int(z.max()) < len(self.models):
            raise ValueError(
                f"the members are 0 to {len(self.models) - 1}; z holds {int(z.min())} to {int(z.max())}."
            )
        return z.reshape(batch)
