"""Part one: sparse coding. What are photographs made of?

E(y, z) = ½ |y - zD|² + λ |z|₁        y a patch, z its code, D the dictionary of atoms
"""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ebm.data import Whitening, photo_patches, photos
from ebm.demo.drawing import show_atom, show_image
from ebm.demo.part import Part, Picture
from ebm.demo.principal import Basis
from ebm.regularized import SparseCoding
from ebm.show import filters
from ebm.show.style import BLUE, GRAY, GREEN, ORANGE, VERMILION
from ebm.solution import one_tensor

SIZE = 10  # pixels, the side of a patch
RIDGE = 5.0  # of the whitening: high, since the temple's trees are close to white noise
FLATTEST = 0.2  # share of the patches left out: sky and blurred background
SPARSITY = 0.1
WALK = (0.4, 0.3, 0.2, 0.15, 0.1, 0.07)  # sparsities, from few coefficients to many
CROPS = ((0, 30, 150), (1, 120, 200))  # photograph, top and left of what is rebuilt
CROP = 14 * SIZE
FORMULA = "<i>E</i>(<i>y</i>, <i>z</i>) = ½ |<i>y</i> − <i>z D</i>|² + <i>λ</i> |<i>z</i>|₁"


def sparse_coding_part(part: Part) -> None:
    """Learn a dictionary of photo patches, and show what it is good for."""
    part.introduce(
        "What are photographs made of?",
        FORMULA,
        "A patch y of a photograph is to be explained as a sum of few atoms: the rows of a dictionary D, "
        "weighted by a code z. The first term asks that the sum fits, the second charges for the atoms "
        "that are used. Inference minimizes this energy over z, learning minimizes it over D, and the "
        "two take turns.",
        f"The patches are {SIZE} × {SIZE} pixels from two photographs that come with scikit-learn, "
        "evened out in brightness and contrast. Nobody says what an edge is. Without the second term "
        "every patch could have energy zero: it is this term that limits how much of the space of "
        "patches has low energy.",
    )
    generator = part.generator()
    count, steps, atoms = (4000, 40, 100) if part.quick else (16000, 150, 196)
    patches = photo_patches(count, SIZE, generator=generator, eps=RIDGE)
    data, contrast = even(patches.value)
    data = data[(contrast > contrast.quantile(FLATTEST)).flatten()]
    held_out, data = data[: count // 40], data[count // 40 :]
    model = SparseCoding.from_data(data, atoms, SPARSITY, generator=generator)
    unlearned = SparseCoding(model.dictionary.clone(), SPARSITY)
    history = model.fit(data, steps=steps, batch_size=256, tol=0.01, generator=generator)
    if history.interrupted:
        raise KeyboardInterrupt
    z = codes(model, held_out, 1e-5)
    part.numbers |= {
        "patches": len(data),
        "atoms": atoms,
        "patch size": SIZE,
        "sparsity": SPARSITY,
        "steps": steps,
        "energy, first batch": float(history.column("energy")[0]),
        "energy, last 20 batches": float(history.column("energy")[-20:].mean()),
        "held-out energy": float(model(y=held_out, z=z).mean()),
        "held-out energy before learning": float(unlearned.infer(held_out).energy.mean()),
        "largest duality gap": float(model.duality_gap(held_out, z).max()),
        "active coefficients": active(z),
    }
    basis = Basis.of(data)
    show_filters(part, model.dictionary[z.square().mean(0).argsort(descending=True)], basis)
    show_code(part, model, held_out, z)
    show_curve(part, model, unlearned, basis, held_out)
    show_photos(part, model, basis, patches.whitening)


def even(y: Tensor) -> tuple[Tensor, Tensor]:
    """Patches of contrast one, (N, P), and the contrast that they had, (N, 1)."""
    contrast = y.norm(dim=1, keepdim=True).clamp(min=1e-6)
    return y / contrast, contrast


def codes(model: SparseCoding, y: Tensor, tol: float = 1e-3) -> Tensor:
    """The codes of patches, (B, K)."""
    return one_tensor(model.infer(y, tol=tol).value)


def active(z: Tensor) -> float:
    """How many coefficients of a code are not zero, on average."""
    return float((z != 0).to(z).sum(1).mean())


def refit(model: SparseCoding, y: Tensor, z: Tensor) -> Tensor:
    """The closest sums of the atoms that z uses, (B, P): the L1 term shrinks coefficients, this undoes it."""
    on = (z != 0).to(y)
    gram = model.dictionary @ model.dictionary.T
    matrix = gram * on[:, :, None] * on[:, None, :] + torch.diag_embed(1 - on + 1e-6 * on)
    return model.decode(torch.linalg.solve(matrix, (y @ model.dictionary.T) * on))


def show_filters(part: Part, atoms: Tensor, basis: Basis) -> None:
    """The dictionary beside the principal components."""
    side = int(len(atoms) ** 0.5)

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        filters(atoms[: side**2], left, columns=side, shared=False)
        left.set_title(f"{side**2} atoms learned by sparse coding")
        filters(basis.components[: (SIZE - 1) ** 2], right, columns=SIZE - 1, shared=False)
        right.set_title(f"the {(SIZE - 1) ** 2} leading principal components")

    caption = (
        "Left, the learned atoms, the most used first: edges, bars and gratings, each with its own place, "
        "direction and width, much as cells in the first visual area of the brain prefer (Olshausen and "
        "Field, 1996). Right, principal component analysis of the same patches: checkerboards that fill "
        "the patch and mean nothing."
    )
    alt = "Two mosaics of gray squares: localized, oriented edges on the left; global checkerboards right."
    part.add(draw, (10.4, 5.5), Picture("sparse-coding-filters.png", "The atoms", caption, alt))


def show_code(part: Part, model: SparseCoding, y: Tensor, z: Tensor) -> None:
    """A patch that few atoms explain well, as their sum."""
    error, count = (y - model.decode(z)).square().sum(1), (z != 0).sum(1)
    telling = (count >= 7) & (count <= 14) & (z.abs().amax(1) < 0.45)  # several atoms that matter, not one
    row = int((error + 10.0 * ~telling).argmin())
    code = z[row]
    strongest = code.abs().argsort(descending=True)[:6]

    def draw(figure: Figure) -> None:
        top, bottom = figure.subplots(2, 1, height_ratios=(1.0, 1.1))
        top.axis("off")
        pieces = [("patch", y[row]), ("sum of atoms", model.decode(z[row : row + 1])[0])]
        pieces += [(f"{float(code[k]):+.2f} ×", model.dictionary[k]) for k in strongest]
        for i, (title, value) in enumerate(pieces):
            axes = top.inset_axes((i / len(pieces), 0.0, 0.9 / len(pieces), 0.85))
            show_atom(axes, value)
            axes.set_title(title, fontsize=10.5, fontweight="normal", loc="center")
        place, height = np.arange(len(code)), code.numpy()
        bottom.vlines(place, 0, height, color=np.where(height > 0, BLUE, VERMILION).tolist())
        bottom.axhline(0, color=GRAY, linewidth=0.8)
        bottom.set(xlabel="atom", ylabel="coefficient", xlim=(-1, len(code)))
        bottom.set_title(f"its code: {int((code == 0).sum())} of {len(code)} coefficients are exactly zero")

    caption = (
        "A patch that was not used for learning, the sum that its code stands for, and the six atoms "
        "with the largest coefficients. Below, the whole code. The minimum of the energy lies where most "
        "coefficients are exactly zero, not merely small."
    )
    alt = "A patch, the sum of its atoms and six of them; below, a stem plot of a code that is mostly zero."
    part.add(draw, (10.4, 4.6), Picture("sparse-coding-code.png", "One patch and its code", caption, alt))


def show_curve(part: Part, model: SparseCoding, unlearned: SparseCoding, basis: Basis, y: Tensor) -> None:
    """The error of reconstruction against the number of active coefficients."""
    curves: dict[str, list[tuple[float, float]]] = {}

    def note(name: str, count: float, guess: Tensor) -> None:
        share = (y - guess).square().sum() / y.square().sum()
        curves.setdefault(name, []).append((count, float(share)))

    models = {"sparse coding": model, "sparse coding, atoms not learned": unlearned}
    for name, dictionary in ((name, each.dictionary) for name, each in models.items()):
        for sparsity in WALK:
            walker = SparseCoding(dictionary, sparsity)
            z = codes(walker, y)
            note(name, active(z), refit(walker, y, z))
    for count in (1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 28, 32):
        note("PCA, each patch's largest", count, basis.keep(y, count, best=True))
        note("PCA, the leading ones", count, basis.keep(y, count))
    part.numbers["unexplained share against active coefficients"] = curves

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        colors = (BLUE, GRAY, GREEN, ORANGE)
        for (name, points), color, mark in zip(curves.items(), colors, "osD^", strict=True):
            k, share = zip(*points, strict=True)
            axes.plot(k, share, marker=mark, markersize=5, color=color, label=name)
        axes.set(xlabel="active coefficients a patch, k", ylabel="share of the patch left unexplained")
        axes.set(xlim=(0, 33), ylim=(0, 0.9))
        axes.legend()

    caption = (
        "How much of held-out patches is left unexplained by k numbers. To make the energy's λ smaller "
        "is to walk along the blue curve. A dictionary fitted to photographs says more with a few "
        "coefficients than principal components do, even if each patch may pick its own best ones; with "
        "many coefficients, where nothing is sparse any more, the advantage is gone. The gray curve has "
        "random patches for atoms: what learning adds."
    )
    alt = "Falling curves of unexplained share against k; learned sparse coding is lowest for small k."
    part.add(draw, (8.0, 4.6), Picture("sparse-coding-error.png", "Few numbers go a long way", caption, alt))


def show_photos(part: Part, model: SparseCoding, basis: Basis, whitening: Whitening) -> None:
    """Two cut-outs rebuilt patch by patch."""
    walker = SparseCoding(model.dictionary, 0.2)
    rebuilt, counts = [], []
    for which, top, left in CROPS:
        crop = photos()[which][top : top + CROP, left : left + CROP]
        tiles = crop.unfold(0, SIZE, SIZE).unfold(1, SIZE, SIZE).reshape(-1, SIZE**2)
        brightness = tiles.mean(1, keepdim=True)
        y, contrast = even(whitening.apply(tiles - brightness))
        z = codes(walker, y)
        count = round(active(z))
        versions = [crop]
        for guess in (refit(walker, y, z), basis.keep(y, count)):
            pixels = (whitening.undo(guess * contrast) + brightness).view(-1, CROP // SIZE, SIZE, SIZE)
            versions.append(pixels.transpose(1, 2).reshape(CROP, CROP))
        rebuilt.append(versions)
        counts.append(count)
    errors = [[float((v - versions[0]).square().mean().sqrt()) for v in versions[1:]] for versions in rebuilt]
    part.numbers["cut-outs"] = [
        {"coefficients a patch": k, "rms error, sparse coding": a, "rms error, leading components": b}
        for k, (a, b) in zip(counts, errors, strict=True)
    ]

    def draw(figure: Figure) -> None:
        grid = figure.subplots(2, 3)
        for axes_row, versions, count, (sparse, linear) in zip(grid, rebuilt, counts, errors, strict=True):
            titles = (
                "photograph",
                f"{count} atoms a patch: error {100 * sparse:.1f} %",
                f"{count} components a patch: {100 * linear:.1f} %",
            )
            for axes, image, title in zip(axes_row, versions, titles, strict=True):
                show_image(axes, image)
                axes.set_title(title, fontsize=10.5)

    caption = (
        f"Cut-outs of both photographs, {CROP} × {CROP} pixels, rebuilt patch by patch: as sums of a few "
        "learned atoms each (middle), and from as many leading principal components (right). Errors are "
        "root mean squares, in percent of the range from black to white."
    )
    alt = "Photograph cut-outs, sharp in the sparse reconstruction and blocky from principal components."
    part.add(draw, (10.4, 7.2), Picture("sparse-coding-photos.png", "Rebuilt from few numbers", caption, alt))
