"""What photographs are made of, measured: atoms of sparse coding are Gabor functions.

E(y, z) = ½ |y - zD|² + λ |z|₁, λ = 0.1, of 12 x 12 patches of two photographs, whitened, of length 1. Above,
all 144 atoms, and the Gabor function that is most correlated with each, by falling correlation. Below, these
correlations beside those of other pictures of the same size: atoms whose Fourier phases were drawn anew;
principal components of the same patches; patches themselves, from which the atoms began; and white noise.
Right, against the share of the patch where the Gabor's bell has at least half of its height: less than a half
counts as localized. Any speck of noise has a small bell; only atoms fit, too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ebm.data import photo_patches
from ebm.measure.gabor import GaborFit, gabor_fit
from ebm.regularized import PCA, SparseCoding
from ebm.show import filters, style
from ebm.show.style import BLUE, GRAY, GREEN, ORANGE, PURPLE

ALT = (
    "Atoms that sparse coding learned from photographs, each beside the Gabor function nearest to it: "
    "the median correlation is 0.94; of principal components 0.64, of white noise 0.37."
)
SIDE, ATOMS, SPARSITY, STEPS = 12, 144, 0.1, 80
FLATTEST = 0.2  # share of the patches left out: sky and blurred background
LEARNED = "atoms of sparse coding"
COLORS = {
    LEARNED: BLUE,
    "with random phases": PURPLE,
    "principal components": GREEN,
    "patches": ORANGE,
    "white noise": GRAY,
}


def random_phases(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures (K, P) whose waves are as strong and begin elsewhere."""
    noise = torch.randn(pictures.shape, generator=generator).view(-1, SIDE, SIDE)
    waves, phases = torch.fft.rfft2(pictures.view(-1, SIDE, SIDE)), torch.fft.rfft2(noise)
    return torch.fft.irfft2(waves.abs() * phases / phases.abs(), s=(SIDE, SIDE)).flatten(1)


def pictures() -> dict[str, Tensor]:
    """By name: pictures to fit, (K, P)."""
    generator = torch.Generator().manual_seed(0)
    y = photo_patches(25_000, SIDE, generator=generator, eps=1.0).value.float()
    length = torch.linalg.vector_norm(y, dim=1)
    bright = length > length.quantile(FLATTEST)
    y = y[bright] / length[bright].unsqueeze(1)
    model = SparseCoding.from_data(y, ATOMS, SPARSITY, generator=generator)
    patches = model.dictionary.clone()
    model.fit(y, steps=STEPS, generator=generator, progress=False)
    return {
        LEARNED: model.dictionary,
        "with random phases": random_phases(model.dictionary, generator),
        "principal components": PCA.from_data(y, ATOMS - 1).components,
        "patches": patches,
        "white noise": torch.randn(ATOMS, SIDE**2, generator=generator),
    }


def show(axes: Sequence[Axes], atoms: Tensor, fit: GaborFit) -> None:
    """Atoms and their Gabors, the best fits first."""
    titles = (f"{len(atoms)} atoms learned from photographs", "the Gabor function nearest to each")
    for ax, each, title in zip(axes, (atoms, fit.picture.flatten(1)), titles, strict=True):
        filters(each, ax, columns=SIDE, order=fit.correlation, shared=False)
        ax.set_title(title)


def compare(left: Axes, right: Axes, fits: dict[str, GaborFit]) -> None:
    """How well they fit, and how much of the patch they take."""
    bins = np.linspace(0, 1, 51)
    for name, fit in fits.items():
        color, first = COLORS[name], name == LEARNED
        r, shares = fit.correlation, (float(each.double().mean()) for each in (fit.localized, fit.oriented))
        style = {"histtype": "stepfilled" if first else "step", "alpha": 0.75 if first else 1.0}
        left.hist(r.numpy(), bins, color=color, label=f"{name}: {float(r.median()):.2f}", **style)
        label = "{}: {:.0%}, {:.0%}".format(name, *shares)
        right.plot(r, fit.area, "o" if first else ".", color=color, markersize=4, alpha=0.75, label=label)
    left.set(xlabel="correlation with the nearest Gabor", ylabel="pictures", xlim=(0.25, 1))
    left.legend(title="medians", loc="upper center", alignment="left", fontsize=9)
    left.set_title("Learned atoms are close to Gabors")
    right.set(xlabel="correlation with the nearest Gabor")
    right.set_ylabel("share of the patch\nunder the bell", y=0.29)
    right.set(xlim=(0.25, 1.01), ylim=(0, 1.72), yticks=[0, 0.25, 0.5, 0.75, 1])
    right.spines["left"].set_bounds(0, 1)
    right.axhline(0.5, color="black", linewidth=0.8, linestyle=":")
    right.legend(title="localized and oriented", loc="upper left", alignment="left", fontsize=9)
    right.set_title("and most keep to a place")


def measured() -> tuple[Tensor, dict[str, GaborFit]]:
    """The atoms, and the fits by name."""
    sets = pictures()
    fits = {name: gabor_fit(each, (SIDE, SIDE), starts=3, tol=1e-4) for name, each in sets.items()}
    return sets[LEARNED], fits


def draw(found: tuple[Tensor, dict[str, GaborFit]] | None = None) -> Figure:
    """The figure."""
    atoms, fits = measured() if found is None else found
    with style():
        figure = Figure(figsize=(10.5, 9.6))
        above, below = figure.subfigures(2, 1, height_ratios=(5.6, 3.9))
        show(above.subplots(1, 2), atoms, fits[LEARNED])
        compare(*below.subplots(1, 2), fits)
    return figure


if __name__ == "__main__":
    learned = measured()
    draw(learned).savefig(Path(__file__).with_suffix(".png"), dpi=150)
    numbers = {name: fit.numbers() for name, fit in learned[1].items()}
    Path(__file__).with_suffix(".json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
