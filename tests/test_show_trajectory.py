"""Paths, energies over steps and frames of a run: what is drawn is what the solve did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from ebm import Solution, energy, minimize
from ebm.infer import GradientDescent
from ebm.show import energy_over_steps, run_frames, save_animation, traced, trajectory
from ebm.show.style import VERMILION

RATE = 0.1  # gradient descent on y² multiplies y by 1 - 2 · RATE


@energy
def bowl(y: Tensor) -> Tensor:
    return y.square().sum(1)


def solved(trace: bool = True, max_steps: int = 300) -> Solution:
    start = torch.tensor([[1.0, 0.0], [0.0, 1e-2], [3.0, 4.0]], dtype=torch.float64)
    return minimize(bowl, start, GradientDescent(RATE), trace=trace, tol=1e-5, max_steps=max_steps)


def flat() -> Axes:
    return Figure().subplots()


def test_paths_are_the_trace_from_ring_to_dot() -> None:
    solution, ax = solved(), flat()
    points = traced(solution, "y")
    colors = ["red", "green", "blue"]
    assert trajectory(points, ax, color=colors, label="descent") is ax
    for row, color in enumerate(colors):
        path, ring, dot = ax.lines[3 * row : 3 * row + 3]
        np.testing.assert_array_equal(path.get_xydata(), points[:, row].numpy())  # type: ignore[arg-type]
        assert ring.get_xydata().tolist() == [points[0, row].tolist()]  # type: ignore[union-attr]
        assert dot.get_xydata().tolist() == [points[-1, row].tolist()]  # type: ignore[union-attr]
        assert path.get_color() == dot.get_color() == ring.get_markeredgecolor() == color
    assert len(ax.get_legend_handles_labels()[1]) == 1
    decay = (1 - 2 * RATE) ** np.arange(20)
    np.testing.assert_allclose(ax.lines[6].get_xydata()[:20], np.outer(decay, [3, 4]))  # type: ignore[index]
    ax = trajectory(points[:, 0], flat())
    assert len(ax.lines) == 3 and ax.lines[0].get_color() == VERMILION


def test_a_trace_of_some_variables_is_joined_with_what_was_given() -> None:
    fit = energy(lambda x, y: (y - x).square().sum(1))
    x = torch.tensor([[1.0], [-2.0]])
    solution = minimize(fit, torch.zeros(2, 1), GradientDescent(RATE), given={"x": x}, trace=True)
    points = traced(solution, ("x", "y"), {"x": x})
    np.testing.assert_allclose(points[:, :, 0], x.T.expand(len(points), 2))
    np.testing.assert_allclose(points[:6, 1, 1], -2 * (1 - (1 - 2 * RATE) ** np.arange(6)), rtol=1e-5)
    both = minimize(fit, {"x": x, "y": x + 1}, GradientDescent(RATE), trace=True)
    trace: Any = both.trace
    torch.testing.assert_close(traced(both, ("y", "x"))[..., 0:1], trace.value["y"])


def test_energies_over_the_steps_end_where_each_row_stopped() -> None:
    solution, ax = solved(), flat()
    assert energy_over_steps(solution, ax, minimum=0.0, labels=["a", "b", "c"]) is ax
    for row, (line, first) in enumerate(zip(ax.lines, (1.0, 1e-4, 25.0), strict=True)):
        steps = int(solution.steps[row])
        expected = first * (1 - 2 * RATE) ** (2 * np.arange(steps + 1))
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-9)
        assert line.get_marker() == "o" and line.get_markevery() == [steps]
    assert len({len(line.get_xdata()) for line in ax.lines}) == 3  # type: ignore[arg-type]
    assert ax.get_yscale() == "log" and ax.get_xlabel() == "step"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b", "c"]
    ax = energy_over_steps(solved(max_steps=20), flat(), minimum=torch.tensor([0.0, 0.0, 1.0]))
    assert [line.get_marker() for line in ax.lines] == ["X"] * 3
    np.testing.assert_allclose(ax.lines[2].get_ydata()[0], 24.0)  # type: ignore[index]
    ax = energy_over_steps(solution, flat(), labels=["descent"], color="red")
    assert ax.get_ylabel() == "energy" and ax.get_yscale() == "linear"
    assert [line.get_color() for line in ax.lines] == ["red"] * 3


def test_frames_show_the_points_of_their_steps(tmp_path: Path) -> None:
    points = torch.stack([torch.linspace(-0.8, 0.8, 9), torch.zeros(9)], 1)
    film = run_frames(points, bowl, "y", (-1, 1, -1, 1), frames=3, tail=0)
    assert film.shape == (3, 320, 384, 3) and film.dtype == np.uint8
    color = np.array([int(VERMILION[i : i + 2], 16) for i in (1, 3, 5)])
    where = [np.argwhere(np.abs(frame.astype(int) - color).sum(-1) < 12).mean(0) for frame in film]
    rows, columns = zip(*where, strict=True)
    assert max(rows) - min(rows) < 1.5  # at one height, and moved to the right by as much each time
    assert columns[1] - columns[0] == pytest.approx(columns[2] - columns[1], abs=1.5)
    assert columns[1] - columns[0] > 80
    assert len(run_frames(points[:, None], bowl, "y", (-1, 1, -1, 1), frames=100)) == 9
    with Image.open(save_animation(film, tmp_path / "run.gif")) as image:
        assert image.n_frames == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: trajectory(torch.zeros(4, 3), flat()), r"several are \(K, B, 2\).*got \(4, 3\)"),
        (
            lambda: trajectory(torch.zeros(4, 3, 2), flat(), color=["red"]),
            "3 rows have one color or 3; got 1",
        ),
        (lambda: traced(solved(trace=False), "y"), r"minimize\(..., trace=True\)"),
        (lambda: traced(solved(), ("x", "y"), {"x": torch.zeros(3, 1)}), r"make \(3,\) numbers a row"),
        (lambda: energy_over_steps(solved(trace=False), flat()), "kept no trace"),
        (lambda: energy_over_steps(solved(), flat(), labels=["a", "b"]), "3 rows have one label or 3"),
        (lambda: run_frames(torch.zeros(3), bowl, "y", (0, 1, 0, 1)), r"a run is \(K, 2\) or \(K, B, 2\)"),
        (lambda: run_frames(torch.zeros(3, 2), bowl, "y", (0, 1, 0, 1), frames=0), "frames is 1 or more"),
    ],
)
def test_bad_input_is_told(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_name_that_is_neither_free_nor_given_is_told() -> None:
    fit = energy(lambda x, y: (y - x).square().sum(1))
    start = {"x": torch.zeros(1, 1), "y": torch.ones(1, 1)}
    with pytest.raises(ValueError, match=r"\['z'\] are neither free in this solve nor given"):
        traced(minimize(fit, start, GradientDescent(RATE), trace=True), ("x", "z"))
