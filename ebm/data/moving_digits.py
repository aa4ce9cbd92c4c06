"""Moving digits: short clips of handwritten digits that fly straight and bounce off the walls.

    position   q(t) = fold(q_0 + v t),    fold(p) = R - |R - p mod 2R|,    R = side - size, the room to move
    in pixel      frame(t)_ij = max over digits of the digit, enlarged, at (i - q_r(t), j - q_c(t)), bilinear

Positions are real numbers, so a digit moves by parts of a pixel. All of it is a function of what is drawn:
which digits, where they start, how fast they are, and in which of eight directions.

Reference: Srivastava, Mansimov, Salakhutdinov (2015), "Unsupervised Learning of Video Representations using
LSTMs", sect. 3.1.1 (Moving MNIST); here with the digits that scikit-learn bundles.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ebm.data.digits import digits
from ebm.data.labeled import Split

DIRECTIONS = 8


class MovingDigits(NamedTuple):
    """Clips and what they show, K digits in each.

    Attributes:
        clips: gray, in [0, 1], (N, T, H, W); a video network wants a channel, `clips[:, None]`.
        labels: which digits, 0 to 9, (N, K) int64.
        directions: k of the first velocity v = speed · (sin, cos)(2πk/8), in rows and columns: 0 is to the
            right, 2 downwards; (N, K) int64.
        positions: upper left corners (row, column) in pixels, (N, T, K, 2).
        velocities: pixels from frame to frame at each time, after bounces, (N, T, K, 2).
    """

    clips: Tensor
    labels: Tensor
    directions: Tensor
    positions: Tensor
    velocities: Tensor


def moving_digits(
    n: int,
    split: Split = "train",
    *,
    frames: int = 16,
    side: int = 32,
    size: int = 16,
    count: int = 1,
    speed: tuple[float, float] = (0.5, 1.5),
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
) -> MovingDigits:
    """Clips of digits that move at constant speed and bounce.

    Args:
        n: N, how many clips, at least 0.
        split: which of the bundled digits are shown, "train" or "test".
        frames: T, at least 1.
        side: of a frame in pixels, H = W.
        size: of a digit in pixels, smaller than a frame; the bundled ones have 8 and are enlarged.
        count: K, digits in a clip; where they overlap the brighter one is seen.
        speed: pixels from frame to frame, drawn uniformly from this range.
        generator: randomness; the global generator if None. The clips lie on its device.
        dtype: of the clips; the default dtype if None.

    Raises:
        ValueError: if a number is out of its range.

    Example:
        >>> found = moving_digits(5, frames=4, generator=torch.Generator().manual_seed(0))
        >>> found.clips.shape, found.labels.shape, found.positions.shape
        (torch.Size([5, 4, 32, 32]), torch.Size([5, 1]), torch.Size([5, 4, 1, 2]))
    """
    if n < 0 or frames < 1 or count < 1 or not 0 < size < side:
        raise ValueError(
            f"moving_digits needs n >= 0, frames >= 1, count >= 1 and 0 < size < side; got n={n}, "
            f"frames={frames}, count={count}, size={size}, side={side}."
        )
    if not 0 <= speed[0] <= speed[1] < math.inf:
        raise ValueError(f"speed is (low, high), pixels from frame to frame, 0 <= low <= high; got {speed}.")
    home = None if generator is None else generator.device
    images, classes = (part.to(home) for part in digits(split, dtype=dtype))
    which = torch.randint(len(images), (n, count), generator=generator, device=home)
    directions = torch.randint(DIRECTIONS, (n, count), generator=generator, device=home)
    u = torch.rand(n, count, 3, generator=generator, dtype=images.dtype, device=home)
    angle = 2 * math.pi / DIRECTIONS * directions.to(u.dtype)
    pace = speed[0] + (speed[1] - speed[0]) * u[..., :1]
    velocity = (pace * torch.stack([angle.sin(), angle.cos()], 2))[:, None]  # (N, 1, K, 2): rows, columns
    room = side - size
    times = torch.arange(frames, dtype=u.dtype, device=home)[:, None, None]
    flown = (room * u[..., 1:])[:, None] + velocity * times  # (N, T, K, 2), as if there were no walls
    positions = fold(flown, room)
    clips = images.new_zeros(n, frames, side, side)
    for k in range(count):
        rows, columns = (hats(positions[:, :, k, axis], side, size, images.shape[-1]) for axis in (0, 1))
        shown = torch.einsum("nthi,nij,ntwj->nthw", rows, images[which[:, k]], columns)
        clips = torch.maximum(clips, shown)
    back = (flown % (2 * room)) >= room  # on its way back from the far wall
    velocities = velocity * torch.where(back, -1.0, 1.0).to(u.dtype)
    return MovingDigits(clips, classes[which], directions, positions, velocities)


def fold(places: Tensor, room: float) -> Tensor:
    """Where something is that flies along a line and is thrown back at 0 and at `room`.

    Example:
        >>> fold(torch.tensor([-1.0, 0.5, 3.0, 9.0]), 2.0)
        tensor([1.0000, 0.5000, 1.0000, 1.0000])
    """
    return room - (room - places % (2 * room)).abs()


def hats(corner: Tensor, side: int, size: int, points: int) -> Tensor:
    """Weights of bilinear interpolation along one axis: a digit of `points` pixels, `size` wide, at a corner.

    Args:
        corner: of the digit, (*K).
        side: pixels of the frame, H.
        size: pixels that the digit takes.
        points: pixels that the digit has, P.

    Returns:
        (*K, H, P): how much of each pixel of the digit each pixel of the frame shows; outside it is dark.
    """
    pixel = torch.arange(side, dtype=corner.dtype, device=corner.device) + 0.5
    place = (pixel - corner[..., None]) * (points / size) - 0.5  # in pixels of the digit
    each = torch.arange(points, dtype=corner.dtype, device=corner.device)
    return (1 - (place[..., None] - each).abs()).clamp(min=0)
