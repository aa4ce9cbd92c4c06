"""Are the atoms of a dictionary Gabor functions? The best one for each, and how well it fits.

    z* = argmin_z E(y, z),    E(y, z) = 1 - corr²,    z the place, direction, frequency and widths of a Gabor

E is `ebm.measure.gabor_misfit`, where amplitude and phase are found in closed form; LBFGS seeks the other six
numbers, from the best cells of a coarse grid. Any picture has a nearest Gabor, so compare: white noise of
12 x 12 pixels has a median correlation of 0.37 with its own.

A Gabor is localized if its bell is at least half as high as at its center in less than half of the picture,
and oriented if a wave at right angles to the best one gets less than half of its answer.

Reference: Jones & Palmer (1987), "An evaluation of the two-dimensional Gabor filter model of simple receptive
fields in cat striate cortex", for the fit; Ringach, Shapley & Hawken (2002), "Orientation selectivity in
macaque V1: diversity and laminar dependence", for the answer to waves at right angles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ebm.infer.lbfgs import LBFGS
from ebm.infer.method import count
from ebm.infer.minimize import minimize
from ebm.measure.gabor_misfit import GaborMisfit, orthonormal
from ebm.measure.spectrum import double
from ebm.solution import one_tensor

ANGLES, WAVES, SIZES, PLACES = 8, 5, 3, 6  # the coarse grid of starts: sizes each way, places along a side
BLOCK = 256  # atoms that are compared with the grid at once
DIRECTIONS, FREQUENCIES = 36, 24  # of the waves that are shown to a Gabor


@dataclass(frozen=True)
class GaborFit:
    """The Gabor that fits each of A atoms best; pixels are counted to the right and down, from 0.

    Attributes:
        correlation: of the atom with its Gabor, in [0, 1], (A,).
        center: (right, down), in pixels, (A, 2).
        orientation: θ, the direction in which the wave runs, from right towards down, in [0, π), (A,).
        frequency: f, in cycles a pixel, (A,).
        widths: σ_u and σ_v, of the bell along the wave and across, in pixels, (A, 2).
        area: the share of the picture where the bell has at least half of its height, (A,).
        crossed: the Gabor's answer to a wave at right angles to the one it answers most, as a share, (A,).
        picture: the Gabors, brought to the atoms' mean and size, (A, height, width).
        converged: whether the search from the best start came to its end, (A,) bool.
    """

    correlation: Tensor
    center: Tensor
    orientation: Tensor
    frequency: Tensor
    widths: Tensor
    area: Tensor
    crossed: Tensor
    picture: Tensor
    converged: Tensor

    @property
    def localized(self) -> Tensor:
        """Whether the bell covers less than half of the picture, (A,) bool."""
        return self.area < 0.5

    @property
    def oriented(self) -> Tensor:
        """Whether a wave at right angles gets less than half of the answer, (A,) bool."""
        return self.crossed < 0.5

    def numbers(self) -> dict[str, float]:
        """What there is to say of all atoms, as JSON can hold it."""
        return {
            "atoms": len(self.correlation),
            "median correlation": float(self.correlation.median()),
            "localized": float(self.localized.double().mean()),
            "oriented": float(self.oriented.double().mean()),
        }

    def __str__(self) -> str:
        atoms, median, localized, oriented = self.numbers().values()
        found = f"{localized:.0%} localized, {oriented:.0%} oriented"
        return f"{atoms} atoms: median correlation with a Gabor {median:.2f}; {found}"


@torch.no_grad()
def gabor_fit(
    atoms: Tensor, shape: tuple[int, int], *, starts: int = 4, max_steps: int = 300, tol: float = 1e-5
) -> GaborFit:
    """Find the Gabor function that is most correlated with each atom.

    Args:
        atoms: one a row, (A, height · width) or (A, height, width).
        shape: (height, width), at least 2 each.
        starts: from how many cells (direction and frequency) of the coarse grid to search, 1 to 40; the best
            counts.
        max_steps, tol: of LBFGS, as in `minimize`.

    Returns:
        A `GaborFit`, found in float64 and given in the atoms' dtype.

    Raises:
        ValueError: if the shapes disagree, an atom is constant, or one holds NaN or infinity (naming it).

    Reference: Jones & Palmer (1987).

    Example:
        >>> misfit = GaborMisfit(12, 12)
        >>> z = misfit.numbers(torch.tensor([[4.0, 7.0]]), torch.tensor([1.0]), torch.tensor([0.15]),
        ...     torch.tensor([[2.0, 3.0]]))
        >>> fit = gabor_fit(misfit.waves(z)[0], (12, 12))
        >>> [round(float(found), 2) for found in (fit.correlation, fit.orientation, fit.frequency)]
        [1.0, 1.0, 0.15]
        >>> print(fit)
        1 atoms: median correlation with a Gabor 1.00; 100% localized, 100% oriented
    """
    y = _checked(atoms, shape)
    if count("starts", starts) > ANGLES * WAVES:
        raise ValueError(f"starts are 1 to {ANGLES * WAVES} cells of the grid; got {starts}.")
    misfit = GaborMisfit(*shape).to(y)
    begin = torch.cat([_best_of_grid(misfit, block, starts) for block in y.split(BLOCK)])  # (A, K, 6)
    given = {"y": y.repeat_interleave(starts, 0)}
    found = minimize(misfit, begin.flatten(0, 1), LBFGS(), given=given, max_steps=max_steps, tol=tol)
    best = found.energy.view(-1, starts).argmin(1) + starts * torch.arange(len(y), device=y.device)
    z = one_tensor(found.value)[best]
    center, orientation, frequency, widths = misfit.shape(z)
    first, second = orthonormal(*misfit.waves(z))
    picture = (y * first).sum(1, keepdim=True) * first + (y * second).sum(1, keepdim=True) * second
    results = (
        (1 - found.energy[best]).clamp(0, 1).sqrt(),
        center,
        orientation.remainder(math.pi),
        frequency,
        widths,
        (misfit.envelope(z)[0] >= 0.5).to(y).mean(1),
        _crossed(picture, misfit),
        (y.mean(1, keepdim=True) + picture).unflatten(1, shape),
        found.converged[best],
    )
    return GaborFit(*(r.to(atoms) if r.is_floating_point() else r.to(atoms.device) for r in results))


def _best_of_grid(misfit: GaborMisfit, y: Tensor, starts: int) -> Tensor:
    """The K directions and frequencies whose best place and size fit each atom best, as numbers (A, K, 6)."""
    side = max(misfit.height, misfit.width)
    angles = y.new_tensor(range(ANGLES)) * (math.pi / ANGLES)
    waves = y.new_tensor([(1 / side) * (0.45 * side) ** (i / (WAVES - 1)) for i in range(WAVES)])
    sizes = y.new_tensor([0.75 * (side / 1.5) ** (i / (SIZES - 1)) for i in range(SIZES)])  # to half a side
    right, down = (
        torch.linspace(0, n - 1, min(n, PLACES), dtype=y.dtype, device=y.device)
        for n in (misfit.width, misfit.height)
    )
    every = torch.cartesian_prod(angles, waves, sizes, sizes, right, down)
    z = misfit.numbers(every[:, 4:], every[:, 0], every[:, 1], every[:, 2:4])
    first, second = orthonormal(*misfit.waves(z))
    share = (y @ first.T).square() + (y @ second.T).square()  # the waves have no mean: y may keep its own
    best = share.unflatten(1, (ANGLES * WAVES, -1)).max(2)  # of each cell, (A, cells)
    cells = best.values.topk(starts, 1).indices
    return z[cells * (len(z) // (ANGLES * WAVES)) + best.indices.gather(1, cells)]


def _crossed(picture: Tensor, misfit: GaborMisfit) -> Tensor:
    """|ĝ| at right angles to the frequency and direction where it is greatest, as a share of that, (A,)."""
    angles = picture.new_tensor(range(DIRECTIONS)) * (math.pi / DIRECTIONS)
    frequencies = picture.new_tensor(range(1, FREQUENCIES + 1)) * (0.5 / FREQUENCIES)
    along = torch.stack([angles.cos(), angles.sin()], 1) @ misfit.places.T  # (directions, P)
    phase = 2 * math.pi * frequencies.view(-1, 1, 1) * along  # (frequencies, directions, P)
    cos, sin = (picture @ wave.flatten(0, 1).T for wave in (phase.cos(), phase.sin()))
    answer = (cos.square() + sin.square()).sqrt()  # (A, frequencies · directions)
    most, where = answer.max(1)
    across = where - where % DIRECTIONS + (where + DIRECTIONS // 2) % DIRECTIONS
    return answer.gather(1, across.unsqueeze(1)).squeeze(1) / most


def _checked(atoms: Tensor, shape: tuple[int, int]) -> Tensor:
    if len(shape) != 2 or min(shape) < 2 or not atoms.is_floating_point():
        raise ValueError(f"atoms are floating-point pictures of at least 2 x 2; got {atoms.dtype}, {shape}.")
    if tuple(atoms.shape[1:]) not in (tuple(shape), (math.prod(shape),)) or not len(atoms):
        raise ValueError(
            f"at least one picture of {shape[0]} x {shape[1]} is needed, (A, {math.prod(shape)}) or "
            f"(A, {shape[0]}, {shape[1]}); got {tuple(atoms.shape)}."
        )
    y = double(atoms.detach()).flatten(1)
    bad = (~y.isfinite()).any(1) | (y == y[:, :1]).all(1)
    if bool(bad.any()):
        rows = bad.nonzero().flatten().tolist()
        raise ValueError(f"atoms {rows[:5]} are constant, or hold NaN or infinity: they have no shape.")
    return y
