"""The ellipse at six betas: what is left of F_β(y) as the temperature rises.

E(y, z) = |y - g(z)|², g on an ellipse; F_β = -(1/β) log ⟨exp(-βE)⟩ over 48 angles. White: the ellipse that
training on the mean F_β of 24 points finds at that β. It shrinks to a segment, then to a point: collapse by
temperature.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from matplotlib.figure import Figure

from ebm import marginal_over
from ebm.nodes import Finite
from ebm.show import landscape, style
from ebm.targets import Ellipse, ellipse_data

ALT = (
    "The ellipse model's free energy at six inverse temperatures: a ring of low energy at the coldest, "
    "which shrinks to a segment and then to a point as the temperature rises."
)
BETAS = (math.inf, 4.0, 1.0, 0.45, 0.3, 0.15)


def trained(beta: float, y: torch.Tensor) -> Ellipse:
    """The ellipse whose mean free energy F_β on the data is least."""
    model = Ellipse(torch.tensor([1.5, 1.2], dtype=y.dtype))
    free = marginal_over(model, "z", beta, by=Finite(model.angles()))
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=300, line_search_fn="strong_wolfe", tolerance_grad=1e-9
    )

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = free(y=y).mean()
        value.backward()
        return value

    optimizer.step(loss)
    return model


def draw() -> Figure:
    """The figure."""
    y = ellipse_data(24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    extent = (-3.0, 3.0, -2.5, 2.5)
    with style():
        figure = Figure(figsize=(10.0, 5.8))
        panels = figure.subplots(2, 3, sharex=True, sharey=True)
        for ax, beta in zip(panels.flat, BETAS, strict=True):
            model = trained(beta, y)
            free = marginal_over(model, "z", beta, by=Finite(model.angles()))
            landscape(free, "y", ax, extent, ceiling=5.0, relative=True, colorbar=False)
            curve = model.decode(model.angles(200)).detach()
            curve = torch.cat([curve, curve[:1]])
            ax.plot(curve[:, 0], curve[:, 1], color="white", linewidth=2)
            ax.plot(y[:, 0], y[:, 1], ".", color="#E69F00", markersize=5)
            w = model.weights.detach().abs()
            name = "∞" if beta == math.inf else f"{beta:g}"
            ax.set(title=f"β = {name}: w = ({w[0]:.2f}, {w[1]:.2f})", aspect="equal")
            ax.label_outer()
        figure.colorbar(
            ax.collections[0],
            ax=panels,
            label=r"$F_\beta$ above its lowest value",
            ticks=range(6),
            shrink=0.9,
        )
    return figure


if __name__ == "__main__":
    draw().savefig(Path(__file__).with_suffix(".png"), dpi=150)
