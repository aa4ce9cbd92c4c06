"""The nearest-neighbor probe: does a code lie among codes of its own class?

    vote for class c = Σ_{n among the k nearest, y_n = c} exp(cos(z, z_n) / τ)

The class with most votes is the prediction, the first one of those that have as many. Nothing is fitted, so
the probe says how codes are arranged as they are, without weights on directions.

Reference: Wu, Xiong, Yu & Lin (2018), "Unsupervised feature learning via non-parametric instance
discrimination", sect. 3.4: k = 200, τ = 0.07; Cover & Hart (1967), "Nearest neighbor pattern classification",
for equal votes.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ebm.measure.probe import Labeled, ProbeResult, examples

ENTRIES = 2**24  # distances at once, which bounds the memory

Metric = Literal["cosine", "euclidean"]


def knn_probe(
    train: Labeled,
    test: Labeled,
    *,
    k: int = 200,
    temperature: float | None = 0.07,
    metric: Metric = "cosine",
) -> ProbeResult:
    """Classify test codes by their nearest training codes, and count how often that is right.

    Args:
        train, test: codes and their labels, (N, D) floating point and (N,) integers; N may differ.
        k: how many neighbors vote, 1 to N; 20 is common where classes have fewer than 200 examples.
        temperature: τ > 0 of the votes, for the cosine only; if None all k votes are equal.
        metric: "cosine" or "euclidean".

    Raises:
        TypeError, ValueError: for input of another form, or a setting out of range.

    Reference: Wu et al. (2018), sect. 3.4.

    Example:
        >>> from ebm.data import digits
        >>> train, test = [(images.flatten(1), labels) for images, labels in (digits(), digits("test"))]
        >>> round(knn_probe(train, test, k=20).accuracy, 2)
        0.95
        >>> round(knn_probe(train, test, k=1, temperature=None, metric="euclidean").accuracy, 3)
        0.956
    """
    if metric not in ("cosine", "euclidean"):
        raise ValueError(f"metric is 'cosine' or 'euclidean'; got {metric!r}.")
    if temperature is not None and not temperature > 0:
        raise ValueError(f"temperature is positive, or None for equal votes; got {temperature}.")
    if temperature is not None and metric == "euclidean":
        raise ValueError("a temperature weighs votes by cosine; with 'euclidean' take temperature=None.")
    data = examples(train, test)
    if not 1 <= k <= len(data.codes):
        raise ValueError(f"k neighbors of {len(data.codes)} training codes are 1 to as many; got k={k}.")
    codes, queries = _prepared(data.codes, data.test_codes, metric)
    best = []
    for part in queries.split(max(1, ENTRIES // len(codes))):
        near, index = _closeness(part, codes, metric).topk(k, 1)
        votes = torch.ones_like(near)
        if temperature is not None:  # off the nearest: exp(1 / τ) may be beyond float32
            votes = ((near - near[:, :1]) / temperature).exp()
        count = votes.new_zeros(len(part), len(data.classes))
        best.append(count.scatter_add_(1, data.places[index], votes).argmax(1))
    return data.result(torch.cat(best))


def _prepared(codes: Tensor, queries: Tensor, metric: Metric) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(torch.promote_types(codes.dtype, queries.dtype), torch.float32)
    codes, queries = codes.to(dtype), queries.to(codes.device, dtype)
    if metric == "cosine":
        return normalize(codes, dim=1), normalize(queries, dim=1)
    center = codes.mean(0)  # moves no distance; without it |z|² may be large, and swallow differences
    return codes - center, queries - center


def _closeness(queries: Tensor, codes: Tensor, metric: Metric) -> Tensor:
    """Greater is nearer: the cosine, or ⟨q, z⟩ - ½ |z|² = ½ |q|² - ½ |q - z|², (M, N)."""
    inner = queries @ codes.T
    return inner if metric == "cosine" else inner - 0.5 * codes.square().sum(1)
