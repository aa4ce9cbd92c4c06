"""Landscapes, surfaces, cross-sections and slices: what is drawn is the energy."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ebm import energy
from ebm.show import Slice, cross_section, energy_on_grid, landscape, style, surface
from ebm.show.style import COLORS
from ebm.targets import Gaussian

A, B = 2.0, 0.5
EXTENT = (-3.0, 3.0, -2.0, 2.0)


def bowl() -> Gaussian:
    """E = ½ (A y_1² + B y_2²)."""
    return Gaussian(torch.zeros(2, dtype=torch.float64), torch.diag(torch.tensor([1 / A, 1 / B]).double()))


@energy
def folded(x: Tensor, y: Tensor) -> Tensor:
    return 0.5 * (x - (y**3 - 1.2 * y)).square().sum(1)


def flat() -> Axes:
    return Figure().subplots()


def test_contours_of_a_quadratic_are_its_ellipses() -> None:
    ax = flat()
    assert landscape(bowl(), "y", ax, EXTENT, ceiling=2.0, levels=5, resolution=241) is ax
    (drawn,) = ax.collections[:1]
    np.testing.assert_allclose(drawn.levels, [0, 0.5, 1, 1.5, 2], atol=1e-9)  # type: ignore[attr-defined]
    inner = drawn.get_paths()[0].vertices  # the region below E = 0.5, bounded by an ellipse
    values = 0.5 * (A * inner[:, 0] ** 2 + B * inner[:, 1] ** 2)
    np.testing.assert_allclose(values, 0.5, atol=2e-3)
    assert np.abs(inner).max(0) == pytest.approx([(1 / A) ** 0.5, (1 / B) ** 0.5], abs=0.01)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$y_1$", "$y_2$")
    assert ax.figure.axes[1].get_ylabel() == "energy"  # the color bar


def test_the_grid_is_the_energy_of_its_points() -> None:
    right, up, values = energy_on_grid(bowl(), "y", EXTENT, resolution=7)
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, 0.5 * (A * right[None, :] ** 2 + B * up[:, None] ** 2))
    right, up, values = energy_on_grid(folded, ("x", "y"), EXTENT, resolution=9, dtype=torch.float64)
    np.testing.assert_allclose(values, 0.5 * (right[None] - (up**3 - 1.2 * up)[:, None]) ** 2)
    right, _, values = energy_on_grid(
        energy(lambda x, y: (y * x).sum(1)), "y", EXTENT, {"x": torch.tensor([[1.0, 0.0]])}, resolution=5
    )
    np.testing.assert_allclose(values, np.broadcast_to(right, (5, 5)))


def test_a_landscape_may_be_relative_and_forgives_infinities() -> None:
    wall = energy(lambda y: torch.where(y[:, 0] > 0, torch.inf, y[:, 0] ** 2 + 3))
    ax = landscape(wall, "y", flat(), EXTENT, relative=True, colorbar=False)
    assert ax.collections[0].levels[0] == 0  # type: ignore[attr-defined]
    assert len(ax.figure.axes) == 1
    with pytest.raises(ValueError, match="NaN or infinite everywhere on this grid"):
        landscape(energy(lambda y: y[:, 0] + torch.inf), "y", flat(), EXTENT)


def test_a_surface_has_the_heights_of_the_energy() -> None:
    ax = Figure().add_subplot(projection="3d")
    assert surface(bowl(), "y", ax, EXTENT, ceiling=4.0, resolution=21) is ax
    solid: Any = ax.collections[0]
    x, y, z = np.concatenate(list(solid._faces)).T
    np.testing.assert_allclose(z, np.minimum(0.5 * (A * x**2 + B * y**2), 4.0), atol=1e-9)
    assert (z.min(), z.max()) == pytest.approx((0, 4)) and ax.get_zlim() == pytest.approx((0, 4))
    assert [ax.get_xlabel(), ax.get_ylabel(), ax.get_zlabel()] == ["$y_1$", "$y_2$", "energy"]
    with pytest.raises(TypeError, match=r"figure.add_subplot\(projection='3d'\); got rectilinear ones"):
        surface(bowl(), "y", flat(), EXTENT)


def test_curves_of_a_cross_section_are_the_energy_and_their_minima_the_least() -> None:
    x, ax = torch.tensor([[-1.2], [0.1], [1.3]], dtype=torch.float64), flat()
    assert cross_section(folded, "y", ax, (-2, 2), given={"x": x}, ceiling=2.0, resolution=401) is ax
    t = np.linspace(-2, 2, 401)
    for line, value in zip(ax.lines[:3], x.flatten().tolist(), strict=True):
        np.testing.assert_allclose(line.get_xydata()[:, 0], t, atol=1e-6)  # type: ignore[index]
        np.testing.assert_allclose(line.get_ydata(), 0.5 * (value - (t**3 - 1.2 * t)) ** 2, atol=1e-5)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["x = -1.2", "x = 0.1", "x = 1.3"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_ylim()[1]) == ("$y$", "energy", 2.0)
    for k, value in enumerate(x.flatten().tolist()):
        rings, dot = ax.lines[3 + 2 * k], ax.lines[4 + 2 * k]
        curve = 0.5 * (value - (t**3 - 1.2 * t)) ** 2
        assert dot.get_xdata()[0] == pytest.approx(t[curve.argmin()], abs=0.011)  # type: ignore[index]
        assert dot.get_ydata()[0] == pytest.approx(curve.min(), abs=1e-5)  # type: ignore[index]
        inside = [i for i in range(1, 400) if curve[i] < curve[i - 1] and curve[i] <= curve[i + 1]]
        np.testing.assert_allclose(rings.get_xdata(), t[inside], atol=1e-6)
        assert len(inside) == (3 if value == 0.1 else 2)


def test_cross_sections_take_one_row_for_all_labels_and_many_curves() -> None:
    both = energy(lambda x, y, z: ((y - x) ** 2 + z).sum(1))
    given = {"x": torch.arange(9.0).unsqueeze(1), "z": torch.ones(1, 1)}
    ax = cross_section(both, "y", flat(), (0, 8), given=given, minima=False)
    assert len(ax.lines) == 9 and len({str(line.get_color()) for line in ax.lines}) == 9
    ax = cross_section(both, "y", flat(), (0, 8), given={k: v[:1] for k, v in given.items()}, labels=["one"])
    assert ax.lines[0].get_color() == COLORS[0] and ax.get_legend().get_texts()[0].get_text() == "one"


def test_a_slice_moves_its_entries_and_no_others() -> None:
    base = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = torch.tensor([[5.0, 7.0], [1.0, 2.0]], dtype=torch.float64)
    moved = Slice(base, (0, 1), (slice(1, 3), 0))(t)
    for row, (a, b) in enumerate(t.tolist()):
        expected = base.clone()
        expected[0, 1], expected[1, 0], expected[2, 0] = a, b, b
        torch.testing.assert_close(moved[row], expected)
    along = bowl().compose(y=(Slice(torch.tensor([9.0, 1.0]).double(), 0), "t"))
    ax = cross_section(along, "t", flat(), (-1, 1))
    np.testing.assert_allclose(ax.lines[0].get_ydata(), 0.5 * (A * np.linspace(-1, 1, 241) ** 2 + B))


def test_settings_are_left_as_they_were() -> None:
    before = dict(mpl.rcParams)
    with style():
        landscape(bowl(), "y", flat(), EXTENT, resolution=11)
        assert mpl.rcParams["axes.spines.top"] is False
    with pytest.raises(KeyError), style():
        raise KeyError
    cross_section(folded, "y", flat(), (-2, 2), given={"x": torch.zeros(1, 1)})
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: energy_on_grid(bowl(), ("a", "b", "c"), EXTENT),
            "one variable of two numbers or two of one",
        ),
        (lambda: energy_on_grid(bowl(), "y", (1, 0, 0, 1)), r"each min below its max; got \(1, 0, 0, 1\)"),
        (lambda: energy_on_grid(bowl(), "y", EXTENT, resolution=1), "2 or more; got 1"),
        (
            lambda: energy_on_grid(folded, "y", EXTENT, {"x": torch.zeros(2, 1)}),
            r"x is given as one row, \(1, \*shape\); got \(2, 1\)",
        ),
        (lambda: cross_section(folded, "y", flat(), (1, 1)), "from a min to a greater max"),
        (
            lambda: cross_section(
                folded, "y", flat(), (0, 1), given={"x": torch.zeros(2, 1), "w": torch.zeros(3, 1)}
            ),
            "one row for all curves, or one a curve",
        ),
        (
            lambda: cross_section(
                folded, "y", flat(), (0, 1), given={"x": torch.zeros(2, 1)}, labels=["a", "b", "c"]
            ),
            "2 curves have 2 labels; got 3",
        ),
        (
            lambda: cross_section(folded, "y", flat(), (0, 1), given={"x": torch.full((1, 1), torch.nan)}),
            "a curve is NaN or infinite everywhere",
        ),
        (lambda: Slice(torch.zeros(3)), "say which entries are moved"),
        (lambda: Slice(torch.zeros(3), 3), r"there is no 3 in a variable of \(3,\)"),
        (lambda: Slice(torch.zeros(3), slice(2, 2)), "chooses nothing"),
        (lambda: Slice(torch.zeros(3), 1, slice(0, 2)), "entries overlap"),
        (lambda: Slice(torch.zeros(3), 1)(torch.zeros(4, 2)), r"takes \(B, 1\); got \(4, 2\)"),
    ],
)
def test_bad_input_is_told(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_slice_is_of_numbers() -> None:
    with pytest.raises(TypeError, match="through a floating-point tensor"):
        Slice(torch.zeros(3, dtype=torch.long), 0)
