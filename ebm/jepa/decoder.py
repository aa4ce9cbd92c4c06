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
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor, nn

from ebm.energy import Energy
from ebm.history import History
from ebm.loss import AverageEnergy
from ebm.nets.layers import check_sizes, convolution, linear
from ebm.train import fit

CHUNK = 1024  # observations encoded at once


class Decoding(Energy):
    """E(code, picture) = Σ_pixels (h(code) - picture)².

    Args:
        decoder: h, a module (B, S) -> (B, *shape) like the pictures.

    Raises:
        ValueError: on a call, if the decoder's pictures have another shape.

    Example:
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


def learn_decoder(
    encode: Callable[[Tensor], Any],
    decoder: nn.Module,
    observations: Tensor,
    pictures: Tensor | None = None,
    *,
    steps: int = 1000,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    generator: Generator | None = None,
    progress: bool | str = False,
) -> History:
    """Train a decoder on the codes of an encoder that stays as it is.

    Observations are encoded once, without a graph, an encoder that is a module (or a method of one) in
    evaluation mode; then the decoder is fitted to the codes by Adam.

    Args:
        encode: observations (N, *shape) to codes (N, S), or to a tuple that begins with them: an encoder, or
            a world model's `encode`.
        decoder: h, a module (B, S) -> (B, *picture).
        observations: (N, *shape), as `encode` takes them.
        pictures: what to draw, (N, *picture), numbers or uint8 (0 to 255, divided by 255); the observations
            if None.
        steps, batch_size, learning_rate: of the fit.
        generator: source of the batches.
        progress: as in `fit`.

    Returns:
        The history of `fit`.

    Raises:
        ValueError: if there isn't one picture for each observation.

    Example:
        >>> from ebm.nets import mlp
        >>> spots = torch.eye(4).view(4, 1, 2, 2)
        >>> history = learn_decoder(nn.Flatten(), nn.Sequential(mlp(4, 4), nn.Unflatten(1, (1, 2, 2))), spots)
        >>> loss = history.column("loss")
        >>> bool(loss[-1] < loss[0])
        True
    """
    pictures = observations if pictures is None else pictures
    if len(pictures) != len(observations):
        raise ValueError(f"one picture for each observation; got {len(pictures)} and {len(observations)}.")
    codes = frozen_codes(encode, observations)
    pictures = pictures.to(codes) / 255 if pictures.dtype == torch.uint8 else pictures.to(codes)
    optimizer = partial(torch.optim.Adam, lr=learning_rate)
    return fit(
        Decoding(decoder),
        AverageEnergy(),
        {"code": codes, "picture": pictures},
        optimizer=optimizer,
        steps=steps,
        batch_size=batch_size,
        generator=generator,
        progress=progress,
    )


@torch.no_grad()
def frozen_codes(encode: Callable[[Tensor], Any], observations: Tensor) -> Tensor:
    """Codes (N, S) of observations (N, *shape), without a graph, the encoder in evaluation mode meanwhile."""
    module = encode if isinstance(encode, nn.Module) else getattr(encode, "__self__", None)
    modes = [(m, m.training) for m in module.modules()] if isinstance(module, nn.Module) else []
    try:
        for each, _ in modes:
            each.training = False
        made = [encode(part) for part in observations.split(CHUNK)]
    finally:
        for each, training in modes:
            each.training = training
    return torch.cat([code if isinstance(code, Tensor) else code[0] for code in made])


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
