"""lightly's losses as a peer, where torchvision may be missing.

`lightly.loss` imports torchvision for layers that no loss here uses, and the torchvision that pip finds does
not load beside a torch without CUDA. Where it can't be imported, empty classes stand in for those layers.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from types import ModuleType
from typing import Any

os.environ.setdefault(
    "LIGHTLY_DID_VERSION_CHECK", "True"
)  # else `import lightly` asks the network for updates


@functools.cache
def lightly_loss() -> Any:
    """The module `lightly.loss`; to be called in the processes of `theirs` only, with peer="lightly"."""
    try:
        importlib.import_module("torchvision.ops")
    except (ImportError, RuntimeError):  # absent; or built for another torch
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for name in ("torchvision", "torchvision.ops"):
            sys.modules[name] = _Empty(name)
    return importlib.import_module("lightly.loss")


class _Empty(ModuleType):
    """A package that has every name, each an empty class."""

    __path__: list[str] = []  # noqa: RUF012  so that it counts as a package, without submodules

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})
