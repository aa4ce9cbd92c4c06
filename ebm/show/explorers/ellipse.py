"""The latent ellipse, to play with: an observation y that is dragged, a latent angle z that nobody sees.

    E(y, z) = |y - g(z)|²,  g(z) = (w_1 cos z, w_2 sin z),  z in 48 angles
    F_β(y) = -(1/β) log ⟨exp(-β E(y, z))⟩_z,        F_∞(y) = min_z E(y, z) = E(y, z*)

Training moves w downhill on ⟨F_β⟩, the mean over 24 points near the ellipse with half-axes 2 and 1.5. For
β below 1 / (2 max_i ⟨y_i²⟩) its only minimum is w = 0: the ellipse collapses to a point.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ebm.show.explorers.controls import Button, Control, Slider, Toggle
from ebm.show.explorers.fields import heat, plane
from ebm.show.explorers.scene import Dots, Extent, Handle, Heat, Line, Panel, Scene, array
from ebm.show.explorers.state import State, Value
from ebm.show.style import BLUE, GRAY, GREEN, ORANGE, PURPLE, SKY, VERMILION
from ebm.targets import Ellipse, ellipse_data

PLANE: Extent = (-3.2, 3.2, -2.6, 2.6)  # of y
WEIGHTS: Extent = (0.0, 3.0, 0.0, 3.0)  # of w; the loss is the same for -w_i
START = (1.5, 1.2)  # of w, where training begins
RATE, STILL = 0.5, 1e-4  # step size of training; it has arrived where the slope is smaller


def free_energy(weights: Tensor, y: Tensor, z: Tensor, beta: float) -> Tensor:
    """F_β(y) of the ellipse, for many weights and points at once.

    Args:
        weights: w, (W, 2).
        y: points, (N, 2).
        z: angles, (K,), to average over.
        beta: inverse temperature in (0, inf]; inf is the minimum over z.

    Returns:
        (W, N).

    Example:
        >>> angles = torch.arange(48) * math.pi / 24
        >>> free_energy(torch.tensor([[2.0, 1.5]]), torch.zeros(1, 2), angles, math.inf)
        tensor([[2.2500]])
    """
    points = weights.unsqueeze(1) * torch.stack([z.cos(), z.sin()], 1)  # (W, K, 2)
    squares = points.square().sum(2).unsqueeze(1)  # (W, 1, K)
    energies = squares - 2 * y @ points.mT + y.square().sum(1, keepdim=True)  # (W, N, K)
    if beta == math.inf:
        return energies.amin(2)
    return (math.log(len(z)) - torch.logsumexp(-beta * energies, 2)) / beta


class EllipseExplorer(State):
    """Drag y and see its energy over z; slide β; press play and watch training fit the ellipse, or collapse.

    Args:
        data: the observations that it trains on, (N, 2); 24 points near an ellipse if None.
        weights: w to begin with, each in [0, 3].

    Raises:
        ValueError: for data of another shape.

    Example:
        >>> explorer = EllipseExplorer(weights=(2.0, 1.5))
        >>> explorer.drag("y", 0.0, 0.0)
        >>> round(explorer.probe()["F_inf"], 6)  # at the center the smallest w_i², not infinity
        2.25
    """

    title = "The latent ellipse"
    handles, verb = ("y", "w"), "Train w"

    def __init__(self, data: Tensor | None = None, weights: tuple[float, float] = (2.0, 1.5)):
        if data is None:
            data = ellipse_data(24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        if data.ndim != 2 or data.shape[1] != 2 or not len(data):
            raise ValueError(f"the ellipse trains on points (N, 2), one at least; got {tuple(data.shape)}.")
        self.data = data.detach().double()
        self.model = Ellipse(torch.tensor(weights, dtype=torch.float64))
        self.angles = self.model.angles(48)
        self.y = torch.tensor([[1.2, 1.6]], dtype=torch.float64)
        self.beta, self.minimize, self.steps = 4.0, True, 0
        self._fields: dict[str, tuple[object, Heat]] = {}  # by panel: what it was computed for, and the field

    @property
    def temperature(self) -> float:
        """β, inf where z is minimized."""
        return math.inf if self.minimize else self.beta

    def controls(self) -> tuple[Control, ...]:
        w1, w2 = self.model.weights.tolist()
        return (
            Slider("w1", "half-axis w₁", 0.0, 3.0, w1),
            Slider("w2", "half-axis w₂", 0.0, 3.0, w2),
            Toggle("minimize", "β = ∞ (the minimum over z)", self.minimize),
            Slider("beta", "inverse temperature β", 0.05, 100.0, self.beta, log=True),
            Button("restart", f"w back to {START}"),
        )

    def _set(self, name: str, value: Value) -> None:
        if name in ("w1", "w2"):
            w1, w2 = self.model.weights.tolist()
            self._weigh(*((float(value), w2) if name == "w1" else (w1, float(value))))
        else:
            setattr(self, name, value)
            if name == "beta":
                self.minimize = False  # who slides β wants to see it
            self.steps = 0

    def _press(self, name: str) -> None:
        self._weigh(*START)

    def _drag(self, name: str, x: float, y: float) -> None:
        x0, x1, y0, y1 = PLANE if name == "y" else WEIGHTS
        x, y = min(max(x, x0), x1), min(max(y, y0), y1)
        if name == "y":
            self.y = torch.tensor([[x, y]], dtype=torch.float64)
        else:
            self._weigh(x, y)

    def _weigh(self, w1: float, w2: float) -> None:
        self.model.weights.data = torch.tensor([w1, w2], dtype=torch.float64)
        self.steps = 0

    def tick(self) -> bool:
        """One step of gradient descent on ⟨F_β⟩ over w; False once it has arrived."""
        w = self.model.weights.detach().clone().requires_grad_()
        loss = free_energy(w.unsqueeze(0), self.data, self.angles[:, 0], self.temperature).mean()
        (slope,) = torch.autograd.grad(loss, w)
        self.model.weights.data = (w - RATE * slope).detach().clamp(0.0, 3.0)
        self.steps += 1
        return bool(slope.abs().max() > STILL)

    @torch.no_grad()
    def _free(self, y: Tensor, beta: float) -> Tensor:
        return free_energy(self.model.weights.unsqueeze(0).to(y), y, self.angles[:, 0].to(y), beta)[0]

    @torch.no_grad()
    def _over_z(self, angles: Tensor) -> Tensor:
        """E(y, z) at the dragged y, (K,)."""
        return self.model(y=self.y.expand(len(angles), 2), z=angles)

    def probe(self) -> dict[str, float]:
        energies = self._over_z(self.angles)
        (y1, y2), (w1, w2) = self.y[0].tolist(), self.model.weights.tolist()
        data, beta = float(self._free(self.data, self.temperature).mean()), self.temperature
        center = float(self._free(torch.zeros_like(self.y), beta))
        return {
            "y1": y1,
            "y2": y2,
            "w1": w1,
            "w2": w2,
            "beta": beta,
            "z_star": float(self.angles[energies.argmin()]),
            "F_inf": float(energies.min()),
            "F_beta": float(self._free(self.y, beta)),
            "F_0": float(energies.mean()),
            "on_data": data,
            "gap": center - data,
            "critical_beta": Ellipse.critical_beta(self.data),
            "steps": float(self.steps),
        }

    def scene(self) -> Scene:
        found = self.probe()
        beta = "∞" if math.isinf(found["beta"]) else f"{found['beta']:.3g}"
        name = "F∞" if beta == "∞" else "Fβ"
        free = "" if beta == "∞" else f", Fβ = {found['F_beta']:.3f}"
        text = (
            f"At y = ({found['y1']:.2f}, {found['y2']:.2f}) z* = {found['z_star']:.2f}, "
            f"F∞ = {found['F_inf']:.3f}{free}. On the data {name} is {found['on_data']:.3f} in the mean, "
            f"at the center {abs(found['gap']):.3f} {'more' if found['gap'] > 0 else 'less'}. β = {beta}: "
        )
        if found["beta"] > found["critical_beta"]:
            text += "the ellipse survives training."
        else:
            gone = max(found["w1"], found["w2"]) < 0.02
            text += f"below {found['critical_beta']:.3f} it collapses{', and it has' if gone else ''}."
        return Scene((self._plane(found, name), self._angle(found, beta), self._loss_panel(name)), text)

    def _plane(self, found: dict[str, float], name: str) -> Panel:
        kept = (found["w1"], found["w2"], found["beta"])
        if self._fields.get("plane", (None,))[0] != kept:
            field = self._free(plane(PLANE, 73, 61), found["beta"]).view(61, 73)
            self._fields["plane"] = kept, heat(field, f"{name}(y)")
        curve = self.model.decode(torch.linspace(0, 2 * math.pi, 97).double().unsqueeze(1))
        nearest = self.model.decode(torch.tensor([[found["z_star"]]], dtype=torch.float64))
        return Panel(
            "Free energy F(y)",
            "y₁",
            "y₂",
            PLANE,
            (
                self._fields["plane"][1],
                Line(array(curve), ORANGE, "the ellipse g(z)"),
                Dots(array(self.data), SKY, 6, "data"),
                Line(array(torch.cat([self.y, nearest])), VERMILION, dashed=True),
                Dots(array(nearest), VERMILION, 9, "g(z*)"),
                Handle("y", found["y1"], found["y2"], "y", VERMILION),
            ),
        )

    def _angle(self, found: dict[str, float], beta: str) -> Panel:
        fine = torch.linspace(0, 2 * math.pi, 145).double().unsqueeze(1)
        curve = array(torch.stack([fine[:, 0], self._over_z(fine)], 1))
        nodes = array(torch.stack([self.angles[:, 0], self._over_z(self.angles)], 1))
        top = 1.1 * float(curve[:, 1].max()) + 0.1
        levels = [("F∞, the minimum", found["F_inf"], VERMILION), ("F₀, the mean", found["F_0"], GREEN)]
        if beta != "∞":
            levels.insert(1, (f"Fβ, β = {beta}", found["F_beta"], PURPLE))
        across = np.array([0.0, 2 * math.pi])
        return Panel(
            "Energy over z at the point y",
            "latent angle z (radians)",
            "E(y, z)",
            (0.0, 2 * math.pi, 0.0, top),
            (
                *(Line(np.stack([across, [v, v]], 1), c, label, dashed=True) for label, v, c in levels),
                Line(curve, BLUE, "E(y, z)"),
                Dots(nodes, BLUE, 4),
                Dots(np.array([[found["z_star"], found["F_inf"]]]), VERMILION, 10, "z*"),
            ),
            equal=False,
        )

    def _loss_panel(self, name: str) -> Panel:
        beta, grid = self.temperature, plane(WEIGHTS, 31, 31)
        if self._fields.get("loss", (None,))[0] != beta:
            loss = free_energy(grid, self.data.float(), self.angles[:, 0].float(), beta).mean(1)
            self._fields["loss"] = beta, heat(loss.view(31, 31), f"mean {name}")
        field = self._fields["loss"][1]
        best = array(grid[int(field.values.argmin())].unsqueeze(0))
        w1, w2 = self.model.weights.tolist()
        return Panel(
            "Training: mean F over the data",
            "half-axis w₁",
            "half-axis w₂",
            WEIGHTS,
            (
                field,
                Dots(best, GRAY, 9, "lowest on this grid"),
                Handle("w", w1, w2, "w", ORANGE),
            ),
        )
