"""What keeps codes of a sequence alive and useful, as a loss beside the prediction.

    L(E, data) = mean E + Σ_i λ_i R_i(codes, times, actions)

Prediction alone is easiest where all codes are the same. Each regularizer is a number computed from the codes
that the energy itself makes, so every frame is encoded once however many there are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ebm.energy import Energy
from ebm.joint.on_codes import code_of
from ebm.loss import ON_DATA, Loss, LossOutput, unused_name
from ebm.signature import refuse_missing


class Sequence(NamedTuple):
    """Codes of a sequence.

    Attributes:
        codes: of the K + 1 frames that were encoded, (B, K + 1, S).
        times: when they were seen, in steps from the first: (0, t_1, ..., t_K).
        actions: what was done, (B, T, A), T >= t_K; None where nothing was.
    """

    codes: Tensor
    times: tuple[int, ...]
    actions: Tensor | None = None

    def pairs(self, apart: int = 1) -> list[int]:
        """The frames k for which frame k + 1 was seen `apart` steps later.

        Raises:
            ValueError: if there are none.
        """
        found = [
            k for k, (t, u) in enumerate(zip(self.times, self.times[1:], strict=False)) if u - t == apart
        ]
        if not found:
            raise ValueError(
                f"no two frames one after the other are {apart} steps apart; they were seen at {self.times}."
            )
        return found


class CodeRegularizer(nn.Module, ABC):
    """A number of the codes of sequences that is small where they are as they should be."""

    @abstractmethod
    def forward(self, sequence: Sequence) -> Tensor:
        """R, 0-dimensional."""


class Regularized(Loss):
    """The mean energy and weighted regularizers of the codes that it makes.

    Args:
        weighted: pairs (λ, regularizer), λ >= 0; one with λ = 0 is left out.
        times: when the frames were seen.
        codes: the energy's variable that holds the codes, (B, K + 1, S).
        actions: the name of the actions in the data.

    Raises:
        TypeError: if a pair is no number and regularizer; on a call, if the energy has no such variable.
        ValueError: if a weight is negative; on a call, if there are other codes than times.

    Example:
        >>> from ebm.jepa import TimeSimilarity, UnrolledPrediction
        >>> loss = Regularized((2.0, TimeSimilarity()), times=(0, 1))
        >>> output = loss(UnrolledPrediction(), predicted=torch.ones(2, 1, 3), codes=torch.zeros(2, 2, 3))
        >>> output.loss, sorted(output.terms)
        (tensor(1.), ['TimeSimilarity', 'energy on data'])
    """

    def __init__(
        self,
        *weighted: tuple[float, CodeRegularizer],
        times: tuple[int, ...],
        codes: str = "codes",
        actions: str = "actions",
    ):
        super().__init__()
        for pair in weighted:
            if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[1], CodeRegularizer):
                raise TypeError(f"Regularized takes pairs (weight, regularizer); got {pair!r}.")
            if not pair[0] >= 0:
                raise ValueError(f"a weight is at least 0; got {pair[0]}.")
        kept = [(float(weight), part) for weight, part in weighted if weight > 0]
        self.weights, self.parts = [weight for weight, _ in kept], nn.ModuleList(part for _, part in kept)
        self.times, self.codes, self.actions = tuple(times), codes, actions

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        refuse_missing(energy, data)
        bound = energy.bind(data, generator)
        loss = bound().mean()
        terms = {ON_DATA: loss.detach()}
        codes = code_of(bound, self.codes)
        if codes.shape[1] != len(self.times):
            raise ValueError(f"{codes.shape[1]} frames were encoded and {len(self.times)} times are given.")
        sequence = Sequence(codes, self.times, data.get(self.actions))
        for weight, part in zip(self.weights, self.parts, strict=True):
            value = part(sequence)
            loss = loss + weight * value
            terms[unused_name(type(part).__name__, terms)] = value.detach()
        return LossOutput(loss, terms)

    @property
    def described(self) -> str:
        parts = zip(self.weights, self.parts, strict=True)
        return " + ".join([self.label, *(f"{weight:g} {type(part).__name__}" for weight, part in parts)])
