"""Schedules: numbers that change while an energy is learned, functions of (k, K), k of K steps being done.

    constant    v(k) = a
    linear      v(k) = a + (b - a) k / (sK)
    cosine      v(k) = b - (b - a) (1 + cos(πk/K)) / 2
    ramp        v(k) = a + (b - a) min(k/W, 1)

All of them begin with v(0) = a. A target that follows by averages takes one as its decay; the decay of step
1, 2, ..., K is v(0), v(1), ..., v(K-1), so a cosine that ends at 1 never gets there.
"""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[int, int], float]


def constant(value: float) -> Schedule:
    """v(k) = value.

    Example:
        >>> constant(0.999)(7, 100)
        0.999
    """

    def at(done: int, steps: int) -> float:
        _check(done, steps)
        return value

    return at


def cosine(start: float, end: float = 1.0) -> Schedule:
    """v(k) = end - (end - start) (1 + cos(πk/K)) / 2: half a wave, slow at both ends.

    From 0.996 to 1 it is the decay of BYOL's target and of DINO's teacher, in the official code of both.

    Reference:
        Grill et al. (2020), "Bootstrap Your Own Latent", sect. 3.3; Caron et al. (2021), "Emerging Properties
        in Self-Supervised Vision Transformers", sect. 3.1.

    Example:
        >>> decay = cosine(0.996)
        >>> [round(decay(k, 100), 6) for k in (0, 50, 100)]
        [0.996, 0.998, 1.0]
    """

    def at(done: int, steps: int) -> float:
        _check(done, steps)
        return end - (end - start) * (1 + math.cos(math.pi * done / steps)) / 2

    return at


def linear(start: float, end: float = 1.0, stretch: float = 1.0) -> Schedule:
    """v(k) = start + (end - start) k / (stretch · K).

    From 0.996 to 1 it is the decay of I-JEPA's target; V-JEPA stretches it, 0.998 to 1 by 1.25, so that the
    training ends at 0.9996.

    Args:
        start: v(0).
        end: v(K) where stretch = 1.
        stretch: >= 1; how many times longer the schedule is than the training.

    Reference:
        Assran et al. (2023), "Self-Supervised Learning from Images with a Joint-Embedding Predictive
        Architecture", app. A.1; Bardes et al. (2024), "Revisiting Feature Prediction for Learning Visual
        Representations from Video", table 8.

    Example:
        >>> round(linear(0.998, stretch=1.25)(100, 100), 6)
        0.9996
    """
    if not stretch >= 1:
        raise ValueError(f"linear: stretch says how many times longer it is, 1 or more; got {stretch}.")

    def at(done: int, steps: int) -> float:
        _check(done, steps)
        return start + (end - start) * done / (stretch * steps)

    return at


def ramp(start: float, end: float, over: int, every: int = 1) -> Schedule:
    """v(k) = start + (end - start) min(k/over, 1): a warm-up, whose length doesn't depend on K.

    DINO's teacher temperature is one that changes from epoch to epoch: with S steps to an epoch and W epochs
    of warm-up, the official code's is `ramp(0.04, 0.07, over=(W - 1) * S, every=S)`.

    Args:
        start: v(0).
        end: from step `over` on.
        over: W, steps; 0 for the value `end` at once.
        every: steps for which the value stays before it changes.

    Example:
        >>> warm = ramp(0.04, 0.07, over=30, every=10)
        >>> [round(warm(k, 100), 3) for k in (0, 9, 10, 25, 30, 100)]
        [0.04, 0.04, 0.05, 0.06, 0.07, 0.07]
    """
    if over < 0 or every < 1:
        raise ValueError(f"ramp: over is 0 or more steps and every 1 or more; got {over} and {every}.")

    def at(done: int, steps: int) -> float:
        _check(done, steps)
        held = done - done % every
        return end if held >= over else start + (end - start) * held / over

    return at


def _check(done: int, steps: int) -> None:
    if steps < 1 or not 0 <= done <= steps:
        raise ValueError(
            f"a schedule is asked for step k of K, 0 <= k <= K and K >= 1; got {done} of {steps}. Does the "
            f"training take more steps than it was told?"
        )
