"""Learning a world model: its energy on windows of experience, and a loss that keeps its codes alive.

    E(observations, actions) = (1/K) Σ_k mean (rollout(s_0, a)_{t_k} - s_{t_k})²,    s_t = encode(o_t)

Of a window only the frames seen at 0, t_1, ..., t_K are encoded; in between the model is on its own. What is
left to choose is what keeps the codes from being all the same: `Regularized` and its parts in `ebm.jepa`.

Reference: Sobal et al. (2025), "Learning from Reward-Free Offline Data: A Case for Planning with Latent
Dynamics Models", arXiv 2502.14819.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ebm.energy import Energy
from ebm.jepa import Covariance, InverseDynamics, Regularized, TimeSimilarity, UnrolledPrediction, Variance
from ebm.loss import Loss, LossOutput
from ebm.world.dots import draw_dots
from ebm.world.model import ModelState, WorldModel
from ebm.world.two_rooms import SIDE, draw_walls
from ebm.world.two_rooms_model import TwoRoomsModel

TIMES = (0, 1, 2, 4, 8, 12, 16)  # of the frames that are encoded


class EncodeFrames(nn.Module):
    """The codes of all frames (B, K + 1, S), and the context that the first one shows."""

    def __init__(self, model: WorldModel):
        super().__init__()
        self.model = model

    def forward(self, observations: Tensor) -> tuple[Tensor, ModelState]:
        return self.model.encode_frames(observations)


class Unroll(nn.Module):
    """What a world model predicts for times t_1, ..., t_K from its first code, (B, K, S)."""

    times: Tensor

    def __init__(self, model: WorldModel, times: tuple[int, ...]):
        super().__init__()
        self.model = model
        self.register_buffer("times", torch.tensor(times[1:]), persistent=False)

    def forward(self, frames: tuple[Tensor, ModelState], actions: Tensor) -> Tensor:
        return self.model.rollout(frames[1], actions)[:, self.times]


class Codes(nn.Module):
    """The codes alone."""

    def forward(self, frames: tuple[Tensor, ModelState]) -> Tensor:
        return frames[0]


def world_energy(model: WorldModel, times: tuple[int, ...] = TIMES) -> Energy:
    """The prediction error of a world model, an energy of (observations, actions).

    Args:
        model: encodes and predicts.
        times: when the frames in `observations`, (B, K + 1, *shape), were seen: 0 < t_1 < ... < t_K.

    Returns:
        An energy of observations and actions (B, T, A), T >= t_K; its terms have the variable `codes`.

    Raises:
        ValueError: if the times don't begin at 0 and increase.

    Example:
        >>> from ebm.world import KnownDynamics
        >>> E = world_energy(KnownDynamics(lambda s, a: s + a, action_size=1), times=(0, 2))
        >>> E(observations=torch.tensor([[[0.0], [2.5]]]), actions=torch.ones(1, 2, 1))
        tensor([0.2500])
    """
    if len(times) < 2 or times[0] != 0 or any(t >= u for t, u in pairwise(times)):
        raise ValueError(f"frames are seen at 0 and later, one after the other; got times {times}.")
    predicted, codes = (Unroll(model, times), "frames", "actions"), (Codes(), "frames")
    inner = UnrolledPrediction().compose(predicted=predicted, codes=codes)
    return inner.compose(frames=(EncodeFrames(model), "observations"))


class OnWalks(Loss):
    """A loss on windows of `random_walks`, whose frames are drawn from the positions when they are needed.

    Args:
        loss: of `observations` and `actions`.
        times: of the frames that are drawn.

    Example:
        >>> from ebm.loss import AverageEnergy
        >>> from ebm.world import TwoRooms, TwoRoomsModel, random_walks
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

    L = prediction + 16 variance + 1 covariance + 12 time similarity + 1 inverse dynamics

    Args:
        model: what is to be learned, for its sizes.
        variance, covariance, time_similarity, inverse_dynamics: weights, at least 0.
        generator: source of the weights of the inverse dynamics network.

    Example:
        >>> from ebm.world import TwoRooms, random_walks
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


def draw_frames(position: Tensor, wall: Tensor, door: Tensor) -> Tensor:
    """Observations of Two Rooms along paths, (B, K, 2) -> (B, K, 2, 65, 65) uint8."""
    batch, count = position.shape[:2]
    dots = draw_dots(position.flatten(0, 1), SIDE).view(batch, count, SIDE, SIDE)
    walls = draw_walls(wall, door).unsqueeze(1).expand_as(dots)
    return torch.stack([dots, walls], 2)
