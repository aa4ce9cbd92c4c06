"""Archives: a state as one file of tensors and JSON, whole or not there; nothing is ever unpickled.

    file = safetensors(tensors, header = {"ebm": JSON})

A state is made of tensors, numbers, texts and None, in dicts, lists and tuples. Its tensors go to the file
as they are, and the rest to JSON, in which each tensor is named. The file is written beside its place,
flushed to the disk and renamed: whoever looks, at any moment, finds the previous one or the new one, whole.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

FORMAT = "1"


class ArchiveError(ValueError):
    """A file that can't be read; the message says what is wrong with it and what to do."""


def write(path: Path, state: Any) -> None:
    """Replace the file, or leave the previous one as it was if anything goes wrong.

    Args:
        path: the file; its folder is made.
        state: tensors, numbers, texts, None, and dicts, lists and tuples of them.

    Raises:
        TypeError: if the state holds anything else, naming where.
    """
    plain, tensors = pack(state)
    text = json.dumps({"format": FORMAT, "checksums": _checksums(tensors), "state": plain})
    header = {"ebm": text, "checksum": str(zlib.crc32(text.encode()))}
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".partial")  # the same folder: a rename within one is atomic
    save_file(tensors, beside, metadata=header)
    with open(beside, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(beside, path)
    if os.name == "posix":  # the new name has to reach the disk too
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


def read(path: Path) -> Any:
    """The state in a file, its tensors on the CPU.

    Raises:
        ArchiveError: if the file is truncated, damaged, or something else.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(Path(folder) / "a", {"step": 3, "sizes": (1, 2), "w": torch.ones(2)})
        ...     read(Path(folder) / "a")
        {'step': 3, 'sizes': (1, 2), 'w': tensor([1., 1.])}
    """
    cure = "Delete or rename it to begin anew, or put a copy that is whole in its place."
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except SafetensorError as error:
        size = path.stat().st_size
        raise ArchiveError(f"{path} ({size} bytes) is truncated or damaged: {error}. {cure}") from error
    if "ebm" not in header:
        raise ArchiveError(f"{path} holds tensors but was not written by `ebm.training.archive`. {cure}")
    if header.get("checksum") != str(zlib.crc32(header["ebm"].encode())):
        raise ArchiveError(f"{path} is damaged: its header changed since it was written. {cure}")
    contents = json.loads(header["ebm"])
    if contents["format"] != FORMAT:
        raise ArchiveError(
            f"{path} has format {contents['format']}, this version of ebm reads {FORMAT}; read it with "
            f"the version that wrote it."
        )
    found, written = _checksums(tensors), contents["checksums"]
    wrong = [name for name in written if found.get(name) != written[name]]
    if wrong:
        raise ArchiveError(f"{path} is damaged: {', '.join(wrong[:3])} changed since it was written. {cure}")
    return unpack(contents["state"], tensors)


def _checksums(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    return {name: checksum(tensor) for name, tensor in tensors.items()}


def checksum(tensor: Tensor) -> int:
    """CRC-32 of a tensor's bytes.

    Example:
        >>> checksum(torch.ones(2)) == checksum(torch.ones(3))
        False
    """
    raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return zlib.crc32(raw.numpy().data)


def pack(state: Any) -> tuple[Any, dict[str, Tensor]]:
    """A state as what JSON can hold, and copies of its tensors by the names that it has for them."""
    tensors: dict[str, Tensor] = {}
    return _to_json(state, "state", tensors), tensors


def _to_json(value: Any, where: str, tensors: dict[str, Tensor]) -> Any:
    """A state as JSON; what JSON can't tell is {"kind": ..., "value": ...}."""
    if isinstance(value, Tensor):
        while where in tensors:  # {"a.b": ..., "a": {"b": ...}}
            where += "'"
        tensors[where] = value.detach().to("cpu", copy=True).contiguous()  # no file shares memory
        return {"kind": "tensor", "value": where}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"kind": "float", "value": repr(value)}
    if isinstance(value, list | tuple):
        listed = [_to_json(each, f"{where}.{i}", tensors) for i, each in enumerate(value)]
        return listed if isinstance(value, list) else {"kind": "tuple", "value": listed}
    if isinstance(value, Mapping) and all(isinstance(key, str | int) for key in value):
        pairs = [[key, _to_json(each, f"{where}.{key}", tensors)] for key, each in value.items()]
        return {"kind": "counter" if isinstance(value, Counter) else "dict", "value": pairs}
    raise TypeError(
        f"{where} is {value!r}, a {type(value).__name__}; a state that is saved is made of tensors, numbers, "
        f"texts, None, lists, tuples, and dicts with texts or integers as keys."
    )


def unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The state that `pack` was given."""
    if isinstance(value, list):
        return [unpack(each, tensors) for each in value]
    if not isinstance(value, dict):
        return value
    kind, inner = value["kind"], value["value"]
    if kind == "tensor":
        return tensors[inner]
    if kind == "float":
        return float(inner)
    if kind == "tuple":
        return tuple(unpack(inner, tensors))
    pairs = {key: unpack(each, tensors) for key, each in inner}
    return Counter(pairs) if kind == "counter" else pairs
