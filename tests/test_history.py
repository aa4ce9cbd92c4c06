"""The history of a training: its table as text and as a file, and its curves."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from scipy.ndimage import generic_filter

from ebm.history import History
from ebm.show import plot_history
from ebm.show.history import running_median

names = st.sampled_from(["loss", "energy gap", "größe", 'a "quoted" name'])


def of(rows: list[dict[str, float]]) -> History:
    history = History()
    for row in rows:
        history.append(row)
    return history


@given(
    st.lists(st.dictionaries(names, st.floats(), max_size=4), max_size=5), st.booleans(), st.floats(0, 1e9)
)
def test_a_file_gives_the_same_table_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, float]], interrupted: bool, seconds: float
) -> None:
    history = of(rows)
    history.interrupted, history.seconds = interrupted, seconds
    path = tmp_path_factory.mktemp("history") / "history.json"
    history.save(path)
    again = History.load(path)
    assert repr(again.rows) == repr(
        [{name: row[name] for name in history.columns if name in row} for row in rows]
    )  # repr, since NaN is no NaN
    assert (again.interrupted, again.seconds) == (interrupted, seconds)
    json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def test_files_that_are_no_history_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "history.json"
    of([{"loss": 1.0}]).save(path)
    path.write_text(path.read_text()[:-5])
    with pytest.raises(ValueError, match=r"history\.json is no JSON, or was cut off"):
        History.load(path)
    for text in ("[1, 2]", '{"format": "another"}'):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"is no history: its format should be 'ebm history 1'"):
            History.load(path)
    with pytest.raises(FileNotFoundError):
        History.load(tmp_path / "none.json")


def test_a_long_table_shows_rows_at_equal_distances() -> None:
    history = of([{"loss": 1 / k, **({"seldom": k} if k == 101 else {})} for k in range(1, 702)])
    title, head, *lines = str(history).splitlines()
    assert title == "History: 701 steps in 0.0 s" and head.split() == ["step", "loss", "seldom"]
    assert [int(line.split()[0]) for line in lines] == [1, 101, 201, 301, 401, 501, 601, 701]
    assert lines[1].split() == ["101", "0.009901", "101"] and lines[7].split() == ["701", "0.001427"]
    ends = {re.match(r"\s*\S+\s+\S+", line).end() for line in [head, *lines]}  # type: ignore[union-attr]
    assert len(ends) == 1  # columns are aligned


@pytest.mark.parametrize("window", [1, 2, 3, 4, 7, 30])
def test_the_running_median_is_that_of_the_numbers_around(window: int) -> None:
    numbers = np.random.default_rng(0).normal(size=25)
    expected = generic_filter(
        numbers, np.nanmedian, size=window, mode="constant", cval=np.nan, origin=0
    )  # scipy's window of even size lies one to the left, as ours
    np.testing.assert_allclose(running_median(numbers, window, np.arange(25)), expected)
    some = np.array([0, 11, 24])
    np.testing.assert_array_equal(running_median(numbers, window, some), expected[some])


def test_curves_are_the_columns() -> None:
    history = of([{"loss": 10.0 / k, **({"seldom": -k} if k % 3 == 0 else {})} for k in range(1, 151)])
    ax = plot_history(history, Figure().subplots(), ["loss", "seldom"], log=False)
    faint, median, seldom_faint, seldom = ax.get_lines()
    np.testing.assert_allclose(faint.get_xydata(), [(k, 10 / k) for k in range(1, 151)])
    np.testing.assert_allclose(
        median.get_ydata()[1:-1], [np.median([10 / j for j in (k - 1, k, k + 1)]) for k in range(2, 150)]
    )
    np.testing.assert_allclose(seldom_faint.get_xydata(), [(k, -k) for k in range(3, 151, 3)])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["loss", "seldom"]
    assert median.get_color() == faint.get_color() != seldom.get_color()
    ax = plot_history(history, Figure().subplots(), smooth=1, log=True)
    assert len(ax.get_lines()) == 1 and ax.get_ylabel() == "loss" and ax.get_yscale() == "log"
    assert ax.get_legend() is None and ax.get_xlabel() == "step"
    long = of([{"loss": float(k)} for k in range(5000)])
    (curve,) = plot_history(long, Figure().subplots(), smooth=1).get_lines()
    assert len(curve.get_xdata()) == 1000 and curve.get_xdata()[[0, -1]].tolist() == [1, 5000]


def test_bad_pictures_are_told() -> None:
    history, ax = of([{"loss": math.pi}]), Figure().subplots()
    with pytest.raises(KeyError, match="no column 'gap'; there are: loss"):
        plot_history(history, ax, ["gap"])
    for columns in ([], "loss"):
        with pytest.raises(ValueError, match=r"columns are names such as \['loss'\]; got"):
            plot_history(history, ax, columns)
    with pytest.raises(ValueError, match="smooth is a number of steps, 1 or more; got 0"):
        plot_history(history, ax, smooth=0)
