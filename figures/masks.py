"""What is hidden: multi-block masks of I-JEPA on photographs, tubes of V-JEPA on a clip of a flying digit.

Above, a grid of 14 x 14 patches: what the encoder sees, and the four blocks whose codes are to be predicted
from it (those that overlap are drawn over one another). Below, both ranges of V-JEPA at three times of a
clip, on a grid of 14 x 14 places: a mask hides the same places at all times. To the right the shares that
draws have; gray: what the papers say of a target block (0.15 to 0.2) and of hidden places (about 0.9).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ebm.data import moving_digits, photos
from ebm.jepa import MultiBlock, TubeBlocks
from ebm.jepa.masks import one_mask
from ebm.show import style
from ebm.show.feature_rgb import mosaic
from ebm.show.style import BLUE, GRAY, GREEN, ORANGE, VERMILION

ALT = (
    "Photographs and a clip with the patches that I-JEPA and V-JEPA hide from the encoder, beside "
    "histograms of the shares that are hidden."
)
GRID, PATCH, DRAWS, BATCHES, BATCH = 14, 30, 400, 60, 64
RANGES = {"short range": (8, 0.15), "long range": (2, 0.7)}
BLOCKS = (BLUE, ORANGE, GREEN, VERMILION)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rgb(color: str) -> np.ndarray:
    return np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])


def shown(image: Tensor, index: Tensor, patch: int, hidden: float = 1.0) -> np.ndarray:
    """The image with all but these patches white, or gray, (H, W, 3)."""
    seen = torch.zeros(GRID * GRID, dtype=torch.bool)
    seen[index] = True
    mask = seen.view(GRID, GRID).repeat_interleave(patch, 0).repeat_interleave(patch, 1)
    return torch.where(mask, image, hidden)[..., None].expand(-1, -1, 3).numpy()


def blocks(image: Tensor, targets: Tensor, patch: int) -> np.ndarray:
    """The image, pale, with each target block tinted in a color of its own."""
    picture = 0.5 + 0.5 * image[..., None].expand(-1, -1, 3).numpy()
    for index, color in zip(targets, BLOCKS, strict=True):
        rows, columns = index // GRID, index % GRID
        at = (
            slice(patch * int(rows.min()), patch * (int(rows.max()) + 1)),
            slice(patch * int(columns.min()), patch * (int(columns.max()) + 1)),
        )
        picture[at] = 0.45 * image[at][..., None].numpy() + 0.55 * rgb(color)
    return picture


def images(ax: Axes) -> None:
    """Two photographs, each with its context and its targets."""
    crops = [photo[:420, left : left + 420].float() for photo, left in zip(photos(), (60, 170), strict=True)]
    context, targets = (one_mask(each) for each in MultiBlock((GRID, GRID)).draw(2, seeded(4)))
    pictures = []
    for k, crop in enumerate(crops):
        whole = crop[..., None].expand(-1, -1, 3).numpy()
        pictures += [whole, shown(crop, context[k], PATCH), blocks(crop, targets[k], PATCH)]
    mosaic(np.stack(pictures), ax, columns=6, gap=0.06)
    ax.set_title("I-JEPA: the image, the context, four target blocks")


def clip(ax: Axes) -> None:
    """Three times of a clip: as it is, and what is left of it in both ranges."""
    frames = moving_digits(1, frames=8, side=112, size=70, speed=(6.0, 6.0), generator=seeded(5)).clips[0]
    frames = frames[[0, 3, 6]].float()
    pictures = [frame[..., None].expand(-1, -1, 3).numpy() for frame in frames]
    for number, scale in RANGES.values():
        context = one_mask(TubeBlocks((1, GRID, GRID), number, scale).draw(1, seeded(2)).context)[0]
        pictures += [shown(frame, context, 8, hidden=0.75) for frame in frames]
    mosaic(np.stack(pictures), ax, columns=9, gap=0.06)
    ax.set_title("V-JEPA: a clip, seen through its short-range and through its long-range mask")


def image_shares(ax: Axes) -> None:
    """Shares of the patches in a target block and in the context."""
    masks = MultiBlock((GRID, GRID))
    alone = [masks.draw(1, seeded(seed)) for seed in range(DRAWS)]
    together = [masks.draw(BATCH, seeded(seed)) for seed in range(BATCHES)]
    ax.axvspan(0.15, 0.2, color=GRAY, alpha=0.4, linewidth=0)
    found = {
        "a target block": [one_mask(drawn.targets).shape[2] / GRID**2 for drawn in alone],
        "context of an image": [one_mask(drawn.context).shape[1] / GRID**2 for drawn in alone],
        f"... in a batch of {BATCH}": [one_mask(drawn.context).shape[1] / GRID**2 for drawn in together],
    }
    histogram(ax, found)
    ax.set(xlabel="share of the patches")


def clip_shares(ax: Axes) -> None:
    """Shares of the places that are hidden in clips; a batch hides as many in all of its clips."""
    found = {}
    for name, (number, scale) in RANGES.items():
        masks = TubeBlocks((1, GRID, GRID), number, scale)
        for rows, count, words in ((1, DRAWS, "of a clip"), (BATCH, BATCHES, f"... in a batch of {BATCH}")):
            left = [one_mask(masks.draw(rows, seeded(s)).context).shape[1] / GRID**2 for s in range(count)]
            label = f"{name} {words}" if rows == 1 else words + " " * len(found)
            found[label] = [1 - share for share in left]
    ax.axvspan(0.88, 0.92, color=GRAY, alpha=0.4, linewidth=0)
    histogram(ax, found)
    ax.set(xlabel="share of hidden places")


def histogram(ax: Axes, found: dict[str, list[float]]) -> None:
    """Shares as histograms of one height, each with its mean in the legend."""
    for (name, shares), color in zip(found.items(), (BLUE, VERMILION, ORANGE, GREEN), strict=False):
        counts, edges = np.histogram(shares, bins=np.linspace(0, 1, 51))
        label = f"{name.strip()}: {np.mean(shares):.2f}"
        ax.stairs(counts / counts.max(), edges, color=color, fill=True, alpha=0.65, label=label)
    ax.set(xlim=(0, 1), ylim=(0, 1.02), yticks=[])
    ax.spines["left"].set_visible(False)
    ax.legend(fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0), borderaxespad=0.2, labelspacing=0.2)


def draw() -> Figure:
    """The figure."""
    with style():
        figure = Figure(figsize=(13.0, 5.4))
        panels = figure.subplots(2, 2, width_ratios=(3.2, 1.0))
        images(panels[0, 0])
        image_shares(panels[0, 1])
        clip(panels[1, 0])
        clip_shares(panels[1, 1])
    return figure


if __name__ == "__main__":
    draw().savefig(Path(__file__).with_suffix(".png"), dpi=150)
