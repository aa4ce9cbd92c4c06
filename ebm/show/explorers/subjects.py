"""What the landscape explorer can look at: an energy over two numbers, with what it needs besides.

y ↦ E(y),        y ↦ E(x, y) for an observation x,        y ↦ F_β(y) = -(1/β) log ⟨exp(-β E(y, z))⟩_z
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ebm.energy import Energy
from ebm.function import energy
from ebm.marginal import marginal_over
from ebm.nodes import Finite
from ebm.regularizers import L1
from ebm.show.explorers.scene import Extent
from ebm.targets import Banana, DoubleWell, Ellipse, Himmelblau, Mixture, Rastrigin, Ring, Rosenbrock


@dataclass(frozen=True, eq=False)
class Subject:
    """An energy over a variable of two numbers, as the landscape explorer looks at it.

    Args:
        energy: an energy of `over`, and of `observed` and `latent` if they are named.
        extent: (x0, x1, y0, y1), the part of the plane that is shown.
        over: the variable that is free, (B, 2).
        start: where minimization begins; a place in the upper left if None.
        observed: the variable that is given, (B, 2), and can be dragged; None for none.
        seen: its value to begin with.
        latent: the variable that is minimized or marginalized, with `nodes`; None for none.
        nodes: the values of the latent that count, (K, *shape).
        step_size: of the methods that need one, to begin with.
        quantile: the share of the plane that gets colors of its own; what is higher gets the lightest.

    Raises:
        TypeError: for variables that the energy doesn't have, or has beside these.
        ValueError: for a latent without nodes.

    Example:
        >>> Subject(Ring(), (-3, 3, -3, 3)).free_energy(math.inf)(y=torch.tensor([[2.0, 0.0]]))
        tensor([0.])
    """

    energy: Energy
    extent: Extent
    over: str = "y"
    start: tuple[float, float] | None = None
    observed: str | None = None
    seen: tuple[float, float] = (0.0, 0.0)
    latent: str | None = None
    nodes: Tensor | None = None
    step_size: float = 0.05
    quantile: float = 0.85

    def __post_init__(self) -> None:
        named = {name for name in (self.over, self.observed, self.latent) if name is not None}
        if set(self.energy.variables) != named:
            raise TypeError(
                f"the landscape needs an energy of {', '.join(sorted(named))} and nothing else; "
                f"{self.energy.label} is one of {', '.join(self.energy.variables)}. Name `over`, `observed` "
                "and `latent`, and give the rest: energy.given(name=value)."
            )
        if (self.latent is None) != (self.nodes is None):
            raise ValueError("a latent comes with its nodes, and nodes come with the latent's name.")

    @property
    def dtype(self) -> torch.dtype:
        """That of the energy's first parameter or buffer, else double precision."""
        tensors = (*self.energy.parameters(), *self.energy.buffers())
        return next((t.dtype for t in tensors if t.is_floating_point()), torch.float64)

    def free_energy(self, beta: float) -> Energy:
        """F_β, the energy without its latent (inf: the minimum over z); the energy itself without one."""
        if self.latent is None or self.nodes is None:
            return self.energy
        return marginal_over(self.energy, self.latent, beta, by=Finite(self.nodes.to(self.dtype)))


@energy
def near_a_ring(x: Tensor, y: Tensor) -> Tensor:
    """|y - x|² + 2 (|y| - 2)²: the point that is both near the observation and near the ring."""
    return (y - x).square().sum(1) + 2 * (torch.linalg.vector_norm(y, dim=1) - 2).square()


@energy
def lasso(y: Tensor) -> Tensor:
    """½ (y_1 - 1.5)² + ½ (y_2 - 0.4)² + ½ y_1 y_2: the smooth part of an energy with |y|₁."""
    return 0.5 * (y[:, 0] - 1.5).square() + 0.5 * (y[:, 1] - 0.4).square() + 0.5 * y[:, 0] * y[:, 1]


@energy
def three_codes(y: Tensor, z: Tensor) -> Tensor:
    """|y - z|², z one of three prototypes: the energy of k-means."""
    return (y - z).square().sum(1)


def gallery() -> dict[str, Subject]:
    """Energies worth a look, by name, in double precision.

    Example:
        >>> list(gallery())[:3]
        ['Himmelblau: four minima', 'Rosenbrock: a bent valley', 'ring: a circle of minima']
    """
    ellipse = Ellipse()
    corners = math.sqrt(3) * torch.tensor([[0.0, 1.0], [0.87, -0.5], [-0.87, -0.5]])
    subjects = {
        "Himmelblau: four minima": Subject(Himmelblau(), (-5, 5, -5, 5), step_size=0.01, start=(-0.6, -0.8)),
        "Rosenbrock: a bent valley": Subject(
            Rosenbrock(curvature=20.0), (-2, 2, -1, 3), step_size=0.003, start=(-1.2, 2.0), quantile=0.6
        ),
        "ring: a circle of minima": Subject(Ring(width=0.5), (-3.5, 3.5, -3.5, 3.5)),
        "double well in each coordinate": Subject(DoubleWell(), (-1.8, 1.8, -1.8, 1.8)),
        "eight Gaussians": Subject(
            Mixture.on_circle(radius=3.0, width=0.6), (-5, 5, -5, 5), start=(0.6, 0.3), quantile=0.95
        ),
        "banana": Subject(Banana(), (-6, 6, -9, 4), start=(-4.0, 2.0)),
        "Rastrigin: a minimum in every cell": Subject(
            Rastrigin(), (-3, 3, -3, 3), step_size=0.002, start=(-1.7, 2.2), quantile=0.98
        ),
        "sparse: a smooth bowl plus |y|₁": Subject(
            lasso + 0.5 * L1("y"), (-1.5, 2.5, -2, 2), start=(-1.0, 1.5), step_size=0.3
        ),
        "observed x: near x and near a ring": Subject(
            near_a_ring, (-4, 4, -4, 4), observed="x", seen=(2.4, 1.6), start=(-2.5, -1.0)
        ),
        "latent ellipse: F over an angle z": Subject(
            ellipse,
            (-3.2, 3.2, -2.6, 2.6),
            latent="z",
            nodes=ellipse.angles(48),
            start=(0.8, 0.3),
            step_size=0.1,
        ),
        "latent prototypes: F over three z": Subject(
            three_codes, (-3.5, 3.5, -3, 3.5), latent="z", nodes=corners, start=(-0.2, 0.3), step_size=0.1
        ),
    }
    for subject in subjects.values():
        subject.energy.double()
    return subjects
