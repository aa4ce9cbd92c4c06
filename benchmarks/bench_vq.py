"""Vector quantization: codes of 65,536 vectors of 64 numbers out of 1,024, beside vector-quantize-pytorch.

Both sides get float32 vectors and the same codebook, and give back for each vector the number of the nearest
code and the code itself, without gradients and without learning. The check is the mean squared distance of
vectors and codes; near ties may be decided differently.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.case import Answers, Case
from ebm.regularized import VectorQuantization

VECTORS, SIZE, CODES = 65_536, 64, 1024


def setup() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(VECTORS, SIZE, generator=generator)
    return {"h": h, "ours": VectorQuantization.from_data(h, CODES, generator=generator)}


def ours(state: dict[str, Any]) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        code, z = state["ours"].quantize(state["h"])
    return code, z


def by_vector_quantize(state: dict[str, Any], vector_quantize_pytorch: Any) -> tuple[Tensor, Tensor]:
    if "theirs" not in state:  # before the first call, which warms up, is over
        made = vector_quantize_pytorch.VectorQuantize(dim=SIZE, codebook_size=CODES).eval()
        made.codebook = state["ours"].codebook
        state["theirs"] = made
    with torch.no_grad():
        code, z, _ = state["theirs"](state["h"])
    return code, z


def distance(state: dict[str, Any], result: tuple[Tensor, Tensor]) -> Answers:
    (code, z), h, codebook = result, state["h"].double(), state["ours"].codebook
    away = float((h - codebook[z].double()).square().sum(1).mean())
    return {
        "mean squared distance": away,
        "codes are those of the numbers": float((code == codebook[z]).all()),
    }


def farther(ours: Answers, theirs: Answers) -> str:
    mine, other = ours["mean squared distance"], theirs["mean squared distance"]
    if min(ours["codes are those of the numbers"], theirs["codes are those of the numbers"]) < 1:
        return "codes and their numbers disagree"
    return "" if abs(mine - other) <= 1e-5 * other else f"our codes are {mine:.6f} away, theirs {other:.6f}"


CASES = [
    Case(
        "65,536 vectors of 64 among 1,024 codes, against vector-quantize-pytorch",
        ours,
        by_vector_quantize,
        setup,
        distance,
        farther,
        peer="vector_quantize_pytorch",
        distribution="vector-quantize-pytorch",
        unit="cpu s",
        at_least=10.0,
    )
]
