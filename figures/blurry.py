"""The blurry average, and a latent that tells futures apart: a ball may bounce to the left or to the right.

Left, what is seen: a ball at three times of its fall, drawn over one another. Then what may come, both ways;
what a predictor without a latent says, trained by |y - g(x)|²: their mean, in two pale halves; and what one
with two values of z says, trained by F_β at β = 3. Below, how far 200 unseen futures are from the nearest
prediction. Where it is too warm, β = 1, all values go on to say the mean: the latent is ignored.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Generator, Tensor

from ebm.data.bounce import Bounces, bounces, draw_balls
from ebm.loss import AverageEnergy
from ebm.nets import mlp
from ebm.regularized import LatentPredictor, WithLatent
from ebm.show import style
from ebm.show.style import BLUE, GRAY
from ebm.train import fit

ALT = (
    "A ball may bounce to the left or to the right: without a latent a predictor says a blur of both, "
    "with one it says either."
)
STEPS, BATCH, ROWS = 800, 64, 3
COLD, WARM = 3.0, 1.0


def learned(values: int, data: Bounces, beta: float = COLD) -> LatentPredictor:
    """A predictor with so many values of z; one of them is none."""
    network = WithLatent(mlp(768 + values, 128, 768, generator=Generator().manual_seed(1)), (3, 16, 16))
    model = LatentPredictor(network, torch.eye(values))
    fit(
        model.soft_free_energy(beta) if values > 1 else model.free_energy,
        AverageEnergy(),
        {"x": data.x, "y": data.y},
        optimizer=lambda p: torch.optim.Adam(p, lr=1e-3),
        steps=STEPS,
        batch_size=BATCH,
        generator=Generator().manual_seed(2),
        progress=False,
    )
    return copy.deepcopy(model).requires_grad_(False)


def over(frames: Tensor) -> Tensor:
    """Three frames as one picture."""
    return frames.amax(-3).clamp(0, 1)


def draw() -> Figure:
    """The figure."""
    unseen = bounces(200, generator=Generator().manual_seed(3))
    data = bounces(2000, generator=Generator().manual_seed(0))
    models = {count: learned(count, data) for count in (1, 2, 4)}
    twins = draw_balls(torch.stack([15 - unseen.places[:, 3:, 0], unseen.places[:, 3:, 1]], 2))
    blur, told = models[1].decode(unseen.x), models[2].decode(unseen.x)
    columns = {
        "what is seen": unseen.x,
        "what may come": unseen.y,
        "or else": twins,
        "said without z": blur[:, 0],
        "said with z = 0": told[:, 0],
        "with z = 1": told[:, 1],
    }
    with style():
        figure = Figure(figsize=(11.5, 7.4))
        above, below = figure.subfigures(2, 1, height_ratios=(3.0, 1.25))
        panels = above.subplots(ROWS, len(columns))
        for row in range(ROWS):
            for ax, (title, frames) in zip(panels[row], columns.items(), strict=True):
                ax.imshow(over(frames[row]).numpy(), cmap="gray", vmin=0, vmax=1)
                ax.set(xticks=[], yticks=[])
                if not row:
                    ax.set_title(title)
        ax = below.subplots()
        tried = {
            "no z": models[1],
            "2 values of z, β = 1": learned(2, data, WARM),
            "2 values of z": models[2],
            "4 values of z": models[4],
        }
        mean = (unseen.y - (unseen.y + twins) / 2).square().flatten(1).sum(1) / 2
        apart = {"the mean of both ways": mean}
        apart |= {name: model.free_energy(x=unseen.x, y=unseen.y) for name, model in tried.items()}
        means = [float(each.mean()) for each in apart.values()]
        bars = ax.barh(list(apart), means, color=[GRAY, *[BLUE] * len(tried)])
        ax.bar_label(bars, fmt="%.2f", padding=4)
        ax.invert_yaxis()
        ax.set(xlabel="energy of unseen futures, min over z of |y - g(x, z)|² / 2")
    return figure


if __name__ == "__main__":
    draw().savefig(Path(__file__).with_suffix(".png"), dpi=150)
