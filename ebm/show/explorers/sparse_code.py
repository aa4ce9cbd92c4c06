"""Sparse code: a patch of a photograph, the few atoms that it is made of, and what they make of it.

    z* = argmin_z ½ |y - zD|² + λ |z|_1,        y = x / |x|,  x the patch without its mean
    rebuilt from k atoms:  ŷ = Σ_j z*_j D_j over the k largest |z*_j|,   error = |y - ŷ|²

Contrast is divided out, so that λ means the same everywhere; the rebuilt patch gets it back, and its mean.
The dictionary is learned from patches of both photographs: a little before the first picture, more with every
`tick` (codes of a batch, then the best atoms for all codes so far).

Reference: Olshausen & Field (1996), "Emergence of simple-cell receptive field properties by learning a sparse
code for natural images"; Mairal et al. (2009) for the learning.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Generator, Tensor

from ebm.data import photo_patches, photos
from ebm.regularized import SparseCoding
from ebm.regularized.dictionary_update import DictionaryStatistics
from ebm.show.explorers.controls import Button, Choice, Control, Slider
from ebm.show.explorers.scene import Bars, Extent, Gray, Handle, Layer, Line, Panel, Scene, array
from ebm.show.explorers.state import State, Value
from ebm.show.style import BLUE, ORANGE, VERMILION
from ebm.solution import one_tensor

PHOTOS = "temple", "flower"
SIZE, ATOMS, PATCHES = 10, 100, 4000  # px of a side; of the dictionary; to learn from
FLATTEST = 0.2  # share of the patches that is not learned from: sky and blur
BATCH, FIRST, LAST, TOLERANCE = 64, 8, 400, 0.1  # rows of a step; steps before the first picture, in all
CROP = 160  # px, the side of the part of a photograph that is shown
CORNERS = {"temple": (150, 240), "flower": (130, 230)}  # its first row and column
PRECISE = 1e-4  # of the code that is shown
LIGHT, SHOWN = "#C8C8C8", 12  # of what is left out; coefficients that have a bar


class SparseCodeExplorer(State):
    """Click a patch and see its code and atoms; slide how many of them rebuild it, and what a code costs.

    Args:
        photo: "temple" or "flower".
        sparsity: λ in [0.02, 1].
        atoms: k in [0, 30], by how many the patch is rebuilt.
        seed: of the patches and of the learning.

    Raises:
        ValueError: for an unknown photograph, or a number that is out of range.

    Example:
        >>> explorer = SparseCodeExplorer(sparsity=0.1, atoms=8)
        >>> explorer.click("Photo", 60.5, 100.5)
        >>> explorer.probe()["error"] < 1
        True
    """

    title = "Sparse code"
    handles = ("patch",)

    def __init__(self, photo: str = "temple", sparsity: float = 0.1, atoms: int = 8, seed: int = 0):
        self.photo, self.sparsity, self.atoms = photo, sparsity, atoms
        self.place = (72, 116)  # of the patch's middle: column from the left, row from below
        self.controls()  # raises where one of them is not allowed
        self.seed = seed
        self.pictures = dict(zip(PHOTOS, photos(), strict=True))
        drawn = photo_patches(PATCHES, SIZE, generator=Generator().manual_seed(seed), whiten=False)
        length = torch.linalg.vector_norm(drawn.value, dim=1)
        self.data = (drawn.value / length.unsqueeze(1))[length > length.quantile(FLATTEST)]
        self.restart()

    def controls(self) -> tuple[Control, ...]:
        return (
            Choice("photo", "photograph", PHOTOS, self.photo),
            Slider("sparsity", "price of code λ", 0.02, 1.0, self.sparsity, log=True),
            Slider("atoms", "rebuild from k atoms", 0.0, 30.0, float(self.atoms), step=1.0),
            Button("restart", "Forget the atoms"),
        )

    def _set(self, name: str, value: Value) -> None:
        setattr(self, name, int(value) if name == "atoms" else value)
        self._encode()

    def _press(self, name: str) -> None:
        self.restart()

    def _drag(self, name: str, x: float, y: float) -> None:
        half = SIZE // 2
        column, row = (min(max(int(v), half), CROP - half) for v in (x, y))
        self.place = (column, row)
        self._encode()

    def _click(self, panel: str, x: float, y: float) -> None:
        self._drag("patch", x, y)

    def restart(self) -> None:
        """Back to atoms that are patches drawn at random, and a few steps of learning."""
        self.generator = Generator().manual_seed(self.seed)
        self.dictionary = SparseCoding.from_data(self.data, ATOMS, generator=self.generator).dictionary
        self.statistics, self.steps = DictionaryStatistics(self.dictionary), 0
        for _ in range(FIRST):
            self._learn()
        self._encode()

    def tick(self) -> bool:
        """One step of learning, at the price λ of now; False after 400."""
        if self.steps < LAST:
            self._learn()
            self._encode(self.z)  # the atoms have changed a little, and so has the code
        return self.steps < LAST

    @property
    def model(self) -> SparseCoding:
        """The energy, at the price λ of now, with the atoms as they are."""
        return SparseCoding(self.dictionary, self.sparsity)

    @torch.no_grad()
    def _learn(self) -> None:
        """Codes of a batch, then better atoms: a step of `SparseCoding.fit`, whose statistics are kept."""
        rows = torch.randint(len(self.data), (BATCH,), generator=self.generator)
        codes = self.model.infer(self.data[rows], tol=TOLERANCE)
        self.statistics.add(self.data[rows], one_tensor(codes.value))
        self.statistics.improve(self.dictionary)
        self.statistics.replace_idle(self.dictionary, self.data[rows], codes.energy)
        self.steps += 1

    def crop(self) -> Tensor:
        """The part of the photograph that is shown, (160, 160), the first row on top."""
        top, left = CORNERS[self.photo]
        return self.pictures[self.photo][top : top + CROP, left : left + CROP]

    @torch.no_grad()
    def _encode(self, start: Tensor | None = None) -> None:
        """The patch, its code (searched from `start`), and what k of its atoms make of it."""
        left, top = self.place[0] - SIZE // 2, CROP - self.place[1] - SIZE // 2
        self.patch = self.crop()[top : top + SIZE, left : left + SIZE].reshape(1, -1)
        bright = self.patch.mean(1, keepdim=True)
        contrast = torch.linalg.vector_norm(self.patch - bright, dim=1, keepdim=True).clamp(min=1e-6)
        self.y = (self.patch - bright) / contrast
        self.solution = self.model.infer(self.y, start, tol=PRECISE)
        self.z = one_tensor(self.solution.value)
        self.order = self.z[0].abs().argsort(descending=True, stable=True)
        self.kept = torch.zeros_like(self.z)
        self.kept[0, self.order[: self.atoms]] = self.z[0, self.order[: self.atoms]]
        self.made = self.model.decode(self.kept)
        self.rebuilt = contrast * self.made + bright

    def probe(self) -> dict[str, float]:
        return {
            "x": float(self.place[0]),
            "y": float(self.place[1]),
            "energy": float(self.solution.energy),
            "active": float(self.z.count_nonzero()),
            "l1": float(self.z.abs().sum()),
            "error": float((self.y - self.made).square().sum()),
            "error of all": float((self.y - self.model.decode(self.z)).square().sum()),
            "pixel error": float((self.patch - self.rebuilt).square().mean().sqrt()),
            "duality gap": float(self.model.duality_gap(self.y, self.z)),
            "steps": float(self.steps),
        }

    def scene(self) -> Scene:
        found = self.probe()
        used = min(self.atoms, int(found["active"]))
        text = (
            f"The patch takes {found['active']:.0f} of {ATOMS} atoms. From the strongest {used} it is "
            f"rebuilt with an error of {100 * found['error']:.0f} %; from all of its code with "
            f"{100 * found['error of all']:.0f} %. The atoms have learned for {self.steps} steps."
        )
        return Scene((self._photo(), self._pair(), self._code(), self._dictionary()), text)

    def _photo(self) -> Panel:
        extent: Extent = (0.0, CROP, 0.0, CROP)
        x, y = self.place
        frame = _frame(x - SIZE / 2, y - SIZE / 2, SIZE)
        layers = (Gray(array(self.crop())), Line(frame, ORANGE), Handle("patch", x, y, "patch", ORANGE))
        return Panel("Photo", "", "", extent, layers, clickable=True)

    def _pair(self) -> Panel:
        """The patch, and what is rebuilt of it."""
        both = [array(picture.view(SIZE, SIZE)) for picture in (self.patch, self.rebuilt)]
        low, high = float(both[0].min()), float(both[0].max())
        shown = [np.clip((each - low) / max(high - low, 1e-6), 0, 1) for each in both]
        layers = Gray(shown[0], (0.0, 1.0, 0.0, 1.0)), Gray(shown[1], (1.1, 2.1, 0.0, 1.0))
        return Panel("Patch, and rebuilt", "", "", (0.0, 2.1, 0.0, 1.0), layers)

    def _code(self) -> Panel:
        """The largest coefficients as bars, with their atoms below."""
        values = array(self.z[0, self.order[:SHOWN]])
        top = max(0.3, 1.1 * float(np.abs(values).max()))
        low = -0.3 * top
        atoms = array(self.dictionary[self.order[:SHOWN]]).reshape(-1, SIZE, SIZE)
        tiles = [
            Gray(_gray(atom * np.sign(value)), (i - 0.45, i + 0.45, 0.9 * low, 0.1 * low))
            for i, (atom, value) in enumerate(zip(atoms, values, strict=True))
            if value
        ]
        bars = np.abs(values) * (np.arange(SHOWN) < self.atoms)
        rest = np.abs(values) - bars
        ranks = tuple(str(i + 1) for i in range(SHOWN))
        extent = (-0.6, SHOWN - 0.4, low, top)
        layers: tuple[Layer, ...] = (Bars(bars, BLUE, ranks), Bars(rest, LIGHT), *tiles)
        return Panel("Code, and its atoms", "rank of the coefficient", "|z|", extent, layers, equal=False)

    def _dictionary(self) -> Panel:
        """All atoms, those that are used framed."""
        side = round(ATOMS**0.5)
        pad = np.ones((side * (SIZE + 1) + 1,) * 2)
        for j, atom in enumerate(array(self.dictionary).reshape(-1, SIZE, SIZE)):
            row, column = (1 + (SIZE + 1) * k for k in divmod(j, side))
            pad[row : row + SIZE, column : column + SIZE] = _gray(atom)
        used = set(self.order[: self.atoms].tolist()) & set(self.z[0].nonzero().flatten().tolist())
        frames = [_frame(j % side, side - 1 - j // side, 1.0) for j in sorted(used)]
        gap = np.full((1, 2), np.nan)
        line = np.concatenate([part for frame in frames for part in (frame, gap)] or [gap])
        extent = (0.0, side, 0.0, side)
        return Panel("Dictionary", "", "", extent, (Gray(pad), Line(line, VERMILION, "used")))


def _gray(atom: np.ndarray) -> np.ndarray:
    """An atom as grays, 0 in the middle."""
    return 0.5 + 0.5 * atom / max(float(np.abs(atom).max()), 1e-12)


def _frame(x: float, y: float, side: float) -> np.ndarray:
    """A square from its lower left corner, as a closed line, (5, 2)."""
    return np.array([[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]], dtype=float)
