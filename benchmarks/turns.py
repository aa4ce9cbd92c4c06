"""The two processes of a round, which take turns: ours, theirs, theirs, ours, ... one timed call each.

Both set up and warm up first, at the same time; from then on one works while the other waits, with one thread
on the same core. So what slows the machine for a few seconds, or one core for longer, slows both sides alike.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any

from benchmarks.case import Case
from benchmarks.side import MARK

ROOT = Path(__file__).parents[1]
ELSEWHERE = """
import os, runpy, sys
sys.path += sys.argv.pop(1).split(os.pathsep)  # last, so that the peer is found before what has its name here
runpy.run_module("benchmarks.side", run_name="__main__", alter_sys=True)
"""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
SIDES = ("ours", "theirs")


class SideError(RuntimeError):
    """One side of a case failed; the message ends as its output did."""


def take_turns(
    case: Case, module: str, threads: int, repeats: int, warmup: int, timeout: float, number: int = 0
) -> dict[str, dict[str, Any]]:
    """One process for each side, and what each reports in the end.

    Args:
        case: the comparison.
        module: the module that holds it.
        threads, repeats, warmup, timeout: as in `benchmarks.runner.Plan`; the timeout is that of one turn.
        number: of the round; rounds take the cores in turn.

    Raises:
        SideError: if a side ends early, or does not answer in time.
    """
    with ExitStack() as stack:
        sides = []
        for name in SIDES:
            errors = stack.enter_context(tempfile.TemporaryFile("w+"))
            sides.append(_Side(case, module, name, threads, repeats, warmup, timeout, errors))
            stack.callback(sides[-1].end)
        answers = {side.name: side.listen() for side in sides}
        if threads == 1 and hasattr(os, "sched_setaffinity"):
            cores = sorted(os.sched_getaffinity(0))
            for side in sides:
                os.sched_setaffinity(side.process.pid, {cores[number % len(cores)]})
        for turn in range(repeats + 1):  # the last for the reports
            for side in sides if turn % 2 == 0 else reversed(sides):
                side.go()
                answers[side.name] = side.listen()
    return {name: json.loads(answers[name]) for name in SIDES}


class _Side:
    """A process that says when it is ready, and goes on when it is told to."""

    def __init__(
        self,
        case: Case,
        module: str,
        name: str,
        threads: int,
        repeats: int,
        warmup: int,
        timeout: float,
        errors: IO[str],
    ):
        path = os.pathsep.join(each for each in (str(ROOT), os.environ.get("PYTHONPATH", "")) if each)
        environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))
        if case.python is not None and name == "theirs":
            command = [os.environ[case.python], "-P", "-c", ELSEWHERE, path]
            environment.pop("PYTHONPATH", None)
        else:
            command = [sys.executable, "-m", "benchmarks.side"]
            environment["PYTHONPATH"] = path
        command += [module, case.name, name]
        command += [f"--threads={threads}", f"--repeats={repeats}", f"--warmup={warmup}"]
        if case.unit == "MiB":  # glibc then maps each larger block by itself and gives it back when freed
            environment["MALLOC_MMAP_THRESHOLD_"] = "65536"
        self.name, self.timeout, self.errors = name, timeout, errors
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )

    def go(self) -> None:
        """Have it make its next call."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return  # it has ended, which `listen` will tell

    def listen(self) -> str:
        """What it says next: that it is ready, or its report."""
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self.process.kill()

        assert self.process.stdout is not None
        timer = threading.Timer(self.timeout, give_up)
        timer.start()
        try:
            for line in self.process.stdout:
                if line.startswith(MARK):
                    return line.removeprefix(MARK)
        finally:
            timer.cancel()
        status = self.process.wait()
        if late.is_set():
            raise SideError(f"{self.name} took longer than {self.timeout:g} s")
        self.errors.seek(0)
        last = "\n    ".join(self.errors.read().strip().splitlines()[-4:])
        raise SideError(f"{self.name} ended with status {status}:\n    {last}")

    def end(self) -> None:
        """End it, wherever it is."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(BrokenPipeError):  # what was not written can't be any more
                if pipe is not None:
                    pipe.close()
