"""Watches in real trainings: collapses are named while they happen, and nothing else is disturbed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ebm.energy import Energy
from ebm.history import History
from ebm.joint import Criterion, OnCodes, SquaredDistance
from ebm.loss import AverageEnergy, Loss, LossOutput
from ebm.measure import (
    CollapseError,
    CollapseWarning,
    WatchCodes,
    WatchProbe,
    code_report,
    knn_probe,
    linear_probe,
)
from ebm.measure.encoded import encoded
from ebm.nets import mlp
from ebm.testing.processes import run_processes
from ebm.train import fit

ADAM = partial(torch.optim.Adam, lr=3e-3)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Variances(Criterion):
    """Views together, every dimension a variance of 1; nothing against dimensions that repeat each other."""

    covariances = 0.0

    def forward(self, *codes: Tensor, generator: torch.Generator | None = None) -> LossOutput:
        total = (codes[0] - codes[1]).square().sum(1).mean()
        for z in codes:
            excess = (torch.cov(z.T) - torch.eye(z.shape[1])).square()
            total = total + excess.trace() + self.covariances * (excess.sum() - excess.trace())
        return LossOutput(total, {})


class Covariances(Variances):
    """And no covariance between dimensions."""

    covariances = 1.0


def views(rows: int = 512, dim: int = 8, shared: int = 8) -> dict[str, Tensor]:
    """Two views of each example: some coordinates nearly the same, in the others only noise."""
    x = torch.randn(rows, dim, generator=seeded(1))
    y = x + 0.3 * torch.randn(rows, dim, generator=seeded(2))
    y[:, shared:] = torch.randn(rows, dim - shared, generator=seeded(3))
    return {"x": x, "y": y}


def joint(encoder: nn.Module) -> Energy:
    return SquaredDistance().compose(s_x=(encoder, "x"), s_y=(encoder, "y"))


def train(
    encoder: nn.Module, loss: Loss, data: dict[str, Tensor], *callbacks: Callable[..., Any], steps: int = 300
) -> History:
    return fit(
        joint(encoder),
        loss,
        data,
        optimizer=ADAM,
        steps=steps,
        batch_size=128,
        callbacks=callbacks,
        generator=seeded(4),
        progress=False,
    )


def encoder_of(dim: int = 8, codes: int = 16) -> nn.Sequential:
    return mlp(dim, 32, codes, generator=seeded())


# --- alarms -------------------------------------------------------------------------------------------------


def test_a_training_that_only_pulls_together_collapses_by_name() -> None:
    encoder, data = encoder_of(), views()
    watch = WatchCodes(encoder, data["x"], every=20)
    with pytest.warns(CollapseWarning) as caught:
        history = train(encoder, AverageEnergy(), data, watch)
    assert len(history) == 300  # it only warns
    messages = [str(each.message) for each in caught]
    last = messages[-1]
    found = max(step for step in watch.reports if f"step {step}, codes: complete collapse" in last)
    report = watch.reports[found]
    assert report.finding in last and f"spread by {report.spread:.2g} of their length" in last
    assert "add to the loss what does" in last
    assert found < 300 and len(messages) <= 2  # once for each kind, though it stays collapsed to the end
    assert watch.reports[300].spread < report.spread <= 0.03
    assert watch.reports[1].verdict == "alive"


def test_variance_without_covariance_collapses_in_dimension_and_with_it_does_not() -> None:
    """Of 8 coordinates the views share one: pulled together, every dimension learns that one."""
    data = views(shared=1)
    flat, full = encoder_of(), encoder_of()
    watch = WatchCodes(flat, data["x"], every=50)
    said = r"step \d+, codes: dimensional collapse: .* of 16 directions .* or take fewer dimensions"
    with pytest.warns(CollapseWarning, match=said):
        train(flat, OnCodes(Variances()), data, watch, steps=600)
    assert watch.reports[600].directions < 1.5 and watch.reports[600].std > 0.5

    watch = WatchCodes(full, data["x"], every=50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = train(full, OnCodes(Covariances()), data, watch, steps=600)
    assert watch.reports[600].verdict == "alive" and not history.interrupted


def test_codes_that_shrink_to_zero_all_together_are_noticed() -> None:
    """A linear encoder without bias: its codes keep their form, and a single look finds nothing."""
    encoder, data = nn.Linear(8, 4, bias=False), views()
    with torch.no_grad():
        encoder.weight.copy_(torch.randn(4, 8, generator=seeded()))
    data["y"] = -data["x"]  # all directions shrink alike
    watch = WatchCodes(encoder, data["x"], every=10, on_collapse="stop")
    energy = joint(encoder)
    sgd = partial(torch.optim.SGD, lr=0.02)
    with pytest.warns(CollapseWarning, match="complete collapse"):
        history = fit(
            energy,
            AverageEnergy(),
            data,
            optimizer=sgd,
            steps=2000,
            batch_size=512,
            callbacks=[watch],
            generator=seeded(4),
            progress=False,
        )
    assert history.interrupted and len(history) < 2000
    assert code_report(encoded(encoder, data["x"])).spread == pytest.approx(1, abs=0.05)


def test_stop_and_raise_end_the_training_and_keep_its_history() -> None:
    data = views()
    stopped, raised = encoder_of(), encoder_of()
    with pytest.warns(CollapseWarning):
        history = train(
            stopped, AverageEnergy(), data, WatchCodes(stopped, data["x"], every=20, on_collapse="stop")
        )
    assert history.interrupted and len(history) < 300 and len(history) % 20 == 0
    with pytest.raises(CollapseError, match=r"step \d+, codes: .*collapse") as error:
        train(raised, AverageEnergy(), data, WatchCodes(raised, data["x"], every=20, on_collapse="raise"))
    assert error.value.history.rows == history.rows
    assert error.value.report.verdict != "alive" and not raised.training


# --- when an alarm sounds, on codes of our choice -----------------------------------------------------------


GOOD, FLAT, EQUAL = (
    torch.randn(200, 8, generator=seeded()) * w for w in (torch.ones(8), torch.eye(8)[0], torch.zeros(8))
)


def alarms(looks: list[Tensor], **settings: Any) -> list[tuple[int, str]]:
    """The steps at which a watch of these codes warned, one look a step, and of what."""
    queue = list(looks)
    watch = WatchCodes(lambda x: queue.pop(0), torch.zeros(1, 1), every=1, **settings)
    history, found = History(), []
    for step in range(1, len(looks) + 1):
        history.append({"loss": 0.0})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            watch(step, history)
        found += [(step, str(each.message).split(": ")[1]) for each in caught]
    return found


COMPLETE, DIMENSIONAL = "complete collapse", "dimensional collapse"


@pytest.mark.parametrize(
    ("looks", "settings", "expected"),
    [
        ([GOOD] * 5, {}, []),
        ([FLAT] * 5, {}, [(2, DIMENSIONAL)]),
        ([FLAT] * 5, {"patience": 1}, [(1, DIMENSIONAL)]),
        ([FLAT, GOOD, FLAT, GOOD], {}, []),  # a passing state
        ([GOOD, FLAT, FLAT, EQUAL, EQUAL], {}, [(3, DIMENSIONAL), (4, COMPLETE)]),
        ([GOOD, EQUAL, EQUAL, GOOD, EQUAL, EQUAL], {}, [(3, COMPLETE), (6, COMPLETE)]),
        ([GOOD, 0.5 * GOOD, 0.04 * GOOD, 0.02 * GOOD, 0.02 * GOOD], {}, [(5, COMPLETE)]),
        ([0.005 * GOOD, GOOD, GOOD], {}, []),  # growing is no collapse
        ([GOOD, GOOD + 100, GOOD + 100], {}, [(3, COMPLETE)]),  # but growing together is
        ([GOOD + 3] * 3, {"alike": 0.5}, [(2, COMPLETE)]),
        ([GOOD] * 3, {"few": 8.5}, [(2, DIMENSIONAL)]),
    ],
)
def test_when_an_alarm_sounds(looks: list[Tensor], settings: dict[str, Any], expected: list[Any]) -> None:
    assert alarms(looks, **settings) == expected


def test_columns_and_steps_of_the_looks() -> None:
    data = views(rows=60)
    encoder = encoder_of()
    watch = WatchCodes(encoder, data["x"], every=4, name="s_x", batch_size=7)
    history = train(encoder, OnCodes(Covariances()), data, watch, steps=9)
    seen = [step for step, row in enumerate(history.rows, 1) if "s_x spread" in row]
    assert seen == [1, 4, 8] == list(watch.reports)
    report = watch.reports[8]
    for column, value in (("std", report.std), ("least std", report.std_min), ("RankMe", report.rankme)):
        assert history.rows[7][f"s_x {column}"] == value
    assert report.rows == 60  # all of them, though seven at a time
    names = "spread", "std", "least std", "correlation", "directions", "RankMe", "uniformity"
    assert history.columns[-7:] == tuple(f"s_x {name}" for name in names)
    train(encoder, OnCodes(Covariances()), data, watch, steps=3)  # a new training, a new beginning
    assert list(watch.reports) == [1]


def watch_of(looks: list[Tensor]) -> WatchCodes:
    return WatchCodes(lambda x: looks.pop(0), torch.zeros(1, 1), every=1)


def test_a_saved_watch_goes_on_as_it_was() -> None:
    history = History()
    history.append({"loss": 0.0})
    first = watch_of([GOOD, 0.005 * GOOD])
    first(1, history)
    first(2, history)
    second = watch_of([0.005 * GOOD])
    second.load_state_dict(first.state_dict())
    with pytest.warns(CollapseWarning, match="step 3, codes: complete collapse"):
        second(3, history)
    third = watch_of([EQUAL])
    third.load_state_dict(second.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        third(4, history)  # it was said already


def test_a_new_training_knows_nothing_of_the_one_before() -> None:
    history = History()
    history.append({"loss": 0.0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        counts = watch_of([FLAT, FLAT])
        counts(1, history)
        counts(1, history)  # one look that finds a collapse in each of two trainings, no two in a row
        lengths = watch_of([GOOD, 0.005 * GOOD, 0.005 * GOOD])
        for step in (1, 1, 2):
            lengths(step, history)


def warned() -> int:
    """How many alarms a collapse of the codes in all processes gives in this one."""
    history, watch = History(), watch_of([EQUAL, EQUAL])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step in (1, 2):
            history.append({"loss": 0.0})
            watch(step, history)
    return len(caught)


def test_of_several_processes_one_warns() -> None:
    assert run_processes(warned, 2) == [1, 0]


# --- leaving no trace ---------------------------------------------------------------------------------------


class Noisy(nn.Module):
    """Batch normalization, dropout, and random numbers in evaluation, too."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(encoder_of(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.2), nn.Linear(16, 4))
        self.frozen = nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.frozen(self.net(x)) + 0.01 * torch.randn(len(x), 4)


@pytest.mark.parametrize("how", ["module", "method", "function"])
def test_a_watched_training_is_bit_for_bit_the_training(how: str) -> None:
    def trained(watched: bool) -> tuple[list[Tensor], list[dict[str, float]]]:
        torch.manual_seed(5)
        encoder, data = Noisy(), views(rows=64)
        encode, modules = {
            "module": (encoder, ()),
            "method": (encoder.forward, ()),
            "function": (lambda x: encoder(x) * 1.0, (encoder,)),
        }[how]
        labels = (data["x"][:, 0] > 0).long()
        pair = (data["x"], labels)
        watches = [
            WatchCodes(encode, data["x"], every=2, modules=modules),
            WatchProbe(encode, pair, pair, every=3, modules=modules),
        ]
        history = train(encoder, OnCodes(Covariances()), data, *(watches if watched else []), steps=12)
        kept = [
            {n: v for n, v in row.items() if "codes" not in n and "probe" not in n} for row in history.rows
        ]
        assert watched == any("linear probe" in row for row in history.rows)
        return [t.clone() for t in encoder.state_dict().values()], kept

    (tensors, rows), (alone, rows_alone) = trained(True), trained(False)
    assert rows == rows_alone and all(map(torch.equal, tensors, alone))


def test_every_module_goes_back_to_its_own_mode_even_after_an_error() -> None:
    encoder = Noisy().train()
    encoder.frozen.eval()
    seen = []

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = encoder

        def forward(self, x: Tensor) -> Tensor:
            seen.append((any(m.training for m in self.modules()), torch.is_grad_enabled()))
            if len(x) == 3:
                raise RuntimeError("too few")
            return self.inner(x)

    spy = Spy()
    z = encoded(spy, torch.zeros(10, 8), batch_size=7 + 3)
    assert seen == [(False, False)] and z.shape == (10, 4) and not z.requires_grad
    with pytest.raises(RuntimeError, match="too few"):
        encoded(spy, torch.zeros(10, 8), batch_size=7)
    assert spy.training and encoder.net[2].training and not encoder.frozen.training
    assert torch.is_grad_enabled()


# --- probes -------------------------------------------------------------------------------------------------


def test_probes_of_a_training_are_those_of_its_encoder() -> None:
    data, encoder = views(rows=300), encoder_of()
    labels = 2 * (data["x"][:, 0] > 0).long() + (data["x"][:, 1] > 0).long()
    train_pair, test_pair = (data["x"][:200], labels[:200]), (data["x"][200:], labels[200:])
    usual = WatchProbe(encoder, train_pair, test_pair, every=5)
    own = WatchProbe(encoder, train_pair, test_pair, every=4, probes={"nearest": partial(knn_probe, k=1)})
    history = train(encoder, OnCodes(Covariances()), data, usual, own, steps=10)
    steps = [step for step, row in enumerate(history.rows, 1) if "kNN probe" in row]
    assert steps == [1, 5, 10] and [s for s, r in enumerate(history.rows, 1) if "nearest" in r] == [1, 4, 8]
    with torch.no_grad():
        pairs = [(encoder(x), y) for x, y in (train_pair, test_pair)]
    assert history.rows[-1]["linear probe"] == linear_probe(*pairs, kind="ridge").accuracy > 0.5
    assert history.rows[-1]["kNN probe"] == knn_probe(*pairs, k=20).accuracy


# --- errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"on_collapse": "shout"}, "'warn', 'stop' or 'raise'; got 'shout'"),
        ({"every": 0}, "every is a whole number, 1 or more; got 0"),
        ({"patience": 1.5}, "patience is a whole number, 1 or more; got 1.5"),
        ({"batch_size": True}, "batch_size is a whole number.*got True"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        WatchCodes(nn.Identity(), GOOD, **settings)


def test_codes_that_are_no_codes_are_reported_with_the_step() -> None:
    history = History()
    history.append({"loss": 0.0})
    with pytest.raises(ValueError, match=r"step 1, codes: codes hold NaN or infinity in 200 of 200 rows"):
        WatchCodes(lambda x: x * math.nan, GOOD)(1, history)
    with pytest.raises(ValueError, match=r"step 1, s: codes have shape \(N, D\).*got \(200, 2, 4\)"):
        WatchCodes(nn.Unflatten(1, (2, 4)), GOOD, name="s")(1, history)
    with pytest.raises(ValueError, match="every is a whole number"):
        WatchProbe(nn.Identity(), (GOOD, GOOD), (GOOD, GOOD), every=-1)
