"""Sinkhorn's algorithm: soft assignments of samples to prototypes that use all prototypes alike.

    Q = argmax_Q ⟨Q, S⟩ + ε H(Q)    over Q (B, K) >= 0 with rows of sum 1 and columns of sum B/K

    log Q ← S/ε;    repeat:  log Q_·k -= log Σ_b Q_bk;    log Q_b· -= log Σ_k Q_bk

Without the condition on the columns Q would be softmax(S/ε), the same prototype for all samples if their
codes are the same; with it, that is no solution. An iteration ends with the samples, so after few of them
each row sums to 1 exactly and the columns only nearly to B/K. In logarithms nothing overflows: exp(S/ε) is
beyond float16 from S/ε = 11 on, and beyond float32 from 88.

Equals SwAV's official code, which normalizes the columns to 1/K and the rows to 1/B, and multiplies by B in
the end: factors of the whole matrix, which the next normalization takes away.

Reference: Sinkhorn (1964); Cuturi (2013), "Sinkhorn Distances"; Caron, Misra, Mairal, Goyal, Bojanowski,
Joulin (2020), "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments", eq. 3 to 5.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebm.infer.method import count, positive


@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float = 0.05, iterations: int = 3) -> Tensor:
    """Balanced soft assignments Q of samples to prototypes, given how well they fit.

    Args:
        scores: S, (B, K), finite, higher where a sample fits a prototype better.
        epsilon: ε > 0, in units of the scores; lower makes the assignments sharper.
        iterations: at least 1; SwAV takes 3.

    Returns:
        Q, (B, K) in the scores' dtype, rows of sum 1 (to its rounding), without a gradient.

    Raises:
        ValueError: if the scores aren't (B, K), or a setting is out of its range.

    Example:
        >>> scores = torch.tensor([[1.0, 0.9], [1.0, 0.0]])  # both like the first best, one of them more so
        >>> sinkhorn(scores, epsilon=0.5, iterations=100)
        tensor([[0.2891, 0.7109],
                [0.7109, 0.2891]])
    """
    positive("epsilon", epsilon)
    count("iterations", iterations)
    if scores.ndim != 2 or not scores.numel():
        raise ValueError(
            f"sinkhorn takes scores (B, K), a row for each sample; got shape {tuple(scores.shape)}."
        )
    log_q = scores.to(torch.promote_types(scores.dtype, torch.float32)) / epsilon
    log_q -= log_q.max()
    if float(log_q.min()) < math.log(torch.finfo(log_q.dtype).tiny) / 2:
        for _ in range(iterations):
            log_q -= log_q.logsumexp(0)
            log_q -= log_q.logsumexp(1, keepdim=True)
        return log_q.exp_().to(scores.dtype)
    q = log_q.exp_()  # nothing is lost in exp; then factors of rows and columns are all that changes
    rows = q.new_ones(len(q))
    for _ in range(iterations):
        columns = (rows @ q).reciprocal_()
        rows = (q @ columns).reciprocal_()
    return q.mul_(rows[:, None]).mul_(columns).to(scores.dtype)
