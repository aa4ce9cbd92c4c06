"""Codes that move as time does: slowly, and straight.

    TimeSimilarity    mean (s_{t+1} - s_t)²
    Straightening     mean (1 - cos(v_t, v_{t+1})),    v_t = s_{t+1} - s_t

The first makes what changes slowly easy to keep; alone it is smallest for codes that never change. The second
makes the way ahead predictable by going on, and distances along it distances in time.

Reference: Sobal et al. (2025), "Learning from Reward-Free Offline Data", eq. 6; Wang et al. (2026),
"Temporal Straightening", arXiv 2603.12231.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from ebm.jepa.regularizer import CodeRegularizer, Sequence

STILL = 1e-6  # a step this short has no direction


class TimeSimilarity(CodeRegularizer):
    """The mean squared step between frames that are `apart` steps apart.

    Example:
        >>> TimeSimilarity()(Sequence(torch.tensor([[[0.0], [3.0]]]), (0, 1)))
        tensor(9.)
    """

    def __init__(self, apart: int = 1):
        super().__init__()
        self.apart = apart

    def forward(self, sequence: Sequence) -> Tensor:
        first = sequence.pairs(self.apart)
        codes = sequence.codes
        return (codes[:, [k + 1 for k in first]] - codes[:, first]).square().mean()


class Straightening(CodeRegularizer):
    """The mean of 1 - cos between one step and the next, from 0 (straight on) to 2 (back).

    Steps shorter than 1e-6 have no direction and are left out; if all are, it is 0.

    Example:
        >>> corner = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]])
        >>> Straightening()(Sequence(corner, (0, 1, 2)))
        tensor(1.)
    """

    def __init__(self, apart: int = 1):
        super().__init__()
        self.apart = apart

    def forward(self, sequence: Sequence) -> Tensor:
        pairs = set(sequence.pairs(self.apart))
        middle = [k + 1 for k in sorted(pairs) if k + 1 in pairs]
        if not middle:
            raise ValueError(
                f"straightness needs three frames {self.apart} steps apart; seen at {sequence.times}."
            )
        codes = sequence.codes
        before = codes[:, middle] - codes[:, [k - 1 for k in middle]]
        after = codes[:, [k + 1 for k in middle]] - codes[:, middle]
        moving = (before.norm(dim=2) > STILL) & (after.norm(dim=2) > STILL)
        bend = torch.where(moving, 1 - cosine_similarity(before, after, dim=2), 0.0)
        return bend.sum() / moving.sum().clamp(min=1)
