"""An energy over x and y: for some x three answers y fit, and inference goes downhill to one of them.

E(x, y) = ½ (x - (y³ - 1.2 y))² has its zeros on a folded curve. The paths are `minimize` over y with x given.
"""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib.figure import Figure

from ebm import energy, minimize
from ebm.infer import GradientDescent
from ebm.show import landscape, style, traced, trajectory
from ebm.show.style import GREEN, ORANGE, SKY, VERMILION

ALT = (
    "An energy over x and y that is low along a folded curve; from five starting points inference goes "
    "down in y, to different answers for the same x."
)


@energy
def folded(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """½ (x - (y³ - 1.2 y))²."""
    return 0.5 * (x - (y**3 - 1.2 * y)).square().sum(1)


def draw() -> Figure:
    """The figure."""
    x = torch.tensor([[0.1], [0.1], [0.1], [-1.2], [1.3]])
    y = torch.tensor([[1.7], [-0.45], [-1.7], [1.3], [-0.2]])
    solution = minimize(folded, y, GradientDescent(0.01), given={"x": x}, trace=True, max_steps=5000)
    with style():
        figure = Figure(figsize=(7.2, 4.8))
        ax = landscape(
            folded, ("x", "y"), figure.subplots(), (-2.0, 2.0, -2.0, 2.0), ceiling=1.5, label="E(x, y)"
        )
        colors = (VERMILION, ORANGE, VERMILION, SKY, GREEN)
        trajectory(traced(solution, ("x", "y"), {"x": x}), ax, color=colors)
        ax.set(
            title="Inference: given x, go down in y",
            xlabel="x (observed)",
            ylabel="y (to be predicted)",
        )
    return figure


if __name__ == "__main__":
    draw().savefig(Path(__file__).with_suffix(".png"), dpi=150)
