"""Probes: how well labels can be read off codes that were learned without them; what all probes share."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ebm.measure.spectrum import check_codes

Labeled = tuple[Tensor, Tensor]  # codes (N, D) and labels (N,)


class ProbeResult(NamedTuple):
    """How a probe does on codes that it was not fitted to.

    Attributes:
        accuracy: the share of labels that it predicts, 0 to 1.
        predictions: the label of each test code, (M,) int64.
    """

    accuracy: float
    predictions: Tensor


class Examples(NamedTuple):
    """Checked input: codes, the place of each label among the classes, and the test codes with labels."""

    codes: Tensor  # (N, D)
    places: Tensor  # (N,) int64, 0 to K - 1
    classes: Tensor  # (K,) the labels there are
    test_codes: Tensor  # (M, D)
    test_labels: Tensor  # (M,)

    def result(self, best: Tensor) -> ProbeResult:
        """The outcome of predicting classes[best], (M,)."""
        predictions = self.classes[best]
        return ProbeResult(float((predictions == self.test_labels).double().mean()), predictions)


def examples(train: Any, test: Any) -> Examples:
    """Check training and test pairs.

    Raises:
        TypeError: if one is no pair (codes, labels), codes aren't floating point, or labels no integers.
        ValueError: if shapes don't fit together, codes are NaN or infinite, or there is one class only.
    """
    (codes, labels), (test_codes, test_labels) = _pair("train", train), _pair("test", test)
    if codes.shape[1] != test_codes.shape[1]:
        raise ValueError(
            f"training and test codes come from one encoder; got {codes.shape[1]} and {test_codes.shape[1]} "
            f"dimensions."
        )
    classes, places = labels.unique(return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"a probe tells classes apart; all training labels are {classes.tolist()}.")
    home = codes.device
    return Examples(codes, places, classes, test_codes.to(home), test_labels.to(home))


def _pair(what: str, value: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(f"{what} is a pair (codes (N, D), labels (N,)); got {type(value).__name__}.")
    codes, labels = check_codes(value[0], f"{what} codes"), value[1]
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.is_complex():
        came = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise TypeError(f"{what} labels are integers, (N,); got {came}.")
    if labels.shape != codes.shape[:1]:
        raise ValueError(f"{what} needs a label for each of {len(codes)} codes; got {tuple(labels.shape)}.")
    return codes, labels.to(codes.device, torch.int64)
