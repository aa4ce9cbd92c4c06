"""The benchmark runner, on cheap cases whose outcome is known."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import __main__ as cli
from benchmarks.case import Case
from benchmarks.machine import commit, machine, versions
from benchmarks.runner import Plan, _summary, run_module

SOURCE = """
import os, sys, time
from benchmarks.case import Case

def log(side, text=""):
    with open({log!r}, "a") as file:
        print(side, text, file=file)

def setup():
    return {{"seconds": 0.02}}

def ours(state):
    log("ours", os.environ["OMP_NUM_THREADS"])
    time.sleep(state["seconds"])
    return 3.0

def theirs(state, peer):
    log("theirs", peer.__name__ if peer else "none")
    time.sleep(3 * state["seconds"])
    return 5.0

def check(state, result):
    return {{"answer": result}}

def breaks(state, peer):
    raise RuntimeError("the peer broke")

def hangs(state, peer):
    time.sleep(60)

def core(state, peer=None):
    cores = os.sched_getaffinity(0)
    return cores.pop() if len(cores) == 1 else -1

def until_the_end(state, peer):
    import atexit
    atexit.register(log, "theirs", "ended")
    return 5.0

def slowly(state):
    time.sleep(0.5)
    log("ours", "worked")
    return 3.0

def small(state):
    return bytearray(8 << 20)

def large(state, peer):
    return bytearray(64 << 20)

CASES = {cases}
"""


class Bench:
    """A benchmark written for one test, in a folder that its processes can import from."""

    def __init__(self, folder: Path, cases: str):
        self.module = f"bench_of_{folder.name}"  # of one test alone: a module is imported once a process
        self.log = folder / "log"
        self.results = folder / "results"
        self.said: list[str] = []
        (folder / f"{self.module}.py").write_text(SOURCE.format(log=str(self.log), cases=cases))

    def run(self, plan: Plan) -> list[dict[str, Any]]:
        cases = cli.load(self.module)
        return run_module("fake", self.module, cases, plan, results=self.results, say=self.said.append)

    @property
    def written(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.results / "fake.json").read_text())
        return document


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(tmp_path)  # here
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # in the processes
    return lambda cases: Bench(tmp_path, cases)


FAST = Plan(rounds=2, repeats=2, warmup=1)


def test_sides_take_turns_are_timed_and_recorded(bench) -> None:
    fake = bench('[Case("sleep", ours, theirs, setup, check, peer="json", at_least=2.0)]')
    (record,) = fake.run(Plan(rounds=2, repeats=2, warmup=1, threads=2))
    ours, theirs = "ours 2", "theirs json"  # pinned threads; the peer
    lines = fake.log.read_text().splitlines()
    for each in (lines[:6], lines[6:]):  # a round: warm-up of both at once, and then by turns
        assert sorted(each[:2]) == [ours, theirs] and each[2:] == [ours, theirs, theirs, ours]
    assert record["status"] == "PASS" and record["ratio_is"] == "theirs / ours" and record["target"] == ">= 2"
    assert 0.02 <= record["ours"]["median"] < record["theirs"]["median"]
    assert record["ratio"]["min"] <= record["ratio"]["median"] <= record["ratio"]["max"]
    assert record["ours"]["check"] == {"answer": 3.0} and record["theirs"]["check"] == {"answer": 5.0}
    assert record["ours"]["peak_mib"] > 1
    written = fake.written
    assert written["cases"] == [record] and written["plan"]["threads"] == 2
    assert {"benchmark", "date", "commit", "dirty", "machine", "versions"} <= set(written)
    assert sum("round" in line for line in fake.said) == 2


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a process can't be put on a core here")
@pytest.mark.parametrize("rounds", [1, 2])
def test_one_thread_of_both_sides_works_on_one_core(bench, rounds: int) -> None:
    cores = sorted(os.sched_getaffinity(0))
    (record,) = bench('[Case("core", core, core, setup, check)]').run(Plan(rounds, repeats=1, warmup=0))
    on = {"answer": cores[(rounds - 1) % len(cores)]}  # in the last round
    assert record["ours"]["check"] == record["theirs"]["check"] == on


def test_no_side_ends_before_the_other_has_worked(bench) -> None:
    fake = bench('[Case("end", slowly, until_the_end, setup, check)]')
    fake.run(Plan(rounds=1, repeats=2, warmup=0))
    assert fake.log.read_text().splitlines()[:2] == ["ours worked"] * 2


@pytest.mark.parametrize(
    ("bound", "status", "kind"),
    [
        ("at_least=50.0", "FAIL", "theirs / ours"),
        ("at_most=1.0", "PASS", "ours / theirs"),
        ("at_most=0.01", "FAIL", "ours / theirs"),
        ("", "done", "theirs / ours"),
        ("objection=lambda a, b: f'{a} is not {b}'", "FAIL", "theirs / ours"),
    ],
)
def test_the_verdict_follows_the_bound(bench, bound: str, status: str, kind: str) -> None:
    fake = bench(f'[Case("sleep", ours, theirs, setup, check, {bound})]')
    (record,) = fake.run(Plan(rounds=1, repeats=1, warmup=0))
    assert record["status"] == status and record["ratio_is"] == kind
    assert record["objection"] == ("{'answer': 3.0} is not {'answer': 5.0}" if "objection" in bound else "")
    assert (record["ratio"]["median"] < 1) == (kind == "ours / theirs")  # ours is the faster


@pytest.mark.parametrize(
    ("ratios", "status"),
    [
        ([0.9, 1.1] * 4, "PASS"),  # median 1
        ([0.9, 0.92, 0.94, 0.96, 0.98, 1.0, 1.02, 1.04], "EVEN"),  # 0.97 ± 0.017
        ([0.94, 0.96, 0.98, 1.0, 1.02], "FAIL"),  # 0.98 ± 0.014, of too few to know
        ([0.94, 0.95, 0.96, 0.97] * 2, "FAIL"),  # 0.955 ± 0.004
    ],
)
def test_a_miss_within_the_error_of_many_rounds_is_even(ratios: list[float], status: str) -> None:
    case = Case("even", lambda s: s, lambda s, p: s, dict, at_least=1.0)
    run = {"seconds": [1.0], "cpu_seconds": [1.0], "peak_mib": 1.0, "extra_mib": 0.0, "check": {}}
    seen = {"ours": [run] * len(ratios), "theirs": [{**run, "seconds": [ratio]} for ratio in ratios]}
    record = _summary(case, seen)
    assert record["status"] == status
    error = torch.tensor(ratios).std() / len(ratios) ** 0.5
    assert record["ratio"]["standard_error"] == pytest.approx(float(error), rel=1e-5)


def test_processor_time_does_not_count_sleep(bench) -> None:
    busy = "lambda state: sum(range(1_000_000))"
    fake = bench(f'[Case("busy", {busy}, theirs, setup, unit="cpu s", at_most=0.1)]')
    (record,) = fake.run(Plan(rounds=1, repeats=1, warmup=0))
    theirs = record["theirs"]
    assert record["status"] == "FAIL" and theirs["median"] < 0.05 <= theirs["seconds"]["median"]
    assert record["ours"]["cpu_seconds"]["median"] == record["ours"]["median"]


def test_memory_is_that_of_the_calls(bench) -> None:
    fake = bench('[Case("allocate", small, large, setup, unit="MiB", at_least=5.0)]')
    (record,) = fake.run(FAST)
    assert record["status"] == "PASS", record
    assert abs(record["ours"]["median"] - 8) < 2 and abs(record["theirs"]["median"] - 64) < 2


def test_a_missing_peer_is_skipped_aloud(bench) -> None:
    absent = 'Case("a", ours, theirs, setup, peer="no_such_peer.inner")'
    fake = bench(f'[{absent}, Case("b", ours, theirs, setup)]')
    skipped, ran = fake.run(Plan(rounds=1, repeats=1, warmup=0))
    assert skipped["status"] == "skipped" and "no_such_peer.inner is not installed" in skipped["reason"]
    assert any("SKIPPED: no_such_peer.inner" in line for line in fake.said)
    assert ran["status"] == "done"
    assert fake.written["versions"]["no_such_peer"] is None
    assert "skipped: no_such_peer.inner" in cli.table({"fake": [skipped, ran]})


def test_a_peer_with_a_python_of_its_own(bench, monkeypatch, tmp_path: Path) -> None:
    names = 'peer="colorsys", distribution="pytest", python="PEER_PYTHON"'
    fake = bench(f'[Case("own", ours, theirs, setup, check, {names})]')
    (tmp_path / "colorsys.py").write_text("raise ImportError('that of this repository')")
    monkeypatch.setenv("PEER_PYTHON", sys.executable)
    (record,) = fake.run(Plan(rounds=1, repeats=1, warmup=0))
    assert record["status"] == "done", record[
        "reason"
    ]  # the standard library's, although our path has another
    assert fake.log.read_text().splitlines() == ["ours 1", "theirs colorsys"]
    assert record["theirs"]["versions"]["pytest"] == pytest.__version__ and "versions" not in record["ours"]
    assert "pytest" not in fake.written["versions"]  # which are those of this Python


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "PEER_PYTHON is not set: this Python has no no-such"),
        ("/no/python", "PEER_PYTHON is /no/python, which does not run"),
        (sys.executable, f"PEER_PYTHON is {sys.executable}, which has no no-such"),
    ],
)
def test_a_missing_python_of_a_peer_is_skipped_aloud(bench, monkeypatch, value: str, reason: str) -> None:
    monkeypatch.setenv("PEER_PYTHON", value)
    fake = bench(
        '[Case("a", ours, theirs, peer="x", distribution="no-such", setup=setup, python="PEER_PYTHON")]'
    )
    (record,) = fake.run(FAST)
    assert record["status"] == "skipped" and reason in record["reason"]
    assert any(f"SKIPPED: {reason}" in line for line in fake.said)


def test_a_side_that_breaks_or_hangs_is_an_error_with_its_last_words(bench) -> None:
    fake = bench('[Case("broken", ours, breaks, setup), Case("stuck", ours, hangs, setup)]')
    broken, stuck = fake.run(Plan(rounds=1, repeats=1, warmup=0, timeout=3.0))
    assert broken["status"] == stuck["status"] == "error"
    assert "theirs ended with status 1" in broken["reason"]
    assert "RuntimeError: the peer broke" in broken["reason"]
    assert stuck["reason"] == "theirs took longer than 3 s"


def test_the_command_runs_what_is_named(bench, monkeypatch, capsys, tmp_path: Path) -> None:
    fake = bench('[Case("quick", ours, theirs, setup, at_least=1.0), Case("bad", ours, breaks, setup)]')
    monkeypatch.setattr(cli, "find", lambda: {"fake": fake.module})
    assert cli.main(["--list"]) == 0
    assert capsys.readouterr().out == "fake\n  quick  >= 1\n  bad  \n"
    assert cli.main(["faek"]) == 2
    assert "did you mean fake?" in capsys.readouterr().err
    words = ["fake", "--rounds=1", "--repeats=1", "--warmup=0", f"--results={tmp_path / 'out'}"]
    assert cli.main([*words, "--case=quick"]) == 0
    said = capsys.readouterr().out
    assert "PASS" in said and "required" in said and "not written" in said
    assert not (tmp_path / "out").exists()  # a file never lacks cases
    assert cli.main(words) == 1  # one broke
    assert len(json.loads((tmp_path / "out" / "fake.json").read_text())["cases"]) == 2
    with pytest.raises(SystemExit):
        cli.main(["--rounds=0"])
    assert "rounds must be at least 1, got 0" in capsys.readouterr().err


def test_two_cases_of_one_name_are_refused(bench) -> None:
    fake = bench('[Case("same", ours, theirs, setup), Case("same", ours, theirs, setup)]')
    with pytest.raises(ValueError, match="two cases have one name"):
        cli.load(fake.module)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"at_least": 1.0, "at_most": 2.0}, "x: give at_least or at_most, not both"),
        ({"at_least": 0.0}, "x: a required ratio must be positive, got 0.0"),
        ({"unit": "ms"}, 'x: unit must be "s", "cpu s" or "MiB", got \'ms\''),
    ],
)
def test_a_bad_case_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Case("x", float, max, dict, **options)


@pytest.mark.parametrize("options", [{"repeats": 0}, {"warmup": -1}, {"threads": 0}, {"timeout": 0.0}])
def test_a_bad_plan_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        Plan(**options)


def test_every_committed_benchmark_loads() -> None:
    for module in cli.find().values():
        assert all(isinstance(case, Case) for case in cli.load(module)), module


def test_machine_versions_and_commit(tmp_path: Path) -> None:
    here = machine()
    assert here["cpu"] and here["cores"] >= 1 and here["memory_gib"] > 0
    assert versions(["numpy", "no-such-distribution"])["no-such-distribution"] is None
    assert versions(["numpy"])["numpy"]
    assert commit(tmp_path) == {"commit": None, "dirty": None}


def test_the_example_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (Path(cli.__file__).parent / "README.md").read_text(encoding="utf-8")
    source = readme.split("```python\n")[1].split("```")[0]
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "bench_of_the_readme.py").write_text(source, encoding="utf-8")
    cases = cli.load("bench_of_the_readme")
    plan = Plan(rounds=1, repeats=1, warmup=0)
    (record,) = run_module("readme", "bench_of_the_readme", cases, plan, results=None)
    assert record["status"] in ("PASS", "FAIL") and record["objection"] == "", record  # FAIL if busy
    assert record["ours"]["check"]["worst energy"] < 1e-9
