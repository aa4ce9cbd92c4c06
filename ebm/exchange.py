"""One exchange between processes, in which nobody waits for a process that has failed.

A process that fails says so in the store where the processes found one another (`fail`); those that wait for
it look there every second, and end with a `ProcessError` that repeats what it said. That is so on the CPU
(gloo); with NCCL its own watchdog and torchrun end the processes that wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

PATIENCE = timedelta(seconds=1)  # between two looks whether a process that is waited for has failed
FAILED, FAILING, HEARD = "ebm failed", "ebm failing", "ebm heard"  # keys of the store: a text, two counts


class ProcessError(RuntimeError):
    """Another process failed, or contact with it was lost; this process cannot go on alone."""


def world_size() -> int:
    """W, how many processes work together; 1 where torch.distributed has not been set up."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, 0 to W - 1."""
    return dist.get_rank() if world_size() > 1 else 0


def exchange(operation: Callable[..., Any], *arguments: Any) -> None:
    """Take part in a collective operation of torch.distributed, and wait for the others.

    Raises:
        ProcessError: if another process failed, or contact with it was lost.
    """
    on_cpu = any(isinstance(a, Tensor) and a.device.type == "cpu" for a in arguments)
    patience = (PATIENCE,) if on_cpu or dist.get_backend() == "gloo" else ()  # with NCCL it would block
    work = None
    while True:
        try:
            work = work or operation(*arguments, async_op=True)
            work.wait(*patience)
            return
        except RuntimeError as error:  # also when nothing but our patience ended
            said = _heard()
            if said or work is None or work.is_completed():
                lost = f"contact with another process was lost, it was killed or has ended ({error})"
                raise ProcessError(
                    f"{said or lost}. Process {rank()} cannot go on alone: mend the cause and start all anew."
                ) from error


def all_gather(tensor: Tensor) -> list[Tensor]:
    """The tensors of all processes, by rank; of one shape and dtype."""
    carried = carry(tensor.detach().contiguous())
    parts = [torch.empty_like(carried) for _ in range(world_size())]
    exchange(dist.all_gather, parts, carried)
    return [part.to(tensor.device) for part in parts]


def carry(tensor: Tensor) -> Tensor:
    """The tensor on a device between which the processes can exchange: NCCL carries nothing from a CPU."""
    return tensor.cuda() if dist.get_backend() == "nccl" and tensor.device.type == "cpu" else tensor


def fail(error: BaseException) -> None:
    """Tell the processes that wait for this one that it fails, and give them a moment to hear it.

    Where all of them fail alike, nobody is left waiting, and they may go on together.
    """
    if world_size() == 1 or isinstance(error, ProcessError):
        return
    with suppress(Exception):  # without a store the others are gone, or will see a closed connection
        store = _store()
        store.compare_set(FAILED, "", f"process {rank()} failed: {type(error).__name__}: {error}")
        store.add(FAILING, 1)
        deadline = time.monotonic() + 3 * PATIENCE.total_seconds()
        while time.monotonic() < deadline:
            failing = store.add(FAILING, 0) % world_size()
            if not failing and rank() == 0:
                store.set(FAILED, "")
            if not failing or failing + store.add(HEARD, 0) >= world_size():
                return
            time.sleep(0.02)


def _heard() -> str:
    """What a process that failed has said; empty if none did, or if the store is gone."""
    with suppress(Exception):
        store = _store()
        if store.check([FAILED]) and (said := bytes(store.get(FAILED)).decode()):
            store.add(HEARD, 1)
            return said
    return ""


def _store() -> Any:
    """Where the processes found one another; torch has no public way to it."""
    return dist.distributed_c10d._get_default_store()
