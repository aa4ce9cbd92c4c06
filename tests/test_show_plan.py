"""Planning energies and the page of a report: marks against brute force, pictures against measurements."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ebm.measure import code_report, model_report
from ebm.measure.collapse import collapse_report
from ebm.plan import ActionPenalty, GoalDistance, KeepOut, TrajectoryEnergy
from ebm.regularized import SparseCoding
from ebm.show import collapse_page, forbidden, imagined, plan_landscape
from ebm.targets import Banana
from ebm.world import KnownDynamics

MODEL = KnownDynamics(lambda s, a: s + a, action_size=2)
ENERGY = TrajectoryEnergy(MODEL, GoalDistance("end") + 0.1 * ActionPenalty())
DISC = KeepOut(torch.tensor([0.5, 0.5]), 0.3)
GIVEN = {
    "observation": torch.zeros(1, 2),
    "goal": torch.tensor([[1.0, 0.8]]),
    "state": torch.zeros(1, 2),
}
PLAN = torch.full((3, 2), 0.1)


def flat() -> Axes:
    return Figure().subplots()


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_marks_are_the_least_of_all_and_of_what_is_allowed() -> None:
    ax, guard = flat(), ENERGY.imagine(DISC)
    entries = ((slice(0, 2), 0), (slice(0, 2), 1))
    extent = (-1.0, 1.0, -1.0, 1.0)
    found = plan_landscape(
        ENERGY, PLAN, ax, extent, given=GIVEN, entries=entries, guardrail=guard, resolution=41
    )
    assert found is ax
    axis = torch.linspace(-1, 1, 41)
    best, allowed = (float("inf"), ()), (float("inf"), ())
    for a in axis.tolist():
        for b in axis.tolist():
            actions = PLAN.clone()
            actions[:2] = torch.tensor([a, b])
            path = torch.cat([torch.zeros(1, 2), actions.cumsum(0)])
            value = float((path[-1] - GIVEN["goal"][0]).square().sum()) + 0.1 * float(actions.square().sum())
            best = min(best, (value, (a, b)))  # type: ignore[type-var]
            if float((0.3 - (path[1:] - 0.5).norm(dim=1)).max()) <= 0:
                allowed = min(allowed, (value, (a, b)))  # type: ignore[type-var]
    marks = [tuple(float(x[0]) for x in line.get_data()) for line in ax.lines]  # type: ignore[index]
    assert marks[0] == pytest.approx(best[1], abs=1e-6) and marks[1] == pytest.approx(allowed[1], abs=1e-6)
    assert marks[0] != marks[1]
    words = [text.get_text() for text in ax.get_legend().get_texts()]
    assert words == ["least of all", "least of what is allowed"]
    assert any(
        collection.get_hatch() or getattr(collection, "hatches", [None])[0] for collection in ax.collections
    )


def test_without_a_guardrail_there_is_one_mark() -> None:
    ax = plan_landscape(ENERGY, PLAN, flat(), (-1, 1, -1, 1), given=GIVEN, labels=("right", "up"))
    assert len(ax.lines) == 1 and (ax.get_xlabel(), ax.get_ylabel()) == ("right", "up")


def test_imagined_paths_are_colored_by_their_costs() -> None:
    states = torch.randn(20, 5, 3, generator=seeded(0)).cumsum(1)
    costs, ax = torch.randn(20, generator=seeded(1)), flat()
    assert imagined(states, ax, costs=costs) is ax
    lines: Any = ax.collections[0]
    order = costs.argsort(descending=True)
    for path, k in zip(lines.get_segments(), order.tolist(), strict=True):
        np.testing.assert_allclose(path, states[k, :, :2])
    np.testing.assert_allclose(lines.get_array(), costs[order])
    np.testing.assert_allclose(ax.lines[0].get_xydata(), states[costs.argmin(), :, :2])  # type: ignore[arg-type]
    assert (ax.get_xlabel(), ax.figure.axes[1].get_ylabel()) == ("state, 1", "cost")
    ax = imagined(states, flat())
    assert len(ax.collections[0].get_segments()) == 20 and not ax.lines  # type: ignore[attr-defined]


def test_what_is_forbidden_is_shaded_to_its_border() -> None:
    ax = flat()
    assert forbidden(DISC, ax, (-1, 1, -1, 1), resolution=201) is ax
    filled = ax.collections[0].get_paths()[0].vertices
    distance = np.linalg.norm(filled - 0.5, axis=1)
    assert distance.max() == pytest.approx(0.3, abs=2e-3)
    far = KeepOut(torch.tensor([9.0, 9.0, 5.0]), 0.5)
    assert not forbidden(far, flat(), (-1, 1, -1, 1), state=torch.zeros(3)).collections
    assert forbidden(far, flat(), (8, 10, 8, 10), state=torch.tensor([0.0, 0.0, 5.0])).collections


@pytest.fixture(scope="module")
def banana() -> tuple[Any, torch.Tensor]:
    y = Banana().exact_samples(300, seeded(0))
    return collapse_report(Banana(), y, points=200, generator=seeded(1)), y


def test_a_page_shows_what_the_report_measured(banana: tuple[Any, torch.Tensor]) -> None:
    (report, y), before = banana, dict(mpl.rcParams)
    figure = Figure(figsize=(11, 6))
    assert collapse_page(report, figure, energy=Banana(), y=y, generator=seeded(2)) is figure
    text, means, histogram, plane, bar = figure.axes
    assert text.get_title("left") == f"verdict: {report.verdict}"
    said = text.texts[0].get_text()
    assert f"{report.mean:10.4g}" in said and f"likely volume {report.likely_volume:.2%}" in said
    points = [bars.lines[0].get_xdata()[0] for bars in means.containers]  # type: ignore[attr-defined]
    assert points == pytest.approx([report.mean, *(each.mean for each in report.off_data.values())])
    assert [label.get_text() for label in means.get_yticklabels()] == ["data", *report.off_data]
    assert len(histogram.patches) == 3 and bar.get_ylabel() == "energy"
    np.testing.assert_allclose(plane.lines[0].get_xydata(), y)  # type: ignore[arg-type]
    assert dict(mpl.rcParams) == before


def test_pages_of_models_and_of_codes(banana: tuple[Any, torch.Tensor]) -> None:
    model = SparseCoding(torch.eye(2), 0.2)
    y = torch.randn(100, 2, generator=seeded(0))
    report = model_report(model, y, points=100, generator=seeded(1))
    z: Any = model.infer(y).value
    page = collapse_page(report, Figure(figsize=(11, 7)), codes=z)
    text, _, spectrum = page.axes
    assert text.get_title("left") == f"verdict: {report.verdict}" and "bits" in text.texts[0].get_text()
    np.testing.assert_allclose(
        spectrum.lines[0].get_ydata(), np.linalg.svd(z - z.mean(0), compute_uv=False), rtol=1e-5
    )
    assert len(collapse_page(code_report(z), Figure()).axes) == 1
    assert len(collapse_page(banana[0], Figure()).axes) == 2


def test_bad_input_is_told(banana: tuple[Any, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match="over two numbers of the plan; got 1"):
        plan_landscape(ENERGY, PLAN, flat(), (-1, 1, -1, 1), given=GIVEN, entries=[(0, 0)])
    with pytest.raises(ValueError, match=r"states are \(K, T \+ 1, S\) with S >= 2.*got \(3, 4\)"):
        imagined(torch.zeros(3, 4), flat())
    with pytest.raises(ValueError, match=r"a number a path, \(3,\), none of them NaN"):
        imagined(torch.zeros(3, 4, 2), flat(), costs=torch.tensor([0.0, torch.nan, 1.0]))
    report, y = banana
    with pytest.raises(
        TypeError, match="what collapse_report, model_report or code_report returned; got dict"
    ):
        collapse_page({}, Figure())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="go together: give both or none"):
        collapse_page(report, Figure(), y=y)
    figure = Figure()
    figure.subplots()
    with pytest.raises(ValueError, match="needs an empty figure"):
        collapse_page(report, figure)
