"""A world model that is pushed about: what the actions don't tell, as a latent variable of every step.

    s_{t+1} = step(s_t, a_t) + σ z_t,        z (B, T, S),  by default nothing is known of it

Sampled, z is noise, and a plan's cost a random variable whose mean, CVaR or worst case is planned on; swept
or maximized, it is the wind that an adversary chooses; minimized, what a mere optimist hopes for.

    mean          marginal_over(E, "z", 0.0, by=noise),    noise = Importance(K, 0, 1, normalized=True), T x S
    CVaR          CVaR(E, "z", 0.9, noise)
    worst case    marginal_over(E, "z", -inf, by=noise)

Reference: LeCun (2022), "A Path Towards Autonomous Machine Intelligence", sect. 4.10 (uncertainty through z).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ebm.world.model import ModelState, WorldModel, moving


class Disturbed(WorldModel):
    """A world model with a disturbance added to every next state: step(s, a) + σ z_t.

    Without z it is the model itself.

    Args:
        model: what happens undisturbed.
        scale: σ, one number or (S,), at least 0, in the units of the state.

    Raises:
        TypeError: if the model is no `WorldModel`.
        ValueError: if the scale is negative or no number.

    Example:
        >>> from ebm.nodes import Importance
        >>> from ebm.plan import CVaR, GoalDistance, TrajectoryEnergy
        >>> from ebm.world import KnownDynamics
        >>> gusty = Disturbed(KnownDynamics(lambda s, a: s + a, action_size=1), scale=0.1)
        >>> gusty.rollout(torch.zeros(1, 1), torch.ones(1, 2, 1), z=torch.tensor([[[1.0], [-2.0]]])).flatten()
        tensor([0.0000, 1.1000, 1.9000])
        >>> E = TrajectoryEnergy(gusty, GoalDistance(), latent="z")
        >>> noise = Importance(64, torch.zeros(2, 1), torch.ones(2, 1), normalized=True)
        >>> CVaR(E, "z", 0.9, noise).variables
        ('actions', 'observation', 'goal')
    """

    scale: Tensor

    def __init__(self, model: WorldModel, scale: float | Tensor):
        super().__init__()
        if not isinstance(model, WorldModel):
            raise TypeError(f"what is disturbed is a WorldModel; got {model!r}.")
        size = scale if isinstance(scale, Tensor) else torch.tensor(scale, dtype=torch.float64)
        if size.ndim > 1 or not bool((size >= 0).all()) or not bool(size.isfinite().all()):
            raise ValueError(f"the scale is one number or (S,), finite and at least 0; got {scale}.")
        self.model, self.action_size = model, model.action_size
        self.register_buffer("scale", size)

    def encode(self, observation: Any) -> ModelState:
        return self.model.encode(observation)

    def encode_frames(self, observations: Tensor) -> tuple[Tensor, ModelState]:
        return self.model.encode_frames(observations)

    def step(self, state: ModelState, actions: Tensor, z: Tensor | None = None) -> ModelState:
        """The states after actions (B, A), disturbed by z (B, S)."""
        after = self.model.step(state, actions)
        if z is None:
            return after
        s = moving(after)
        if z.shape != s.shape:
            raise ValueError(
                f"a disturbance is as wide as a state, (B, S) or (B, T, S); a step of states "
                f"{tuple(s.shape)} got {tuple(z.shape)}."
            )
        pushed = s + self.scale.to(s) * z
        return pushed if isinstance(after, Tensor) else (pushed, *after[1:])
