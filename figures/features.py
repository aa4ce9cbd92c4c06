"""What a patch's code says, in colors: I-JEPA after a few seconds on digits, beside the net that it began as.

Codes of the patches of digits that were not learned from, without what they say of their place alone (the
mean over images); their three strongest principal components are red, green and blue, the same in all images
of a row.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ebm.data import digits
from ebm.jepa import IJEPA, Masked, MultiBlock
from ebm.joint import EMA, linear, update_targets
from ebm.loss import AverageEnergy
from ebm.measure import linear_probe
from ebm.measure.encoded import encoded
from ebm.nets import PatchPredictor, PatchViT
from ebm.show import style
from ebm.show.feature_rgb import feature_rgb, mosaic
from ebm.train import fit

ALT = (
    "Digits, and the same digits in the colors of their patches' codes: noise for random features, "
    "parts of strokes in one color after a short training of I-JEPA."
)
SHOWN, STEPS = 16, 250


def pictures(split: str) -> Tensor:
    """Digits, twice as large, standardized, (N, 1, 16, 16)."""
    images = digits(split, dtype=torch.float32).images[:, None]  # type: ignore[arg-type]
    return (interpolate(images, scale_factor=2, mode="bilinear") - 0.3) / 0.35


def net() -> PatchViT:
    """The encoder as it begins."""
    f = PatchViT(16, 2, channels=1, width=32, depth=2, heads=2, generator=torch.Generator().manual_seed(0))
    f.patch_embed.requires_grad_(False)  # learned, it soon shows little but positions
    return f


def learned() -> nn.Module:
    """The target's net after a short training."""
    generator = torch.Generator().manual_seed(0)
    f = net()
    h = PatchPredictor(f.grid, f.width, width=16, depth=1, heads=2, generator=generator)
    energy = IJEPA(f, h, EMA(f, linear(0.98)))
    fit(
        energy,
        Masked(AverageEnergy(), MultiBlock(f.grid)),
        {"x": pictures("train")},
        optimizer=partial(torch.optim.AdamW, lr=2e-3),
        steps=STEPS,
        batch_size=64,
        callbacks=[update_targets(energy, STEPS)],
        generator=generator,
        progress=False,
    )
    return f


def painted(f: nn.Module, ax: Axes, title: str) -> None:
    """A row of digits in the colors of their patches' codes, and what a linear probe reads off mean codes."""
    codes = encoded(f, pictures("test"))
    mosaic(feature_rgb(codes, (8, 8), constant=codes.mean(0))[:SHOWN], ax, columns=SHOWN)
    known = encoded(f, pictures("train")).mean(1)
    probe = linear_probe((known, digits().labels), (codes.mean(1), digits("test").labels), kind="ridge")
    ax.set_title(f"{title}: a linear probe knows {probe.accuracy:.0%} of the digits")


def draw() -> Figure:
    """The figure."""
    with style():
        figure = Figure(figsize=(13.0, 3.4))
        panels = figure.subplots(3, 1)
        gray = 1 - digits("test", dtype=torch.float32).images[:SHOWN].numpy()
        mosaic(np.repeat(gray[..., None], 3, 3), panels[0], columns=SHOWN)
        panels[0].set_title("digits that were not learned from")
        painted(net(), panels[1], "random features")
        painted(learned(), panels[2], f"I-JEPA, {STEPS} steps")
    return figure


if __name__ == "__main__":
    draw().savefig(Path(__file__).with_suffix(".png"), dpi=150)
