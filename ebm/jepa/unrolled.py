"""Several steps ahead: a predictor that is fed what it predicted, compared with what was seen.

    ŝ_0 = f(o_0),  ŝ_{t+1} = p(ŝ_t, a_t),    E(observations, actions) = (1/K) Σ_k mean (ŝ_{t_k} - f(o_{t_k}))²

What is only trained one step ahead drifts off when it is unrolled, as a planner does. Not every frame has to
be encoded: t_1 < ... < t_K are those that are. Gradients flow into both sides.

Reference: Sobal et al. (2025), "Learning from Reward-Free Offline Data: A Case for Planning with Latent
Dynamics Models", eq. 1 and 2.
"""

from __future__ import annotations

from torch import Tensor

from ebm.energy import Energy


class UnrolledPrediction(Energy):
    """E(predicted, codes) = the mean of (predicted - codes)² over the K frames after the first.

    A world model composes the rest: see `ebm.world.learning`.

    Example:
        >>> import torch
        >>> UnrolledPrediction()(predicted=torch.zeros(1, 2, 3), codes=torch.ones(1, 3, 3))
        tensor([1.])
    """

    def forward(self, predicted: Tensor, codes: Tensor) -> Tensor:
        """Of predictions (B, K, S) and the codes of all frames, (B, K + 1, S), the first included."""
        return (predicted - codes[:, 1:]).square().flatten(1).mean(1)
