"""What depth buys: how near ISTA, FISTA and LISTA are to sparse codes after T steps or layers.

Photo patches of 8 x 8 pixels, whitened, of contrast one; a dictionary of 128 atoms learned on them, λ = 0.05.
LISTA of each depth, with weights of each layer's own, is trained for 300 steps on the codes of 8,000 patches;
the errors are those of 1,000 others. ISTA and FISTA converge; a network ends where its training did.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR

from ebm.data import photo_patches
from ebm.loss import AverageEnergy
from ebm.regularized import LISTA, SparseCoding
from ebm.regularized.lista import Curves, error_against_depth
from ebm.show import style
from ebm.solution import one_tensor
from ebm.train import fit

ALT = (
    "Squared error of sparse codes against depth: a few learned layers of LISTA are nearer than as many "
    "steps of ISTA or FISTA."
)
SIZE, ATOMS, SPARSITY, TRAINED, HELD_OUT = 8, 128, 0.05, 8000, 1000
DEPTHS = (1, 2, 3, 5, 8)
STEPS, BATCH = 300, 256


def data() -> tuple[Tensor, Tensor]:
    """Patches to learn from and others to test on."""
    generator = torch.Generator().manual_seed(0)
    y = photo_patches(TRAINED + HELD_OUT, SIZE, generator=generator, dtype=torch.float32).value
    y = y / torch.linalg.vector_norm(y, dim=1, keepdim=True)
    return y[HELD_OUT:], y[:HELD_OUT]


def dictionary(y: Tensor) -> SparseCoding:
    """Sparse coding, learned."""
    generator = torch.Generator().manual_seed(1)
    model = SparseCoding.from_data(y, ATOMS, SPARSITY, generator=generator)
    model.fit(y, steps=60, generator=generator, progress=False)
    return model


def trained(model: SparseCoding, layers: int, y: Tensor, z: Tensor) -> LISTA:
    """LISTA of one depth, trained on codes."""
    lista = LISTA(model, layers, tied=False)
    fit(
        lista.code_error,
        AverageEnergy(),
        {"y": y, "z": z},
        optimizer=partial(torch.optim.Adam, lr=2e-3),
        schedule=partial(CosineAnnealingLR, T_max=STEPS),
        steps=STEPS,
        batch_size=BATCH,
        generator=torch.Generator().manual_seed(2),
        progress=False,
    )
    return lista


def curves() -> Curves:
    """The relative code error on the patches held out, at every depth."""
    seen, held_out = data()
    model = dictionary(seen)
    z = one_tensor(model.infer(seen, tol=1e-3).value)
    return error_against_depth(model, held_out, [trained(model, depth, seen, z) for depth in DEPTHS])


def draw() -> Figure:
    """The figure."""
    found = curves()
    with style():
        figure = Figure(figsize=(7.4, 4.4))
        ax = figure.subplots()
        for name, error, marker in (
            ("ISTA", found.ista, "s"),
            ("FISTA", found.fista, "o"),
            ("LISTA, trained", found.lista, "D"),
        ):
            ax.plot(found.depth, error, marker=marker, markersize=5)
            ax.annotate(
                name,
                (int(found.depth[-1]), float(error[-1])),
                xytext=(8, 0),
                textcoords="offset points",
                va="center",
                color=ax.lines[-1].get_color(),
            )
        for depth, error in zip(found.depth.tolist(), found.lista.tolist(), strict=True):
            ax.annotate(
                f"{error:.2f}", (depth, error), xytext=(0, -14), textcoords="offset points", ha="center"
            )
        ax.set(
            xscale="log",
            yscale="log",
            xticks=DEPTHS,
            xticklabels=[str(depth) for depth in DEPTHS],
            xlim=(0.9, 13),
            ylim=(0.05, 0.8),
            yticks=(0.05, 0.1, 0.2, 0.5),
            yticklabels=("0.05", "0.1", "0.2", "0.5"),
            xlabel="steps, or layers",
            ylabel="squared error of the codes, relative",
            title="A few learned layers are nearer than as many steps",
        )
        ax.minorticks_off()
    return figure


if __name__ == "__main__":
    draw().savefig(Path(__file__).with_suffix(".png"), dpi=150)
