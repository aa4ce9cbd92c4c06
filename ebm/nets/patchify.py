"""Patches as they are: an image or a clip as the list of its patches' pixels.

    patchify(x)_p = the pixels of patch p,        (B, C, *size) -> (B, P, C · |patch|)

Reference: He et al. (2022), "Masked Autoencoders Are Scalable Vision Learners", official code.
"""

from __future__ import annotations

from torch import Tensor, nn

from ebm.nets.patch_vit import patch_of, times


class Patchify(nn.Module):
    """The pixels of each patch, in the order in which `PatchViT` has its tokens.

    Args:
        patch: side of a patch in an image; (t, p), frames and pixels of a tubelet, in a clip.

    Returns (of a call, of x (B, C, H, W) or (B, C, T, H, W)):
        (B, P, C · p²) or (B, P, C · t · p²); within a patch the channels come first, then its pixels.

    Raises:
        ValueError: on a call, if the patch doesn't divide x, or is one for another kind of data.

    Example:
        >>> import torch
        >>> Patchify(2)(torch.arange(8.0).view(1, 1, 2, 4))
        tensor([[[0., 1., 4., 5.],
                 [2., 3., 6., 7.]]])
    """

    def __init__(self, patch: int | tuple[int, int]):
        super().__init__()
        self.patch = patch

    def forward(self, x: Tensor) -> Tensor:
        size, axes = tuple(x.shape[2:]), x.ndim - 2
        patch = patch_of(self.patch, axes)
        if any(n % p for n, p in zip(size, patch, strict=True)):
            raise ValueError(f"patches of {times(patch)} don't divide what is {times(size)}; choose others.")
        for axis, p in enumerate(patch):
            x = x.unflatten(2 + 2 * axis, (-1, p))  # (B, C, n_1, p_1, n_2, p_2, ...)
        where, within = range(2, 2 + 2 * axes, 2), range(3, 3 + 2 * axes, 2)
        return x.permute(0, *where, 1, *within).flatten(1 + axes).flatten(1, axes)
