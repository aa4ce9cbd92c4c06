"""Learning a world model: how far its predictions are from what came, an energy of windows of experience.

    E(observations, actions) = (1/K) Σ_k mean (rollout(s_0, a)_{t_k} - s_{t_k})²,    s_t = encode(o_t)

Of a window only the frames seen at 0, t_1, ..., t_K are encoded; in between the model is on its own. What is
left to choose is what keeps the codes from being all the same: `Regularized` and its parts in `ebm.jepa`.

Reference: Sobal et al. (2025), "Learning from Reward-Free Offline Data: A Case for Planning with Latent
Dynamics Models", arXiv 2502.14819.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from ebm.energy import Energy
from ebm.jepa import UnrolledPrediction
from ebm.world.model import ModelState, WorldModel

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
