"""Learning a decoder apart: codes are computed once, and no gradient enters the encoder.

L = (1/N) Σ_i |h(f(o_i)) - picture_i|²
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor, nn

from ebm.history import History
from ebm.jepa.decoder import Decoding
from ebm.loss import AverageEnergy
from ebm.parts import evaluating
from ebm.train import fit

CHUNK = 1024  # observations encoded at once


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
    with evaluating(*([module] if isinstance(module, nn.Module) else [])):
        made = [encode(part) for part in observations.split(CHUNK)]
    return torch.cat([code if isinstance(code, Tensor) else code[0] for code in made])
