"""Several processes on one machine: a function run in W processes that work together, as under torchrun.

    results = run_processes(function, 2, argument)       function(argument) in both; results[r] of process r

They talk by gloo, on the CPU. The function is found by its name in its module, so it is a plain function at
the top of a file that can be imported.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ebm.processes import fail

LOADED = ["ebm.testing.processes", "ebm.joint", "ebm.train", "torch._dynamo"]  # what takes long to import


class WorkerError(RuntimeError):
    """A function failed in one or more processes.

    Attributes:
        errors: what each process reported, by rank, with its traceback; "" where it finished, None where it
            died without a word.
    """

    def __init__(self, message: str, errors: list[str | None]):
        self.errors = errors
        super().__init__(message)


def run_processes(
    function: Callable[..., Any], world_size: int = 2, *arguments: Any, timeout: float = 120.0
) -> list[Any]:
    """Run a function in several processes that torch.distributed has made one group.

    Args:
        function: at the top of a module; called as function(*arguments) in every process.
        world_size: W, how many processes.
        arguments: sent to every process: tensors, modules, plain values.
        timeout: seconds after which processes that haven't finished are killed.

    Returns:
        What the function returned, by rank.

    Raises:
        WorkerError: if it raised in a process, or a process died or took too long.

    Example:
        >>> from ebm.processes import gather
        >>> run_processes(gather, 2, torch.ones(1, 2))
        [tensor([[1., 1.],
                [1., 1.]]), tensor([[1., 1.],
                [1., 1.]])]
    """
    context = start_context()
    with tempfile.TemporaryDirectory() as folder:
        meeting = (Path(folder) / "meeting").as_uri()
        started: list[tuple[BaseProcess, Connection]] = []
        for rank in range(world_size):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_work, args=(theirs, meeting, rank, world_size, function, arguments), daemon=True
            )
            process.start()
            theirs.close()  # so that a process that dies is seen as the end of the pipe
            started.append((process, ours))
        try:
            return _results(function, started, time.monotonic() + timeout)
        finally:
            for process, ours in started:
                process.kill()  # each has said all that it will say, or is too late
                process.join()
                ours.close()


def start_context() -> Any:
    """How processes are started: if it can be, as forks of a server that has torch loaded; that is quick."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    return context


def _results(
    function: Callable[..., Any], started: list[tuple[BaseProcess, Connection]], deadline: float
) -> list[Any]:
    results: list[Any] = [None] * len(started)
    errors: list[str | None] = ["still running when time was up"] * len(started)
    waiting: dict[Any, int] = {ours: rank for rank, (_, ours) in enumerate(started)}
    while waiting and (ready := wait(list(waiting), deadline - time.monotonic())):
        for each in ready:
            ours: Any = each
            rank = waiting.pop(ours)
            try:
                results[rank], errors[rank] = ours.recv()
            except EOFError:
                errors[rank] = None
    if any(error != "" for error in errors):
        listed = "\n".join(
            f"process {r}: {'died' if e is None else e or 'finished'}" for r, e in enumerate(errors)
        )
        raise WorkerError(f"{function.__name__} failed in {len(started)} processes:\n{listed}", errors)
    return results


def _work(
    pipe: Connection, meeting: str, rank: int, world_size: int, function: Callable[..., Any], arguments: Any
) -> None:
    """What each process does."""
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size))
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world_size)
    try:
        answer = function(*arguments), ""
    except BaseException as error:
        fail(error)
        answer = None, f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
    pipe.send(answer)
    pipe.recv()  # tensors that were sent live here until the other side has them, and ends this process
