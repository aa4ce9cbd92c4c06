"""A line search of its own for every row: the strong Wolfe conditions, by bracketing and cubic interpolation.

Along a direction d of descent, φ(t) = E(u + t d). A step t > 0 is accepted where

    φ(t) <= φ(0) + c₁ t φ′(0)        and        |φ′(t)| <= c₂ |φ′(0)|

The search is a machine that takes one trial point a step, so that no row waits for another. It remembers `near`,
the lowest point that met the first condition (at first t = 0), and `far`: while the bracket is open, the point
that was `near` before it, from which the search extrapolates; once it is closed, the other end, and an acceptable
step lies between. The next trial is the minimizer of the cubic through both points and slopes.

The first condition is widened by 8 ulp of φ(0), because near a minimum differences of energies are rounding long
before slopes are. A trial that is NaN or infinite closes the bracket as a point too high would.

Reference: Nocedal & Wright (2006), "Numerical Optimization", algorithms 3.5 and 3.6 and eq. 3.59; Hager & Zhang
(2005), "A new conjugate gradient method with guaranteed descent and an efficient line search", eq. 4.1, for the
role of rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.infer.method import State, count, fraction
from ebm.problem import Problem, dot, expand

CLOSER, FARTHER = (0.1, 0.9), (-9.0, -1.0)  # where to look, in units of far - near: bracket closed, open


class Wolfe:
    """The strong Wolfe conditions and the search for a step that meets them.

    Args:
        decrease: c₁ in [0, c₂), the share of the promised decrease that is asked for.
        curvature: c₂ in (c₁, 1): 0.9 for quasi-Newton directions, 0.1 and less for a nearly exact search.
        tries: trial points a row gets; after them it takes the lowest point it saw, if that is below φ(0).
    """

    def __init__(self, decrease: float = 1e-4, curvature: float = 0.9, tries: int = 25):
        self.decrease, self.curvature = fraction("decrease", decrease), fraction("curvature", curvature)
        self.tries = count("tries", tries)
        if not decrease < curvature:
            raise ValueError(
                f"no step may meet both Wolfe conditions unless decrease < curvature; got {decrease} and {curvature}."
            )

    def begin(self, value: Tensor, slope: Tensor) -> State:
        """The search at φ(0) = value and φ′(0) = slope < 0, each (B,), with t = 1 to try first."""
        zero = torch.zeros_like(value)
        return {
            "t": torch.ones_like(value),
            "near_t": zero, "near_value": value, "near_slope": slope,
            "far_t": zero, "far_value": value, "far_slope": slope,
            "open": torch.ones_like(value, dtype=torch.bool),
            "tries": torch.zeros_like(value, dtype=torch.int32),
        }  # fmt: skip
