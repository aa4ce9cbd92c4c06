"""Inverse dynamics: what was done must be legible from two codes.

    R = mean |g(s_t, κ (s_{t+1} - s_t)) - a_t|²

It keeps in the codes what the agent controls, and is no smaller than the variance of the actions for codes
that are constant, or that only see what stands still. Codes change little in one step, so their difference
is scaled (κ = 8): unscaled, the network learned nothing from it.

Reference: Pathak et al. (2017), "Curiosity-driven Exploration by Self-supervised Prediction", eq. 2; Sobal et
al. (2025), "Learning from Reward-Free Offline Data", eq. 7.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import mse_loss

from ebm.infer.method import positive
from ebm.jepa.regularizer import CodeRegularizer, Sequence
from ebm.nets.mlp import mlp


class InverseDynamics(CodeRegularizer):
    """The error of a small network that reads the action from two codes.

    Args:
        state_size: S.
        action_size: A.
        hidden: width of its hidden layer.
        scale: κ > 0, by which the difference of the codes is multiplied.
        generator: source of the weights; the global one if None.

    Raises:
        ValueError: if a size isn't positive; on a call, if there are no actions.

    Example:
        >>> still = Sequence(torch.zeros(2, 2, 3), (0, 1), torch.ones(2, 1, 2))
        >>> InverseDynamics(3, 2)(still) > 0
        tensor(True)
    """

    def __init__(
        self,
        state_size: int,
        action_size: int,
        hidden: int = 64,
        scale: float = 8.0,
        generator: Generator | None = None,
    ):
        super().__init__()
        self.scale = positive("scale", scale)
        self.network = mlp(2 * state_size, hidden, action_size, activation=nn.SiLU, generator=generator)

    def forward(self, sequence: Sequence) -> Tensor:
        if sequence.actions is None:
            raise ValueError("inverse dynamics reads actions; the data has none.")
        first = sequence.pairs()
        s, after = sequence.codes[:, first], sequence.codes[:, [k + 1 for k in first]]
        done = sequence.actions[:, [sequence.times[k] for k in first]]
        read = self.network(torch.cat([s, self.scale * (after - s)], 2).flatten(0, 1))
        return mse_loss(read, done.flatten(0, 1))
