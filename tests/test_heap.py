"""The heap keeps what was freed: a second round of the same tensors has no page faults."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

LOOK = """
import resource
import torch
{first}

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def step():  # of tensors that are too small for blocks of their own
    kept = [torch.zeros(30_000) for _ in range(200)]
    del kept

for _ in range(5):
    step()
before = faults()
for _ in range(20):
    step()
print(faults() - before)
"""


def faults(first: str) -> int:
    command = [sys.executable, "-c", LOOK.format(first=first)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc gives the end of its heap back")
def test_what_a_step_freed_is_there_for_the_next() -> None:
    assert faults("import ebm") < 100 < faults("")
