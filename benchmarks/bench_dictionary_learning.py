"""Dictionary learning on photo patches: time to the same held-out objective, beside its peers.

Whitened 12 x 12 patches of length 1, 288 atoms, λ = 0.1, the same start. The peers take 140 steps of 256
patches, this package 95, with which it is at least as good: the check is the mean free energy of 2,000
patches that neither has seen, with atoms of length 1 on both sides. The peers have float64: in float32
scikit-learn's inner stopping test ends only with its iterations, many times slower, and spams is less exact.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.case import Answers, Case
from ebm.data import photo_patches
from ebm.infer import CoordinateDescent, SpaRSA
from ebm.regularized import SparseCoding

STEPS, OURS, BATCH, ATOMS, SPARSITY, HELD_OUT = 140, 95, 256, 288, 0.1, 2000


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
        steps=OURS,
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


def by_spams(state: dict[str, Any], spams: Any) -> Tensor:
    learned = spams.trainDL(
        np.asfortranarray(state["seen"].double().numpy().T),
        D=np.asfortranarray(state["start"].double().numpy().T),
        lambda1=SPARSITY,
        mode=2,
        batchsize=BATCH,
        iter=STEPS,
        numThreads=1,
        verbose=False,
    )
    return torch.as_tensor(np.ascontiguousarray(learned.T))


def held_out(state: dict[str, Any], dictionary: Tensor) -> Answers:
    atoms = dictionary.double()
    model = SparseCoding(atoms / torch.linalg.vector_norm(atoms, dim=1, keepdim=True), SPARSITY)
    return {"held out": float(model.infer(state["held_out"].double(), tol=1e-4).energy.mean())}


def worse(ours: Answers, theirs: Answers) -> str:
    mine, other = ours["held out"], theirs["held out"]
    return "" if mine <= other else f"our held-out objective {mine:.5f} is above theirs, {other:.5f}"


CASES = [
    Case(
        f"to the objective of {peer} after 140 steps of 256, {name}",
        partial(ours, compiled=compiled),
        theirs,
        setup,
        held_out,
        worse,
        peer=module,
        distribution=distribution,
        unit="cpu s",
        at_least=1.0,
    )
    for peer, theirs, module, distribution in (
        ("scikit-learn", by_sklearn, "sklearn.decomposition", "scikit-learn"),
        ("spams.trainDL", by_spams, "spams", "spams-bin"),
    )
    for name, compiled in (("in torch", False), ("compiled", True))
]
