"""The dictionary's half of convolutional dictionary learning: better atoms for codes that are held.

    argmin_d Σ_t ½ |y_t - Σ_k d_k * z_tk|²  with |d_k| = 1

At every pixel y is a linear function of the window of codes around it, y_p = Σ_k Σ_u d_k[u] z_k[p - u]: a
regression of pixels on windows, whose weights are the atoms. So the codes are needed no longer once

    A = Σ_p ζ_p ζ_pᵀ  (K·m, K·m),    B = Σ_p ζ_p y_pᵀ  (K·m, C),        ζ_p the window at p, K·m numbers

are known, with forgetting A ← ρ A + ..., ρ = (t / (t + 1))². Then one atom after the other, with the slope
g = A_k d - B_k and L the largest eigenvalue of A_kk:

    d_k ← (L d_k - g) / |L d_k - g|

which is the lowest point on the sphere of f(d_k) + ⟨g, ·⟩ + ½ L |·|², a bound on the error: no step raises
it. Where atoms have one pixel, L = A_kk, and it is the update of `ebm.regularized.dictionary_update`.

Memory: (K·m)² numbers; 32 atoms of 8x8 pixels make 4 million.

Reference: Mairal, Bach, Ponce & Sapiro (2009), "Online Dictionary Learning for Sparse Coding", alg. 2, whose
counterpart this is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.regularized.dictionary_update import FORGETTING, PATIENCE
from ebm.regularized.exact import check_data, home

BLOCK = 2**22  # numbers of windows at a time


class ConvolutionalStatistics:
    """What data y and their codes z have told about the atoms: A, B and how long each atom lay idle.

    Args:
        dictionary: d, (K, C, *window), atoms of length 1; for the shapes, dtype and device.
    """

    def __init__(self, dictionary: Tensor):
        atoms, channels, *window = dictionary.shape
        weights = dictionary[:, 0].numel()  # K·m
        self.window = tuple(window)
        self.code_products = dictionary.new_zeros(weights, weights)  # A
        self.data_products = dictionary.new_zeros(weights, channels)  # B
        self.idle = torch.zeros(atoms, dtype=torch.int64, device=dictionary.device)
        self.steps = 0

    def add(self, y: Tensor, z: Tensor, kept: float | None = None) -> None:
        """Take in data (B, C, *sides) and their codes (B, K, *sides + window - 1).

        Args:
            y: the data.
            z: the codes.
            kept: the share that is left of what came before; None: (t / (t + 1))².
        """
        kept = (self.steps / (self.steps + 1)) ** FORGETTING if kept is None else kept
        self.code_products.mul_(kept)
        self.data_products.mul_(kept)
        sides = tuple(range(2, y.ndim))
        back, pixels = z.flip(sides), y.flip(sides).movedim(1, -1)  # so windows run as the atoms do
        lines = max(1, BLOCK * y.shape[2] // max(1, len(self.code_products) * pixels[..., 0].numel()))
        for first in range(0, y.shape[2], lines):
            part = pixels[:, first : first + lines]
            rows = back[:, :, first : first + part.shape[1] + self.window[0] - 1]
            windows = sliding(rows, self.window).movedim(1, -len(self.window) - 1)  # (B, *sides, K, *window)
            zeta = windows.reshape(-1, len(self.code_products))  # (pixels, K·m)
            self.code_products.addmm_(zeta.T, zeta)
            self.data_products.addmm_(zeta.T, part.reshape(len(zeta), -1))
        used = z.transpose(0, 1).flatten(1).any(1)
        self.idle = torch.where(used, 0, self.idle + 1)
        self.steps += 1

    def improve(self, dictionary: Tensor, passes: int = 1) -> None:
        """Passes of block coordinate descent over the atoms that have been used, in place.

        Args:
            dictionary: d, (K, C, *window), atoms of length 1.
            passes: over all atoms.
        """
        atoms = dictionary.movedim(1, -1).flatten(1, -2).clone(memory_format=torch.contiguous_format)
        count, size, channels = atoms.shape  # K, m, C
        every = atoms.view(count * size, channels)
        products = self.code_products.view(count, size, count * size)
        data = self.data_products.view(count, size, channels)
        own = self.code_products.view(count, size, count, size).diagonal(dim1=0, dim2=2).movedim(-1, 0)
        steepest = torch.linalg.eigvalsh(own)[:, -1]
        used = (steepest > 0).nonzero().flatten().tolist()
        for _ in range(passes):
            for k in used:
                slope = torch.addmm(data[k], products[k], every, beta=-1)
                best = torch.addcmul(-slope, steepest[k], atoms[k])
                length = torch.linalg.vector_norm(best)
                atoms[k] = best / length.clamp(min=torch.finfo(best.dtype).tiny)
        dictionary.copy_(atoms.unflatten(1, self.window).movedim(-1, 1))

    def replace_idle(self, dictionary: Tensor, residual: Tensor) -> int:
        """Give idle atoms the windows of (B, C, *sides) that are explained worst, one of each row, in place.

        Returns:
            How many were replaced.
        """
        dead = (self.idle >= PATIENCE).nonzero().flatten()
        if not len(dead):
            return 0
        energy, place = window_energy(residual, self.window).flatten(1).max(1)
        worst = energy.argsort(descending=True)[: len(dead)]
        worst = worst[energy[worst] > 0]
        dead = dead[: len(worst)]
        dictionary[dead] = unit(windows_at(residual, self.window, worst, place[worst]))
        statistics = self.code_products.view(len(dictionary), -1, len(dictionary), self.window_size)
        statistics[dead] = 0
        statistics[:, :, dead] = 0
        self.data_products.view(len(dictionary), -1, residual.shape[1])[dead] = 0
        self.idle[dead] = 0
        return len(dead)

    @property
    def window_size(self) -> int:
        """m, the pixels of an atom."""
        return len(self.code_products) // len(self.idle)


def sliding(t: Tensor, window: tuple[int, ...]) -> Tensor:
    """All windows of the last dimensions, (B, C, *sides) -> (B, C, *places, *window), without a copy."""
    for dim, m in enumerate(window):
        t = t.unfold(2 + dim, m, 1)
    return t


def window_energy(y: Tensor, window: tuple[int, ...]) -> Tensor:
    """The sum of squares of every window, (B, C, *sides) -> (B, *places)."""
    squares = y.square().sum(1)
    for dim, m in enumerate(window):
        squares = squares.unfold(1 + dim, m, 1).sum(-1)
    return squares


def windows_at(y: Tensor, window: tuple[int, ...], rows: Tensor, place: Tensor) -> Tensor:
    """The windows of some rows (n,), each at the place (n,) that a flat index tells, (n, C, *window)."""
    views = sliding(y, window)
    places = views.shape[2 : 2 + len(window)]
    index: tuple[Tensor | slice, ...] = (rows, slice(None), *torch.unravel_index(place, places))
    return views[index]


def draw_windows(
    y: Tensor, window: tuple[int, ...], number: int, generator: torch.Generator | None = None
) -> Tensor:
    """Different windows, drawn in proportion to their sums of squares, (n, C, *window).

    Each comes in at a time that is exponential with its sum of squares as the rate; the first n are taken.

    Raises:
        ValueError: if there are fewer windows that aren't zero.
    """
    energy = window_energy(y, window)
    there = int((energy > 0).sum())
    if there < number:
        raise ValueError(f"{number} atoms need as many windows of data that aren't zero; there are {there}.")
    race = torch.empty(energy.shape, dtype=energy.dtype, device=home(generator))
    race.exponential_(generator=generator)
    first = (energy / race.to(y.device)).flatten().topk(number).indices
    places = energy[0].numel()
    return windows_at(y, window, first // places, first % places)


def check_windows(y: Tensor, window: tuple[int, ...]) -> Tensor:
    """Data (N, C, *sides), detached, after a check.

    Raises:
        TypeError: if they are no tensor of floating point numbers.
        ValueError: if they have no window of this size, or hold NaN or infinity (naming rows).
    """
    fits = isinstance(y, Tensor) and y.ndim == 2 + len(window) and len(y) > 0
    if not fits or any(m < 1 or n < m for n, m in zip(y.shape[2:], window, strict=True)):
        came = f"shape {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        raise ValueError(f"data are (N, C, *sides), no side smaller than the window's, {window}; got {came}.")
    check_data(y.flatten(1))
    return y.detach()


def unit(atoms: Tensor) -> Tensor:
    """Atoms brought to length 1, (K, C, *window)."""
    return atoms / torch.linalg.vector_norm(atoms.flatten(1), dim=1).view(-1, *(1,) * (atoms.ndim - 1))
