"""What a model of Two Rooms is learned by: prediction, and four terms that keep its codes alive.

    L = prediction + 16 variance + 1 covariance + 12 time similarity + 1 inverse dynamics

on windows of random walks, whose frames are drawn when they are needed: a position takes eight bytes, a
frame eight thousand.

Reference: Sobal et al. (2025), "Learning from Reward-Free Offline Data: A Case for Planning with Latent
Dynamics Models", eq. 3 to 7.
"""

from __future__ import annotations

from typing import Any

import torch

from ebm.energy import Energy
from ebm.jepa import Covariance, InverseDynamics, Regularized, TimeSimilarity, Variance
from ebm.loss import Loss, LossOutput
from ebm.world.learning import TIMES
from ebm.world.two_rooms import draw_frames
from ebm.world.two_rooms_model import TwoRoomsModel


class OnWalks(Loss):
    """A loss on windows of `random_walks`, whose frames are drawn from the positions when they are needed.

    Args:
        loss: of `observations` and `actions`.
        times: of the frames that are drawn.

    Example:
        >>> from ebm.loss import AverageEnergy
        >>> from ebm.world import TwoRooms, TwoRoomsModel, random_walks, world_energy
        >>> walks = random_walks(TwoRooms(), 4, generator=torch.Generator().manual_seed(0))
        >>> E = world_energy(TwoRoomsModel())
        >>> OnWalks(AverageEnergy())(E, **walks).loss > 0
        tensor(True)
    """

    def __init__(self, loss: Loss, times: tuple[int, ...] = TIMES):
        super().__init__()
        self.part, self.times = loss, tuple(times)

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        frames = draw_frames(data["position"][:, list(self.times)], data["wall"], data["door"])
        return self.part(energy, generator, observations=frames, actions=data["actions"])

    @property
    def label(self) -> str:
        return self.part.label

    @property
    def described(self) -> str:
        return f"{self.part.described} at {self.times}"


def two_rooms_loss(
    model: TwoRoomsModel,
    *,
    variance: float = 16.0,
    covariance: float = 1.0,
    time_similarity: float = 12.0,
    inverse_dynamics: float = 1.0,
    generator: torch.Generator | None = None,
) -> OnWalks:
    """The loss that a model of Two Rooms is learned by; leave out a term (weight 0) and see what happens.

    Args:
        model: what is to be learned, for its sizes.
        variance, covariance, time_similarity, inverse_dynamics: weights, at least 0.
        generator: source of the weights of the inverse dynamics network.

    Example:
        >>> from ebm.world import TwoRooms, random_walks, world_energy
        >>> model, walks = TwoRoomsModel(), random_walks(TwoRooms(), 4)
        >>> sorted(two_rooms_loss(model)(world_energy(model), **walks).terms)
        ['Covariance', 'InverseDynamics', 'TimeSimilarity', 'Variance', 'energy on data']
    """
    inverse = InverseDynamics(model.code_size, model.action_size, generator=generator)
    weighted = Regularized(
        (variance, Variance()),
        (covariance, Covariance()),
        (time_similarity, TimeSimilarity()),
        (inverse_dynamics, inverse),
        times=TIMES,
    )
    return OnWalks(weighted)
