"""Archives: any plain state with tensors comes back as it was, types and bits, and nothing else gets in."""

from __future__ import annotations

import json
import math
import os
import stat
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from ebm.training import ArchiveError, read, write
from ebm.training.archive import pack, unpack

KINDS = [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool]


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    return torch.randn(shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 9)))).to(
        draw(st.sampled_from(KINDS))
    )


keys = st.text(max_size=4) | st.integers()
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | tensors()
states = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(keys, inner, max_size=3)
        | st.dictionaries(st.integers(), st.integers()).map(Counter)
    ),
)


def alike(a: Any, b: Any) -> bool:
    """Equal in value and type, NaN included."""
    if isinstance(a, Tensor):
        bits = isinstance(b, Tensor) and a.dtype == b.dtype and a.shape == b.shape
        return bits and torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(alike(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(alike, a, b))
    return a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b))


@given(states)
def test_a_file_gives_the_same_state(tmp_path_factory: pytest.TempPathFactory, state: Any) -> None:
    path = tmp_path_factory.mktemp("archive") / "deep" / "state"
    write(path, state)
    assert alike(read(path), state) and alike(unpack(*pack(state)), state)
    write(path, {"another": 1})
    assert read(path) == {"another": 1} and [p.name for p in path.parent.iterdir()] == ["state"]


def test_what_is_no_finite_number_comes_back_though_json_has_none(tmp_path: Path) -> None:
    state = {"best": math.inf, "worst": -math.inf, "last": [math.nan, 0.5]}
    write(tmp_path / "state", state)
    assert alike(read(tmp_path / "state"), state)
    json.dumps(pack(state)[0], allow_nan=False)


def test_names_that_look_alike_and_memory_that_is_shared(tmp_path: Path) -> None:
    whole = torch.arange(6.0)
    state = {
        "a.b": whole[:3],
        "a.b'": whole[:1],
        "a": {"b": whole[3:]},
        "again": whole,
        "t": whole.view(2, 3).T,
    }
    write(tmp_path / "state", state)
    found = read(tmp_path / "state")
    assert alike(found, {**state, "t": state["t"].contiguous()})
    found["again"].zero_()
    assert found["a.b"].tolist() == [0.0, 1.0, 2.0]  # what was a view is a tensor of its own


def test_what_has_no_plain_form_is_refused() -> None:
    for state, message in (
        (
            {"a": [1, nn.Identity()]},
            r"state\.a\.1 is Identity\(\), a Identity; a state that is saved is made of",
        ),
        ({(1, 2): 3}, r"state is {\(1, 2\): 3}, a dict; .*dicts with texts or integers as keys"),
        (1j, "state is 1j, a complex"),
        (b"raw", "a bytes"),
    ):
        with pytest.raises(TypeError, match=message):
            pack(state)
    assert unpack(*pack(OrderedDict(b=1, a=2))) == {"b": 1, "a": 2}


def test_a_failed_write_leaves_the_file_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    write(path, {"step": 1})
    for name in ("save_file", "os.fsync", "os.replace"):
        with monkeypatch.context() as patch:
            patch.setattr(f"ebm.training.archive.{name}", _full)
            with pytest.raises(OSError, match="no space left"):
                write(path, {"step": 2, "w": torch.ones(3)})
        assert read(path) == {"step": 1}
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")
    (tmp_path / "empty").touch()
    with pytest.raises(ArchiveError, match=r"empty \(0 bytes\) is truncated or damaged"):
        read(tmp_path / "empty")


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a folder can't be flushed")
def test_contents_reach_the_disk_before_the_name_and_the_name_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flushed = tmp_path / "state", []

    def fsync(handle: int) -> None:
        flushed.append(("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file", path.exists()))

    monkeypatch.setattr("os.fsync", fsync)
    write(path, {"w": torch.ones(3)})
    assert flushed == [("file", False), ("folder", True)]


def _full(*_: Any, **__: Any) -> None:
    raise OSError("no space left on the disk")
