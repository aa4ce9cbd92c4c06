"""Nobody is forgotten: every energy, minimizer and sampler that the package defines is on its list."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable

import ebm
from ebm import Energy
from ebm.energy import View
from ebm.infer.method import Method
from ebm.infer.sampler import Sampler
from ebm.plan import PrimitivePlan
from ebm.regularized.sparse_codes import SparseCodes
from ebm.regularizers import Regularizer
from ebm.staged import Staged
from ebm.targets import Target
from ebm.testing.energy_list import energies
from ebm.testing.minimizer_list import minimizers
from ebm.testing.sampler_list import samplers

for module in pkgutil.walk_packages(ebm.__path__, "ebm."):
    if not module.name.startswith(("ebm.testing", "ebm.show", "ebm.demo", "ebm.__main__")):
        importlib.import_module(module.name)


APART = {"testing", "demo"}


def defined(base: type) -> set[type]:
    """The classes of the package that can be made and are of this kind."""
    below = {c for child in base.__subclasses__() for c in {child, *defined(child)}}
    ours = {c for c in below if c.__module__.startswith("ebm.") and not set(c.__module__.split(".")) & APART}
    return {c for c in ours if not inspect.isabstract(c)}


def names(classes: Iterable[type]) -> list[str]:
    return sorted(c.__qualname__ for c in classes)


def test_every_minimizer_is_on_the_list() -> None:
    listed = {type(member.method) for member in minimizers().values() if member.problems}
    assert names(defined(Method) - listed) == []


def test_every_sampler_is_on_the_list() -> None:
    listed = {type(member.sampler) for member in samplers().values()}
    assert names(defined(Sampler) - listed) == []


def test_every_energy_is_on_the_list() -> None:
    listed = {type(part) for member in energies().values() for part in member.energy.modules()}
    bases = {
        Target,
        Regularizer,
        SparseCodes,
        Staged,
        View,
        PrimitivePlan,
    }  # staged ones: with the minimizers
    assert names(defined(Energy) - listed - bases) == []
