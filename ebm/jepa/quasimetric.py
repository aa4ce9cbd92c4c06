"""Quasimetrics: how many steps it takes from s to g, which need not be as many as back.

    d(s, g) >= 0,    d(s, s) = 0,    d(s, g) <= d(s, w) + d(w, g);        in general d(s, g) ≠ d(g, s)

A shortest path has all three, and no symmetry: one falls faster than one climbs. A network that has them by
construction learns from single steps alone: each takes one step at most, and everything else is to be as far
apart as that allows. What is left is the length of the shortest path, and a planner's cost to go.

    u, v = f(s), f(g),    d_k = |∪_l [u_kl, max(u_kl, v_kl)]|,    d(s, g) = α max_k d_k + (1 - α) mean_k d_k
    L = E[φ(d(s, g))] + λ (E[max(0, d(s_t, s_{t+1}) - 1)²] - ε²),    φ(d) = w softplus((c - d) / w)
    θ descends, λ >= 0 ascends

Reference: Wang & Isola (2022), "Improved Representation of Asymmetrical Distances with Interval Quasimetric
Embeddings", eq. 1 and sect. 3; Wang, Torralba, Isola, Zhang (2023), "Optimal Goal-Reaching Reinforcement
Learning via Quasimetric Learning", eq. 5-8.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import softplus

from ebm.infer.method import positive
from ebm.jepa.regularizer import CodeRegularizer, Sequence
from ebm.nets.layers import check_sizes
from ebm.nets.mlp import mlp


class Quasimetric(nn.Module):
    """A learned distance d(s, g) of states that is a quasimetric whatever its weights are.

    (N, S), (N, S) -> (N,). As a cost of plans: `LearnedCost(quasimetric)`.

    Args:
        state_size: S.
        components: K, over whose distances maximum and mean are taken.
        intervals: whose union a component measures.
        hidden: width of the two hidden layers of f.
        generator: source of the weights; the global one if None.

    Raises:
        ValueError: if a size isn't positive; on a call, if the states differ in shape.

    Reference:
        Wang & Isola (2022), sect. 3 (IQE-maxmean).

    Example:
        >>> d = Quasimetric(2, generator=torch.Generator().manual_seed(0))
        >>> s, g = torch.zeros(1, 2), torch.ones(1, 2)
        >>> d(s, s), bool(d(s, g) > 0), bool(d(s, g) != d(g, s))
        (tensor([0.], grad_fn=<AddBackward0>), True, True)
    """

    def __init__(
        self,
        state_size: int,
        components: int = 16,
        intervals: int = 8,
        hidden: int = 128,
        *,
        generator: Generator | None = None,
    ):
        super().__init__()
        check_sizes("Quasimetric", state_size, components, intervals, hidden)
        self.shape = (components, intervals)
        outputs = components * intervals
        self.embed = mlp(state_size, hidden, hidden, outputs, activation=nn.SiLU, generator=generator)
        self.balance = nn.Parameter(torch.zeros(()))  # α = sigmoid(balance)

    def forward(self, s: Tensor, goal: Tensor) -> Tensor:
        if s.shape != goal.shape:
            raise ValueError(
                f"a distance is of pairs (N, S), (N, S); got {tuple(s.shape)}, {tuple(goal.shape)}."
            )
        u, v = self.embed(s).unflatten(1, self.shape), self.embed(goal).unflatten(1, self.shape)
        parts = union_length(u, torch.maximum(u, v))  # (N, K)
        alpha = torch.sigmoid(self.balance)
        return alpha * parts.amax(1) + (1 - alpha) * parts.mean(1)


def union_length(low: Tensor, high: Tensor) -> Tensor:
    """The length of the union of intervals [low_l, high_l], low <= high, (..., L), (..., L) -> (...).

    Sorted by their lower ends, each adds what lies above all before, max(0, h_l - max(low_l, max_{j<l} h_j)).

    Example:
        >>> union_length(torch.tensor([4.0, 0.0, 1.0]), torch.tensor([5.0, 2.0, 3.0]))
        tensor(4.)
    """
    low, order = low.sort(-1)
    high = high.gather(-1, order)
    reached = torch.cat([low[..., :1], high.cummax(-1).values[..., :-1]], -1)
    return (high - torch.maximum(low, reached)).clamp(min=0).sum(-1)


class TemporalDistance(CodeRegularizer):
    """What makes a quasimetric count steps: at most one a step, and all else as far apart as that allows.

    L = E[φ(d(s, g))] + λ (E[max(0, d(s_t, s_{t+1}) / apart - 1)²] - ε²): softplus φ pushes pairs apart that
    aren't `reach` yet; λ >= 0, a parameter of this module, grows as long as steps are too long, by whichever
    optimizer descends. Pairs are of a frame and the same frame of the next row of the batch: rows that `fit`
    draws have nothing to do with each other.

    Args:
        distance: a module (N, S), (N, S) -> (N,), a `Quasimetric`.
        reach: c > 0, in steps, somewhat more than the longest way; farther pairs are pushed no more.
        softness: w > 0, in steps, over which the push fades; a tenth of the reach or more.
        apart: steps between the frames of a pair.
        tolerance: ε > 0, by which a step may be too long.
        stop_gradient: learn the distance alone; else the codes too.

    Raises:
        ValueError: for a setting out of its range; on a call, if no two frames are `apart`, or for one row.

    Reference:
        Wang, Torralba, Isola, Zhang (2023), eq. 8 and appendix C.2.

    Example:
        >>> learned = TemporalDistance(Quasimetric(2), reach=10.0)
        >>> walks = Sequence(torch.rand(4, 3, 2), times=(0, 1, 2))
        >>> learned(walks).ndim, "multiplier" in dict(learned.named_parameters())
        (0, True)
    """

    def __init__(
        self,
        distance: nn.Module,
        reach: float,
        softness: float | None = None,
        apart: int = 1,
        tolerance: float = 0.1,
        stop_gradient: bool = True,
    ):
        super().__init__()
        self.distance, self.apart, self.stop_gradient = distance, apart, bool(stop_gradient)
        self.reach = float(positive("reach", reach))
        self.softness = float(positive("softness", 0.2 * self.reach if softness is None else softness))
        self.tolerance = float(positive("tolerance", tolerance))
        self.multiplier = nn.Parameter(
            torch.tensor(math.log(math.e - 1))
        )  # λ = softplus of it, 1 at the start

    def forward(self, sequence: Sequence) -> Tensor:
        first = sequence.pairs(self.apart)
        codes = sequence.codes.detach() if self.stop_gradient else sequence.codes
        if len(codes) < 2:
            raise ValueError("pairs to push apart are of different rows; a batch has at least 2.")
        s, after = codes[:, first].flatten(0, 1), codes[:, [k + 1 for k in first]].flatten(0, 1)
        excess = (self.distance(s, after) / self.apart - 1).clamp(min=0).square().mean() - self.tolerance**2
        far = self.distance(codes.flatten(0, 1), codes.roll(1, 0).flatten(0, 1))
        push = softplus((self.reach - far) / self.softness).mean() * self.softness
        weight = softplus(self.multiplier)
        ascent = (weight.detach() - weight) * excess.detach()  # 0, with the gradient of λ turned around
        return push + weight.detach() * excess + ascent
