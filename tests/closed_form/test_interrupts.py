"""Ctrl-C in a classical fit: the step under way is finished, a second one drops it, and the rest is kept."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

import ebm.steps
from ebm.history import History
from ebm.regularized import (
    FastICA,
    GaussianMixture,
    KMeans,
    MixtureRegression,
    fast_ica,
    gaussian_mixture,
    lloyd,
)
from ebm.regularized.cluster_estimators import KMeansEstimator, MixtureEstimator
from ebm.regularized.code_estimators import SparseCodingEstimator
from ebm.regularized.dictionary_update import DictionaryStatistics
from ebm.steps import Steps

NEAREST = lloyd.Nearest
Fit = Callable[..., tuple[dict[str, Tensor], History | None]]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def data() -> Tensor:
    """Three overlapping clouds, so that every algorithm takes many steps."""
    noise = torch.randn(300, 3, generator=seeded(), dtype=torch.float64)
    return noise + 1.5 * torch.eye(3, dtype=torch.float64)[torch.arange(300) % 3]


def k_means(**settings: Any) -> tuple[dict[str, Tensor], History | None]:
    model = KMeans.from_data(data(), 5, start="random", generator=seeded(1))
    return model.state_dict(), model.fit(data(), tol=0.0, **settings)


def mixture(**settings: Any) -> tuple[dict[str, Tensor], History | None]:
    model = GaussianMixture.from_data(data(), 3, generator=seeded(1))
    return model.state_dict(), model.fit(data(), tol=0.0, **settings)


def regression(max_steps: int, **settings: Any) -> tuple[dict[str, Tensor], History | None]:
    x, y = data()[:, :2], data()[:, 2:]
    model = MixtureRegression.from_data(x, y, 3, generator=seeded(1))
    return model.state_dict(), model.fit(x, y, steps=max_steps, tol=0.0, **settings)


def components(**settings: Any) -> tuple[dict[str, Tensor], History | None]:
    y = torch.rand(2000, 4, generator=seeded(3), dtype=torch.float64) @ torch.randn(
        4, 4, generator=seeded(4), dtype=torch.float64
    )
    found = FastICA.fit(y, contrast="cube", tol=1e-300, generator=seeded(5), **settings)
    history = History()
    history.interrupted = found.interrupted
    for _ in range(found.steps):
        history.append({})
    return {"unmixing": found.unmixing, "mixing": found.mixing}, history


# the fit; what it calls once a step, and where that is; whether the end is looked at once more
FITS: dict[str, tuple[Fit, Any, str, bool]] = {
    "KMeans": (k_means, lloyd, "Nearest", True),
    "GaussianMixture": (mixture, gaussian_mixture, "expect", True),
    "MixtureRegression": (regression, MixtureRegression, "energies", False),
    "FastICA": (components, fast_ica, "_newton", False),
}
EVERY = pytest.mark.parametrize("name", FITS)


def at_call(number: int, call: Callable[..., Any], act: Callable[[], None]) -> Callable[..., Any]:
    """The function, acting when it is called for the k-th time, from 0."""
    calls = -1

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            act()
        return call(*arguments, **named)

    return counted


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def twice() -> None:
    ctrl_c()
    ctrl_c()


def at_once() -> None:
    raise KeyboardInterrupt


@EVERY
@pytest.mark.parametrize("k", [1, 4])
def test_ctrl_c_ends_a_fit_after_a_whole_step(name: str, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fit, place, attribute, looks_again = FITS[name]
    expected, whole = fit(max_steps=k, progress=False) if name != "FastICA" else warned(fit, k)
    number = k if looks_again else k - 1  # the call during which the last step is under way
    monkeypatch.setattr(place, attribute, at_call(number, getattr(place, attribute), ctrl_c))
    found, history = fit(max_steps=30, progress=False)
    assert history is not None and whole is not None
    assert history.interrupted and not whole.interrupted
    assert len(history) == len(whole) == k + looks_again
    assert history.rows == whole.rows
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@EVERY
@pytest.mark.parametrize("act", [twice, at_once])
def test_a_second_one_drops_the_step_under_way(
    name: str, act: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, place, attribute, _ = FITS[name]
    expected, whole = fit(max_steps=3, progress=False) if name != "FastICA" else warned(fit, 3)
    monkeypatch.setattr(place, attribute, at_call(3, getattr(place, attribute), act))
    found, history = fit(max_steps=30, progress=False)
    assert history is not None and whole is not None
    assert history.interrupted and len(history) == 3
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def warned(fit: Fit, steps: int) -> tuple[dict[str, Tensor], History | None]:
    with pytest.warns(UserWarning, match="FastICA changed"):
        return fit(max_steps=steps, progress=False)


def test_nothing_is_lost_where_ctrl_c_comes_before_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    start = KMeans.from_data(data(), 5, start="random", generator=seeded(1)).centers
    monkeypatch.setattr(lloyd, "Nearest", at_call(0, lloyd.Nearest, at_once))
    found, history = k_means(n_init=3)
    assert torch.equal(found["centers"], start) and history is not None
    assert history.interrupted and len(history) == 0


def test_of_several_starts_the_best_until_then_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    histories = [k_means(n_init=n, generator=seeded(7))[1] for n in (1, 2)]
    first = histories[0]
    assert first is not None
    monkeypatch.setattr(lloyd, "Nearest", at_call(len(first) + 2, NEAREST, ctrl_c))
    _, history = k_means(n_init=50, generator=seeded(7))
    assert history is not None and history.interrupted
    assert history.rows[-1]["inertia"] <= first.rows[-1]["inertia"]
    # in the last step of a start, it is the next start that is left out
    monkeypatch.setattr(lloyd, "Nearest", at_call(len(first) - 1, NEAREST, ctrl_c))
    _, history = k_means(n_init=50, generator=seeded(7))
    assert history is not None and history.interrupted and history.rows == first.rows


@pytest.mark.parametrize(
    ("make", "place", "attribute"),
    [
        (lambda: KMeansEstimator(5, random_state=0), lloyd, "Nearest"),
        (lambda: MixtureEstimator(3, random_state=0), gaussian_mixture, "expect"),
        (lambda: MixtureEstimator(3, random_state=0), lloyd, "Nearest"),  # which finds the start
        (lambda: SparseCodingEstimator(3, random_state=0), DictionaryStatistics, "improve"),
    ],
)
def test_estimators_are_silent_and_hand_ctrl_c_on(
    make: Callable[[], Any],
    place: Any,
    attribute: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A search over settings is to end, not to go on with the next setting."""
    monkeypatch.setattr(ebm.steps, "AFTER", 0.0)
    make().fit(data().numpy())
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(place, attribute, at_call(1, getattr(place, attribute), ctrl_c))
    with pytest.raises(KeyboardInterrupt):
        make().fit(data().numpy())


@EVERY
def test_a_fit_that_takes_long_shows_a_bar(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = FITS[name][0]
    with pytest.warns() if name == "FastICA" else nullcontext():
        fit(max_steps=3)
        assert capsys.readouterr() == ("", "")  # it was done before a bar could be read
        monkeypatch.setattr(ebm.steps, "AFTER", 0.0)
        fit(max_steps=3)
        shown = capsys.readouterr()
        fit(max_steps=3, progress=False)
    total = 3 + FITS[name][3]
    assert shown.out == "" and f"{total}/{total}" in shown.err
    assert capsys.readouterr() == ("", "")


def test_the_bar_costs_a_step_next_to_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Steps("loop", 10**6) as steps:
        begun = time.perf_counter()
        for _ in range(1000):
            steps.ended(False, energy=1.0)
        took = time.perf_counter() - begun
    assert took < 1000 * 20e-6 and capsys.readouterr().err == ""


def test_errors_pass_and_leave_the_handler_as_it_was() -> None:
    with pytest.raises(ZeroDivisionError), Steps("loop", 3) as steps:
        steps.ended(False)
        _ = 1 / 0
    assert not steps.interrupted and signal.getsignal(signal.SIGINT) is signal.default_int_handler
