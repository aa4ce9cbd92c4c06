"""Frames as a film: an animated GIF, or an MP4 where ffmpeg is installed.

A GIF has 256 colors. Frames that have no more, as those of most worlds, come back from it pixel for pixel;
others get the 256 that fit them best, the same in all frames, so that nothing flickers.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

GAP, GAP_SHADE = 2, 208  # px of gray between tiles


def save_animation(
    frames: Tensor | np.ndarray, path: str | os.PathLike[str], fps: float = 10.0, scale: int = 1
) -> Path:
    """Write frames to a .gif or .mp4 file, whole or not at all.

    Args:
        frames: (T, H, W, 3) uint8, or of B episodes side by side, (T, B, H, W, 3).
        path: ends in .gif or .mp4; the file is replaced if it exists.
        fps: frames a second. A GIF counts hundredths of a second, and players slow down what is above 50.
        scale: whole number; each pixel becomes a square of so many.

    Returns:
        The path.

    Raises:
        TypeError: if the frames aren't uint8.
        ValueError: if they have another shape, there are none, the path ends otherwise, fps isn't positive,
            or scale is below 1.
        RuntimeError: if .mp4 is asked for and ffmpeg is missing or fails.

    Example:
        >>> film = np.zeros((3, 8, 8, 3), dtype=np.uint8)
        >>> film[np.arange(3), 4, np.arange(3)] = 255
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Image.open(save_animation(film, Path(folder) / "film.gif", scale=2)) as image:
        ...         image.n_frames, image.size, image.info["duration"]
        (3, (16, 16), 100)
    """
    path = Path(path)
    if path.suffix not in (".gif", ".mp4"):
        raise ValueError(f"an animation is a .gif or a .mp4; got {path.name!r}.")
    if not 0 < fps < math.inf or scale < 1:
        raise ValueError(f"fps is positive and scale at least 1; got fps={fps}, scale={scale}.")
    film = tiled(frames).repeat(scale, axis=1).repeat(scale, axis=2)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as beside:
        whole = Path(beside) / path.name
        if path.suffix == ".gif":
            _write_gif(film, whole, fps)
        else:
            _write_mp4(film, whole, fps)
        os.replace(whole, path)
    return path


def tiled(frames: Tensor | np.ndarray) -> np.ndarray:
    """Frames of several episodes in a grid, row by row, (T, B, H, W, 3) -> (T, rows · H, columns · W, 3).

    Args:
        frames: uint8; (T, H, W, 3), a single episode, comes back as it is.

    Raises:
        TypeError: if the frames aren't uint8.
        ValueError: if they have another shape, or there are none.

    Example:
        >>> tiled(np.zeros((10, 6, 20, 20, 3), dtype=np.uint8)).shape
        (10, 42, 64, 3)
    """
    film = frames.detach().cpu().numpy() if isinstance(frames, Tensor) else np.asarray(frames)
    if film.dtype != np.uint8:
        raise TypeError(f"frames are uint8, from 0 to 255; got {film.dtype}.")
    if film.ndim not in (4, 5) or film.shape[-1] != 3 or not film.size:
        raise ValueError(f"frames are (T, H, W, 3) or (T, B, H, W, 3), one at least; got {film.shape}.")
    if film.ndim == 4:
        return film
    time, batch, height, width, _ = film.shape
    columns = math.ceil(math.sqrt(batch))
    rows = math.ceil(batch / columns)
    grid = np.full(
        (time, rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), GAP_SHADE, dtype=np.uint8
    )
    for i in range(batch):
        y, x = i // columns * (height + GAP), i % columns * (width + GAP)
        grid[:, y : y + height, x : x + width] = film[:, i]
    return grid


def _write_gif(film: np.ndarray, path: Path, fps: float) -> None:
    time, height, width, _ = film.shape
    red, green, blue = (film[..., i].astype(np.int32) for i in range(3))
    colors, index = np.unique((red << 16) | (green << 8) | blue, return_inverse=True)
    if len(colors) <= 256:
        palette = np.stack([colors >> 16, colors >> 8 & 255, colors & 255], 1).astype(np.uint8).tobytes()
        index = index.reshape(film.shape[:3]).astype(np.uint8)
    else:
        tall = Image.fromarray(film.reshape(time * height, width, 3))
        tall = tall.quantize(256, dither=Image.Dither.NONE)
        palette, index = bytes(tall.getpalette() or ()), np.asarray(tall).reshape(film.shape[:3])
    images = [Image.fromarray(each) for each in index]
    for image in images:
        image.putpalette(palette)
    images[0].save(path, save_all=True, append_images=images[1:], duration=round(1000 / fps), loop=0)


def _write_mp4(film: np.ndarray, path: Path, fps: float) -> None:
    program = shutil.which("ffmpeg")
    if program is None:
        raise RuntimeError(
            "an .mp4 is written by the program ffmpeg, which is not on the PATH: install it (as by "
            "`apt install ffmpeg` or `conda install ffmpeg`), or save a .gif, which needs nothing more."
        )
    film = np.pad(film, ((0, 0), (0, film.shape[1] % 2), (0, film.shape[2] % 2), (0, 0)), mode="edge")  # even
    size = f"{film.shape[2]}x{film.shape[1]}"
    taken = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", f"{fps:g}", "-i", "-"]
    made = ["-an", "-c:v", "libx264", "-crf", "16", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    command = [program, "-y", "-loglevel", "error", *taken, *made, str(path)]
    ran = subprocess.run(command, input=film.tobytes(), capture_output=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"ffmpeg failed ({ran.returncode}): {ran.stderr.decode(errors='replace').strip()}")
