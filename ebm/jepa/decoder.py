"""A decoder to look through: what pictures a code stands for, learned apart and after.

    E(code, picture) = Σ_pixels (h(code) - picture)²,        code = f(o), computed once, no gradient enters f

A JEPA makes no pictures and needs none. To see what it imagines, a decoder is trained on codes as they are:
what it can't draw isn't in the code, and what it draws of a predicted code is what the model expects. It says
nothing of the model's quality, and must never become part of its loss: then the codes would hold every pixel.

Reference: LeCun (2022), "A Path Towards Autonomous Machine Intelligence", sect. 4.3 (why not generative);
Sobal et al. (2025), "Learning from Reward-Free Offline Data", fig. 2 (decoders for looking).
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Generator, Tensor, nn

from ebm.energy import Energy
from ebm.nets.layers import check_sizes, convolution, linear


class Decoding(Energy):
    """E(code, picture) = Σ_pixels (h(code) - picture)².

    Args:
        decoder: h, a module (B, S) -> (B, *shape) like the pictures.

    Raises:
        ValueError: on a call, if the decoder's pictures have another shape.

    Example:
        >>> import torch
        >>> Decoding(nn.Identity())(code=torch.zeros(1, 2), picture=torch.ones(1, 2))
        tensor([2.])
    """

    def __init__(self, decoder: nn.Module):
        super().__init__()
        self.decoder = decoder

    def forward(self, code: Tensor, picture: Tensor) -> Tensor:
        drawn = self.decoder(code)
        if drawn.shape != picture.shape:
            raise ValueError(
                f"the decoder draws {tuple(drawn.shape)}, the pictures are {tuple(picture.shape)}."
            )
        return (drawn - picture).square().flatten(1).sum(1)


def dot_decoder(
    code_size: int, *, cells: int = 13, patch: int = 5, width: int = 16, generator: Generator | None = None
) -> nn.Sequential:
    """A small decoder of pictures with little on them, such as the dots of `TwoRooms`.

    Two layers make a map of cells, a 3 x 3 convolution the patch of pixels of each cell.

    Args:
        code_size: S.
        cells: along a side of the map.
        patch: pixels along a side of a cell; 13 cells of 5 px make 65 px.
        width: channels of the map.
        generator: source of the weights; the global one if None.

    Returns:
        A module (B, S) -> (B, 1, cells · patch, cells · patch).

    Raises:
        ValueError: if a size isn't positive.

    Example:
        >>> import torch
        >>> dot_decoder(16)(torch.zeros(2, 16)).shape
        torch.Size([2, 1, 65, 65])
    """
    check_sizes("dot_decoder", code_size, cells, patch, width)
    return nn.Sequential(
        OrderedDict(
            hidden=linear(code_size, 128, generator=generator),
            activation=nn.SiLU(),
            map=linear(128, width * cells**2, generator=generator),
            activation_of_map=nn.SiLU(),
            cells=nn.Unflatten(1, (width, cells, cells)),
            pixels=convolution(width, patch**2, 3, generator=generator),
            picture=nn.PixelShuffle(patch),
        )
    )
