"""The nearest Gabor against planted ones, least squares, random search; noise, gratings, photo atoms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from ebm.data import photo_patches
from ebm.measure import gabor_fit
from ebm.measure.gabor_misfit import GaborMisfit
from ebm.regularized import PCA, SparseCoding

DOUBLE = torch.float64


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def uniform(n: int, low: float, high: float, g: Generator) -> Tensor:
    return low + (high - low) * torch.rand(n, generator=g, dtype=DOUBLE)


def apart(a: Tensor, b: Tensor) -> Tensor:
    """The angle between two directions of waves."""
    d = (a - b).remainder(math.pi)
    return torch.minimum(d, math.pi - d)


def planted(n: int, height: int, width: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Gabors of every phase and size, on backgrounds of their own."""
    g = seeded()
    shape = {
        "center": torch.stack([uniform(n, 2, width - 3, g), uniform(n, 2, height - 3, g)], 1),
        "orientation": uniform(n, 0, math.pi, g),
        "frequency": uniform(n, 0.1, 0.35, g),
        "widths": torch.stack([uniform(n, 1.2, 3, g), uniform(n, 1.2, 3, g)], 1),
    }
    misfit = GaborMisfit(height, width).double()
    cos, sin = misfit.waves(misfit.numbers(**shape))
    phase = uniform(n, 0, 2 * math.pi, g).unsqueeze(1)
    scale, offset = uniform(n, 0.1, 10, g).unsqueeze(1), uniform(n, -3, 3, g).unsqueeze(1)
    return scale * (phase.cos() * cos + phase.sin() * sin) + offset, shape


@pytest.mark.parametrize(("height", "width"), [(12, 12), (10, 14)])
def test_planted_gabors_are_found(height: int, width: int) -> None:
    atoms, shape = planted(20, height, width)
    fit = gabor_fit(atoms, (height, width))
    assert fit.converged.all() and float(fit.correlation.min()) > 1 - 1e-7
    torch.testing.assert_close(fit.picture.flatten(1), atoms, rtol=0, atol=1e-3)
    assert float(apart(fit.orientation, shape["orientation"]).max()) < 1e-4
    assert bool((fit.orientation >= 0).all() and (fit.orientation < math.pi).all())
    for name in ("center", "frequency", "widths"):
        torch.testing.assert_close(getattr(fit, name), shape[name], rtol=1e-3, atol=1e-3)


def test_the_energy_is_the_share_that_least_squares_leave() -> None:
    g, misfit = seeded(), GaborMisfit(7, 9).double()
    y, z = (torch.randn(5, n, generator=g, dtype=DOUBLE) for n in (63, 6))
    energies = misfit(y=y + 4, z=z)
    for atom, energy, *waves in zip(y, energies, *misfit.waves(z), strict=True):
        matrix = np.stack([np.ones(63), *(w.numpy() for w in waves)], 1)
        left = atom.numpy() - matrix @ np.linalg.lstsq(matrix, atom.numpy(), rcond=None)[0]
        assert float(energy) == pytest.approx(float(left @ left) / float(atom.var() * 62), rel=1e-9)
    torch.testing.assert_close(misfit.numbers(*misfit.shape(z)), z)


def test_no_random_gabor_fits_better() -> None:
    """A random search of 100,000 shapes, each with its best waves, beside Gabors as strong as their noise."""
    g, misfit = seeded(1), GaborMisfit(8, 8).double()
    atoms = torch.nn.functional.normalize(planted(20, 8, 8)[0] - planted(20, 8, 8)[0].mean(1, keepdim=True))
    atoms = atoms + torch.randn(20, 64, generator=g, dtype=DOUBLE) / 8
    found = 1 - gabor_fit(atoms, (8, 8)).correlation.square()
    best = torch.ones(20, dtype=DOUBLE)
    for _ in range(10):
        z = 2 * torch.randn(10_000, 6, generator=g, dtype=DOUBLE)
        first, second = (w - w.mean(1, keepdim=True) for w in misfit.waves(z))
        gram = torch.stack([(first**2).sum(1), (first * second).sum(1), (second**2).sum(1)])
        a, b = (w @ (atoms - atoms.mean(1, keepdim=True)).T for w in (first, second))
        cc, cs, ss = gram.unsqueeze(2)
        share = (ss * a**2 - 2 * cs * a * b + cc * b**2) / (cc * ss - cs**2).clamp_min(1e-12)
        best = torch.minimum(best, 1 - share.amax(0) / (63 * atoms.var(1)))
    assert float((found - best).max()) < 1e-3 and float((found - best).mean()) < -0.01


def test_white_noise_fits_badly_and_its_scale_does_not_matter() -> None:
    noise = torch.randn(60, 144, generator=seeded(2), dtype=DOUBLE)
    fit = gabor_fit(noise, (12, 12))
    again = gabor_fit((50 * noise[:20] - 7).view(20, 12, 12), (12, 12))
    torch.testing.assert_close(again.correlation, fit.correlation[:20], rtol=0, atol=1e-5)
    # a Gabor has 8 numbers of the 143 that are free: more than the 8/143 of a linear map, as it may choose
    assert math.sqrt(8 / 143) < float(fit.correlation.median()) < 0.4 and float(fit.correlation.max()) < 0.55


def test_gratings_fill_the_patch_and_blobs_have_no_direction() -> None:
    down, right = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    grating = torch.cos(2 * math.pi * (0.11 * right + 0.07 * down))
    blob = torch.exp(-((right - 11) ** 2 + (down - 12) ** 2) / (2 * 2.5**2))
    along, across, f = 2.1, 0.9, 1 / 6  # f is one of the waves that are shown
    gabor = torch.exp(-0.5 * ((right - 12) ** 2 / along**2 + (down - 11) ** 2 / across**2))
    gabor = gabor * torch.cos(2 * math.pi * f * (right - 12))
    fit = gabor_fit(torch.stack([grating, blob, gabor]).double(), (24, 24))
    assert fit.localized.tolist() == [False, True, True] and fit.oriented.tolist() == [True, False, True]
    assert float(fit.correlation[0]) > 0.999 and float(fit.area[0]) == 1
    assert float(fit.frequency[0]) == pytest.approx(math.hypot(0.11, 0.07), abs=1e-3)
    assert float(apart(fit.orientation[0], torch.tensor(math.atan2(7, 11)))) < 1e-2
    assert float(fit.correlation[1]) > 0.99 and float(fit.crossed[1]) > 0.9
    # the transform of the bell, at ±f along the wave (of which one answers) and f across (where both do)
    expected = 2 * math.exp(-2 * (math.pi * f) ** 2 * (along**2 + across**2))
    assert float(fit.crossed[2]) == pytest.approx(expected, abs=0.01)
    half = 2 * math.log(2) * math.pi * along * across  # of an ellipse
    assert float(fit.area[2]) == pytest.approx(half / 24**2, abs=3 / 24**2)


def test_atoms_of_photographs_are_gabors() -> None:
    """Far above white noise, and above what the same waves give at random phases, by many standard errors."""
    g, side, atoms = seeded(), 10, 49
    y = photo_patches(6000, side, generator=g, eps=1.0).value.float()
    y = y / torch.linalg.vector_norm(y, dim=1, keepdim=True)
    model = SparseCoding.from_data(y, atoms, 0.1, generator=g)
    model.fit(y, steps=30, generator=g, progress=False)
    waves = torch.fft.rfft2(model.dictionary.view(-1, side, side))
    noise = torch.randn(atoms, side, side, generator=g)
    phases = torch.fft.rfft2(noise)
    drawn = torch.fft.irfft2(waves.abs() * phases / phases.abs(), s=(side, side))
    learned, shifted, white, principal = (
        gabor_fit(each, (side, side))
        for each in (model.dictionary, drawn, noise, PCA.from_data(y, atoms).components)
    )

    def middle(r: Tensor) -> tuple[float, float]:
        """The median, and its standard error were r normal."""
        return float(r.median()), math.sqrt(math.pi / 2 / len(r)) * float(r.std())

    (found, error), (null, spread) = middle(learned.correlation), middle(shifted.correlation)
    assert found - null > 4 * math.hypot(error, spread)
    assert found > float(white.correlation.mean() + 8 * white.correlation.std())
    assert float(learned.localized.double().mean()) > 0.7 > 0.55 > float(principal.localized.double().mean())
    assert float(learned.oriented.double().mean()) > 0.8


@pytest.mark.parametrize(
    ("atoms", "settings", "message"),
    [
        (torch.randn(3, 10), {}, r"\(A, 12\) or \(A, 3, 4\); got \(3, 10\)"),
        (torch.randn(0, 12), {}, "at least one picture"),
        (torch.ones(2, 12), {}, r"atoms \[0, 1\] are constant"),
        (torch.tensor([[math.nan] * 12]), {}, r"atoms \[0\] are constant, or hold NaN"),
        (torch.ones(2, 12, dtype=torch.int64), {}, "floating-point pictures"),
        (torch.randn(2, 12), {"starts": 41}, "1 to 40 cells"),
        (torch.randn(2, 12), {"starts": 0}, "starts"),
    ],
)
def test_bad_input_is_told(atoms: Tensor, settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gabor_fit(atoms, (3, 4), **settings)
