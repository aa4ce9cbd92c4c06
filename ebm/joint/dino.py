"""DINO: agree on a category with a slow teacher; the categories are nobody's but their own.

    E(x, y, ...) = -(1/P) Σ_{a → b} Σ_k q_k(b) log p_k(a),
    p = softmax(f_θ(a) / τ_s),    q = softmax((f_ξ(b) - c) / τ_t),    c ← m c + (1 - m) mean f_ξ

Two collapses lie in wait: one category for all, and all categories alike. Centering, the c, works against the
first and towards the second; sharpening, τ_t < τ_s, the other way round; together they keep the balance. A
cross entropy is H(q) + KL(q|p), so `AverageEnergy` reports H(q), "target entropy": it goes to 0 in the first
collapse, and to log K in the second. A student sees all views, the teacher the global ones x and y.

Equals the official code: the center is the mean of the raw logits of both global views over all processes,
renewed after the loss; the mean is over pairs. (There, crops of one size go through the network in one pass,
which only BatchNorm can tell from one pass a crop; and the last layer rests in the first epoch.)

Reference: Caron et al. (2021), "Emerging Properties in Self-Supervised Vision Transformers", eq. 1-4 and
sect. 5.3; official code, facebookresearch/dino.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from ebm.infer.method import positive
from ebm.joint.pair import CrossEntropy
from ebm.joint.schedules import Schedule, cosine
from ebm.joint.siamese import Siamese
from ebm.joint.target import EMA, Branch, Scheduled
from ebm.memory import Remembering
from ebm.processes import average


class CenteredCrossEntropy(Remembering, Scheduled):
    """E(s_x, s_y) = -Σ_k q_k log p_k with q = softmax((s_y - c) / τ_t), c the mean of s_y so far.

    Args:
        categories: K, numbers in a code.
        temperature: τ_s > 0.
        target_temperature: τ_t > 0, or a schedule, e.g. `ramp(0.04, 0.07, over=1000)`.
        momentum: m, from 0 (the center of the latest batch) to 1 (no centering: the center stays 0).

    Raises:
        ValueError: if a setting is out of bounds, or on codes of another length than K.

    Example:
        >>> E = CenteredCrossEntropy(categories=2)
        >>> E.remember(torch.tensor([[1.0, 3.0]]))
        >>> E.center
        tensor([0.1000, 0.3000])
    """

    center: Tensor

    def __init__(
        self,
        categories: int,
        temperature: float = 0.1,
        target_temperature: float | Schedule = 0.04,
        momentum: float = 0.9,
    ):
        super().__init__()
        if categories < 1 or not 0 <= momentum <= 1:
            raise ValueError(
                f"there is at least 1 category, and a momentum lies from 0 to 1; got categories={categories} "
                f"and momentum={momentum}."
            )
        self.distance, self.momentum = CrossEntropy(temperature), momentum
        self.register_buffer("center", torch.zeros(categories))
        self.schedule = target_temperature if callable(target_temperature) else None
        first = target_temperature(0, 1) if callable(target_temperature) else target_temperature
        positive("target_temperature", first)
        if self.schedule is None:
            self.target_temperature: float | Tensor = first
        else:  # it changes, so it is saved
            self.register_buffer("target_temperature", torch.tensor(first))

    def forward(self, s_x: Tensor, s_y: Tensor) -> Tensor:
        self._check(s_x, "s_x")
        self._check(s_y, "s_y")
        kind = torch.promote_types(s_x.dtype, self.center.dtype)
        return self.distance.forward(s_x.to(kind), self._logits(s_y))

    def remember(self, s_y: Tensor) -> None:
        """Move the center towards the mean of the targets of all processes."""
        mean = s_y.to(self.center.dtype).mean(0)
        average([mean])
        self.center.lerp_(mean, 1 - self.momentum)

    def report(self, s_y: Tensor) -> dict[str, Tensor]:
        """H(q), the mean entropy of the targets' categories, from 0 to log K."""
        log_q = log_softmax(self._logits(s_y), 1)
        return {"target entropy": -(log_q.exp() * log_q).sum(1).mean()}

    def update(self, step: int, steps: int) -> None:
        """The temperature for the step after this one."""
        if self.schedule is not None:
            self.get_buffer("target_temperature").fill_(self.schedule(step, steps))

    def _logits(self, s_y: Tensor) -> Tensor:
        return (s_y - self.center) / self.target_temperature

    def _check(self, code: Tensor, name: str) -> None:
        if code.ndim != 2 or code.shape[1] != len(self.center):
            raise ValueError(
                f"there are {len(self.center)} categories, so {name} must be (N, {len(self.center)}); got "
                f"shape {tuple(code.shape)}. Make the energy with as many as the network gives numbers."
            )


class DINO(Siamese):
    """E = the mean cross entropy of the student's and the teacher's categories over pairs of views.

    Learned by `AverageEnergy`, with the callback `update_targets(E, steps)`.

    Args:
        student: f, from a view to logits (N, K); its last layer is the `DINOHead` in the paper.
        categories: K.
        target: the teacher; `EMA(student, cosine(0.996))` if None.
        temperature: τ_s.
        target_temperature: τ_t, or a schedule; as high as τ_s or higher takes the sharpening away.
        center_momentum: m.
        centering: False keeps the center at 0.
        local: names of further views, which only the student sees; they may be smaller.
        predictor: h, from logits to logits; the paper has none.

    Example:
        >>> from ebm.joint import DINO
        >>> E = DINO(torch.nn.Identity(), categories=4, local=("crop",))
        >>> E.variables, E.pairs
        (('x', 'y', 'crop'), (('y', 'x'), ('crop', 'x'), ('x', 'y'), ('crop', 'y')))
        >>> E(x=torch.zeros(1, 4), y=torch.zeros(1, 4), crop=torch.zeros(1, 4))  # log 4
        tensor([1.3863])
    """

    def __init__(
        self,
        student: nn.Module,
        categories: int,
        target: Branch | None = None,
        temperature: float = 0.1,
        target_temperature: float | Schedule = 0.04,
        center_momentum: float = 0.9,
        centering: bool = True,
        local: Sequence[str] = (),
        predictor: nn.Module | None = None,
    ):
        momentum = center_momentum if centering else 1.0
        pair = CenteredCrossEntropy(categories, temperature, target_temperature, momentum)
        teacher = EMA(student, cosine(0.996)) if target is None else target
        super().__init__(pair, student, predictor, teacher, online=("x", "y", *local))

    @property
    def center(self) -> Tensor:
        """c, (K,), the mean of the teacher's logits so far."""
        return self.pair.get_buffer("center")
