"""Calibration: is an answer that is given with probability 0.8 right in 8 of 10 cases?

    conf_i = max_y p(y | x_i),        right_i = [argmax_y p(y | x_i) = y_i]
    ECE = Σ_b (n_b / N) |⟨right⟩_b - ⟨conf⟩_b|,        MCE = max_b |⟨right⟩_b - ⟨conf⟩_b|

over bins b of equal width in the confidence, (0, 1/K], (1/K, 2/K], ... A low error does not say that the
answers are good: who always gives the labels' frequencies is calibrated and knows nothing. With n_b rows in
each bin, chance alone makes an ECE of about Σ_b √(2 n_b c_b (1 - c_b) / π) / N, so it is above 0 for the best
of models.

Reference: Naeini, Cooper, Hauskrecht (2015), "Obtaining Well Calibrated Probabilities Using Bayesian
Binning"; Guo, Pleiss, Sun, Weinberger (2017), "On Calibration of Modern Neural Networks", sect. 2 (15 bins);
reliability diagrams: DeGroot & Fienberg (1983).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Calibration:
    """A reliability diagram, and what it sums up to; `print` it for a table.

    Attributes:
        count: rows in each bin, (K,), int64.
        confidence, accuracy: their means in each bin, (K,), float64; NaN in one that is empty.
        error: ECE, the expected calibration error, in [0, 1].
        largest: MCE, the largest error of a bin that is not empty.
        by_chance: about how large the ECE of a perfectly calibrated model would be on so many rows.
    """

    count: Tensor
    confidence: Tensor
    accuracy: Tensor
    error: float
    largest: float
    by_chance: float

    def __str__(self) -> str:
        bins = len(self.count)
        lines = ["confidence   rows   mean  right"]
        for b, (n, conf, acc) in enumerate(
            zip(self.count.tolist(), self.confidence.tolist(), self.accuracy.tolist(), strict=True)
        ):
            if n:
                lines.append(f"{b / bins:.2f}-{(b + 1) / bins:.2f} {n:8d} {conf:6.3f} {acc:6.3f}")
        summed = f"ECE {self.error:.4f} ({self.by_chance:.4f} by chance), largest {self.largest:.4f}"
        return "\n".join([*lines, summed])


def calibration(probability: Tensor, label: Tensor, bins: int = 15) -> Calibration:
    """How far the probabilities of answers are from how often they are right.

    Args:
        probability: p(y | x), (N, C), rows adding up to 1.
        label: the right answers, (N,), int64 in [0, C).
        bins: K >= 1, of equal width in the confidence.

    Raises:
        ValueError: if there is no row, shapes or labels do not fit, or a row is no probability.

    Example:
        >>> p = torch.tensor([[0.95, 0.05], [0.95, 0.05], [0.35, 0.65]])
        >>> report = calibration(p, torch.tensor([0, 1, 1]), bins=10)
        >>> report.count.tolist(), round(report.error, 4)  # (2 · |0.5 - 0.95| + 1 · |1 - 0.65|) / 3
        ([0, 0, 0, 0, 0, 0, 1, 0, 0, 2], 0.4167)
    """
    if probability.ndim != 2 or len(probability) == 0 or label.shape != probability.shape[:1]:
        raise ValueError(
            f"expected probabilities (N, C) and labels (N,), N >= 1; got {tuple(probability.shape)} and "
            f"{tuple(label.shape)}."
        )
    if bins < 1:
        raise ValueError(f"bins is their number, at least 1; got {bins}.")
    p = probability.detach().double()
    if label.dtype != torch.int64 or not 0 <= int(label.min()) <= int(label.max()) < p.shape[1]:
        raise ValueError(
            f"labels are int64 in [0, {p.shape[1]}); got {label.dtype}, {label.unique().tolist()}."
        )
    off = ((p.sum(1) - 1).abs() > 1e-4) | (p < 0).any(1) | p.isnan().any(1)
    if bool(off.any()):
        row = int(off.nonzero()[0])
        raise ValueError(
            f"rows are probabilities, at least 0 and adding up to 1; row {row} ({int(off.sum())} of "
            f"{len(p)}) adds up to {float(p[row].sum()):.4g}. Pass softmax(logits, 1)."
        )
    confidence, answer = p.max(1)
    right = (answer == label).double()
    place = ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)

    def total(values: Tensor) -> Tensor:
        return torch.zeros(bins, dtype=torch.float64, device=p.device).index_add(0, place, values)

    count = torch.bincount(place, minlength=bins)
    mean, accuracy = total(confidence) / count, total(right) / count
    gap = (accuracy - mean).abs()[count > 0]
    filled, sure = count[count > 0].double(), mean[count > 0].clamp(max=1)
    chance = (2 * filled * sure * (1 - sure) / math.pi).sqrt().sum() / len(p)
    error = float((filled * gap).sum() / len(p))
    return Calibration(count, mean, accuracy, error, float(gap.max()), float(chance))
