"""What all tests share: one thread a process, no screen, examples that repeat, skips where CUDA is absent."""

from __future__ import annotations

import signal
from pathlib import Path

import matplotlib
import pytest
import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)  # the processes of `pytest -n` share the cores; and sums keep their order
matplotlib.use("Agg")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs in its background
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Derandomized: a failure here is a failure everywhere, and a green run stays green. No deadline: a first call
# may import or compile.
settings.register_profile(
    "ebm", derandomize=True, max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ebm")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `cuda` where there is no CUDA device."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device, and torch sees none here"))


@pytest.fixture
def generator() -> torch.Generator:
    """A generator on the CPU, seeded alike for every test."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def no_larger_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Data sets that are not bundled are not there; a recipe may set the number of threads."""
    threads = torch.get_num_threads()
    monkeypatch.setenv("EBM_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    yield
    torch.set_num_threads(threads)
