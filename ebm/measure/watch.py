"""Watching codes while they are learned: numbers for the history, and an alarm by name when they collapse.

Both callbacks of `fit` look at a fixed set of examples every so many steps, and leave no trace
(`ebm.measure.encoded`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn

from ebm.history import History
from ebm.measure.codes import ALIKE, ALIVE, COMPLETE, CodeReport, CollapseWarning, code_report
from ebm.measure.encoded import Encode, encoded
from ebm.measure.knn_probe import knn_probe
from ebm.measure.linear_probe import linear_probe
from ebm.measure.probe import Labeled, ProbeResult
from ebm.processes import rank

Probe = Callable[[Labeled, Labeled], ProbeResult]
OnCollapse = Literal["warn", "stop", "raise"]

COLUMNS = {  # of the history, after the watch's name
    "spread": "spread",
    "std": "std",
    "least std": "std_min",
    "correlation": "correlation",
    "directions": "directions",
    "RankMe": "rankme",
    "uniformity": "uniformity",
}
APART = (
    "Nothing keeps the codes of different examples apart: add to the loss what does (variance as in VICReg, "
    "contrastive examples), or take the gradient off one side."
)
WIDER = (
    "Many dimensions repeat a few: add to the loss what is against that (covariance as in VICReg, SIGReg), "
    "or take fewer dimensions, if the data have no more to tell."
)


class CollapseError(ArithmeticError):
    """Codes collapsed while they were learned.

    Attributes:
        history: the steps so far.
        report: what was measured.
    """

    def __init__(self, message: str, history: History, report: CodeReport):
        self.history, self.report = history, report
        super().__init__(message)


class WatchCodes:
    """Measures codes every so many steps and raises an alarm if they collapse; a callback of `fit`.

    The history gets the columns "codes spread", "codes std", "codes least std", "codes correlation",
    "codes directions", "codes RankMe" and "codes uniformity" (see `CodeReport`). Spread is compared with the
    length of the codes at the first look or now, whichever is greater, so codes that shrink to 0 are noticed.

    Args:
        encode: what makes codes (N, D) of the data: a module or a method of one; for another function, name
            the modules that it calls in `modules`.
        data: examples that differ from one another, (N, *shape), N several times D.
        every: steps from look to look; there is a look after step 1, too.
        on_collapse: "warn" with a `CollapseWarning` once for each kind of collapse, "stop" the training as
            well, or "raise" a `CollapseError`.
        patience: looks in a row that have to find a collapse, since one may be a passing state.
        name: in place of "codes" in the columns.
        alike, few: thresholds as in `code_report`.
        modules: further modules to put into evaluation mode meanwhile.
        batch_size: rows to encode at once.

    Attributes:
        reports: what was measured, by step.

    Raises:
        ValueError: if a setting is out of range; from `fit`, if codes are NaN or infinite or aren't (N, D).

    Example:
        >>> import torch
        >>> from functools import partial
        >>> from ebm.joint import SquaredDistance
        >>> from ebm.loss import AverageEnergy
        >>> from ebm.nets import mlp
        >>> from ebm.train import fit
        >>> g = torch.Generator().manual_seed(0)
        >>> x, f = torch.randn(256, 4, generator=g), mlp(4, 8, generator=g)
        >>> y = x + 0.5 * torch.randn(256, 4, generator=g)
        >>> E = SquaredDistance().compose(s_x=(f, "x"), s_y=(f, "y"))  # nothing but a pull together
        >>> sgd = partial(torch.optim.SGD, lr=0.1)
        >>> settings = dict(optimizer=sgd, batch_size=64, generator=g, progress=False)
        >>> watch = WatchCodes(f, x, every=50, on_collapse="raise")
        >>> try:
        ...     fit(E, AverageEnergy(), {"x": x, "y": y}, steps=999, callbacks=[watch], **settings)
        ... except CollapseError as error:
        ...     len(error.history), error.report.verdict
        (150, 'complete collapse')
    """

    def __init__(
        self,
        encode: Encode,
        data: Tensor,
        *,
        every: int = 100,
        on_collapse: OnCollapse = "warn",
        patience: int = 2,
        name: str = "codes",
        alike: float = ALIKE,
        few: float | None = None,
        modules: Sequence[nn.Module] = (),
        batch_size: int = 1024,
    ):
        if on_collapse not in ("warn", "stop", "raise"):
            raise ValueError(f"on_collapse is 'warn', 'stop' or 'raise'; got {on_collapse!r}.")
        self.encode, self.data, self.name, self.modules = encode, data, name, tuple(modules)
        self.every, self.patience = _count("every", every), _count("patience", patience)
        self.batch_size, self.on_collapse = _count("batch_size", batch_size), on_collapse
        self.alike, self.few = alike, few
        self.reports: dict[int, CodeReport] = {}
        self._scale, self._bad, self._told = 0.0, 0, ""

    def __call__(self, step: int, history: History) -> bool:
        if step == 1:
            self.reports, self._scale, self._bad, self._told = {}, 0.0, 0, ""
        elif step % self.every:
            return False
        report = self._look(step)
        history.rows[-1].update({f"{self.name} {n}": getattr(report, field) for n, field in COLUMNS.items()})
        self._bad = 0 if report.verdict == ALIVE else self._bad + 1
        if self._bad < self.patience:
            self._told = self._told if self._bad else ""
            return False
        return self._alarm(step, history, report)

    def state_dict(self) -> dict[str, Any]:
        """What the next alarm depends on; `reports` aren't saved."""
        return {"scale": self._scale, "bad": self._bad, "told": self._told}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a saved state."""
        self._scale, self._bad, self._told = state["scale"], state["bad"], state["told"]

    def _look(self, step: int) -> CodeReport:
        z = encoded(self.encode, self.data, self.modules, self.batch_size)
        try:
            report = code_report(z, alike=self.alike, few=self.few)
            self._scale = self._scale or report.length
            if self._scale > report.length:
                report = code_report(z, scale=self._scale, alike=self.alike, few=self.few)
        except (TypeError, ValueError) as error:
            raise type(error)(f"step {step}, {self.name}: {error}") from error
        self.reports[step] = report
        return report

    def _alarm(self, step: int, history: History, report: CodeReport) -> bool:
        cure = APART if report.verdict == COMPLETE else WIDER
        message = f"step {step}, {self.name}: {report.finding}. {cure}"
        if self.on_collapse == "raise":
            raise CollapseError(message, history, report)
        if self._told != report.verdict and rank() == 0:
            warnings.warn(message, CollapseWarning, stacklevel=3)
        self._told = report.verdict
        return self.on_collapse == "stop"


class WatchProbe:
    """Probes codes every so many steps; a callback of `fit` that writes accuracies into the history.

    Args:
        encode: what makes codes (N, D) of the data, as for `WatchCodes`.
        train, test: examples and their labels, (N, *shape) and (N,) integers.
        every: steps from look to look; there is a look after step 1, too, which shows what an untrained
            encoder is worth.
        probes: by the name of their columns; if None, "linear probe" (ridge) and "kNN probe" (k = 20).
        modules, batch_size: as for `WatchCodes`.

    Raises:
        ValueError: if a setting is out of range; from `fit`, if a probe refuses the codes.

    Example:
        >>> from ebm.data import digits
        >>> history = History()
        >>> history.append({"loss": 0.0})
        >>> WatchProbe(nn.Flatten(), digits(), digits("test"))(1, history)
        >>> {name: round(value, 2) for name, value in history.rows[-1].items()}
        {'loss': 0.0, 'linear probe': 0.86, 'kNN probe': 0.95}
    """

    def __init__(
        self,
        encode: Encode,
        train: Labeled,
        test: Labeled,
        *,
        every: int = 500,
        probes: Mapping[str, Probe] | None = None,
        modules: Sequence[nn.Module] = (),
        batch_size: int = 1024,
    ):
        usual = {"linear probe": partial(linear_probe, kind="ridge"), "kNN probe": partial(knn_probe, k=20)}
        self.probes: dict[str, Probe] = dict(usual if probes is None else probes)
        self.encode, self.train, self.test, self.modules = encode, train, test, tuple(modules)
        self.every, self.batch_size = _count("every", every), _count("batch_size", batch_size)

    def __call__(self, step: int, history: History) -> None:
        if step > 1 and step % self.every:
            return
        pairs = [
            (encoded(self.encode, x, self.modules, self.batch_size), labels)
            for x, labels in (self.train, self.test)
        ]
        for name, probe in self.probes.items():
            history.rows[-1][name] = probe(pairs[0], pairs[1]).accuracy


def _count(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} is a whole number, 1 or more; got {value!r}.")
    return value
