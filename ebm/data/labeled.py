"""Images with labels, and the two parts that such a set is split into."""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor

Split = Literal["train", "test"]


class LabeledImages(NamedTuple):
    """Images and what they show, row by row.

    Attributes:
        images: values in [0, 1]: gray, 0 is the background, (N, H, W); or red, green, blue, (N, 3, H, W).
        labels: the class of each image, (N,) int64.
    """

    images: Tensor
    labels: Tensor


def check_split(split: str) -> None:
    """Refuse anything but the two splits.

    Raises:
        ValueError: if `split` is neither "train" nor "test".
    """
    if split not in ("train", "test"):
        raise ValueError(f'split must be "train" or "test", got {split!r}')
