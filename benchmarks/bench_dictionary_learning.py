"""Dictionary learning on photo patches: 140 steps of 256, time and held-out objective, beside scikit-learn.

Whitened 12 x 12 patches of length 1, 288 atoms, λ = 0.1, the same start and the same number of patches seen.
The check is the mean free energy of 2,000 patches that neither has seen, with atoms of length 1 on both
sides. scikit-learn has float64: in float32 its inner stopping test ends only with its iterations, many times
slower.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.case import Answers, Case
from ebm.data import photo_patches
from ebm.infer import CoordinateDescent, SpaRSA
from ebm.regularized import SparseCoding

STEPS, BATCH, ATOMS, SPARSITY, HELD_OUT = 140, 256, 288, 0.1, 2000


def setup() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    y = photo_patches(STEPS * BATCH + HELD_OUT, 12, generator=generator).value.float()
    y = y / torch.linalg.vector_norm(y, dim=1, keepdim=True)
    seen, held_out = y[HELD_OUT:], y[:HELD_OUT]
    start = SparseCoding.from_data(seen, ATOMS, SPARSITY, generator=generator).dictionary
    return {"seen": seen, "held_out": held_out, "start": start}


def ours(state: dict[str, Any], compiled: bool) -> Tensor:
    method = CoordinateDescent(compiled=True) if compiled else SpaRSA()
    model = SparseCoding(state["start"].clone(), SPARSITY, method=method)
    model.fit(
        state["seen"],
        steps=STEPS,
        batch_size=BATCH,
        generator=torch.Generator().manual_seed(1),
        progress=False,
    )
    return model.dictionary


def by_sklearn(state: dict[str, Any], decomposition: Any) -> Tensor:
    learner = decomposition.MiniBatchDictionaryLearning(
        ATOMS,
        alpha=SPARSITY,
        batch_size=BATCH,
        max_iter=1,
        fit_algorithm="cd",
        dict_init=state["start"].double().numpy(),
        max_no_improvement=None,
        tol=0,
        random_state=0,
    )
    return torch.as_tensor(learner.fit(state["seen"].double().numpy()).components_)


def held_out(state: dict[str, Any], dictionary: Tensor) -> Answers:
    atoms = dictionary.double()
    model = SparseCoding(atoms / torch.linalg.vector_norm(atoms, dim=1, keepdim=True), SPARSITY)
    return {"held out": float(model.infer(state["held_out"].double(), tol=1e-4).energy.mean())}


def worse(ours: Answers, theirs: Answers) -> str:
    mine, other = ours["held out"], theirs["held out"]
    return "" if mine < other else f"our held-out objective {mine:.5f} is not below theirs, {other:.5f}"


CASES = [
    Case(
        f"140 steps of 256, {name}, against scikit-learn",
        partial(ours, compiled=compiled),
        by_sklearn,
        setup,
        held_out,
        worse,
        peer="sklearn.decomposition",
        distribution="scikit-learn",
        unit="cpu s",
        at_least=1.0,
    )
    for name, compiled in (("in torch", False), ("compiled", True))
]
