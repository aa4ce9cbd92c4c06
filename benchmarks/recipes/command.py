"""A recipe as a command: a dataclass of settings as a command line, and the device of each process."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field, fields
from typing import Any, TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")


def option(default: T, help: str, **more: Any) -> T:
    """A field of a dataclass of settings.

    Args:
        default: its value where the command line has none.
        help: what it is, in a few words.
        more: for `argparse`: choices, or the type where that is not the default's.
    """
    made: T = field(default=default, metadata={"help": help, **more})
    return made


def parse(settings: type[T], program: str, description: str, argv: Sequence[str] | None = None) -> T:
    """The settings on a command line: `--batch-size 64` for `batch_size`, `--no-half` for `half=False`.

    Args:
        settings: a dataclass of which each field is an `option`.
        program: the command, for its help.
        description: what it does, for its help.
        argv: the words after the command's name; those of this process if None.

    Returns:
        The settings. A setting that the dataclass refuses (ValueError) ends the program with its message.
    """
    parser = argparse.ArgumentParser(program, description=description)
    for each in fields(settings):  # type: ignore[arg-type]
        more = {"type": type(each.default), **each.metadata, "default": each.default}
        if more["type"] is bool:
            more = {"action": argparse.BooleanOptionalAction, "help": more["help"], "default": each.default}
        parser.add_argument("--" + each.name.replace("_", "-"), **more)
    try:
        return settings(**vars(parser.parse_args(argv)))
    except ValueError as error:
        parser.error(str(error))


@contextmanager
def joined(name: str = "") -> Iterator[torch.device]:
    """The device of this process, one of those that torchrun started, if it did.

    Args:
        name: of the device, such as "cpu"; CUDA's where it is, if "".
    """
    device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", device.index or 0)))
        torch.cuda.set_device(device)
    start = "WORLD_SIZE" in os.environ and not dist.is_initialized()
    if start:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        if start:
            dist.destroy_process_group()
