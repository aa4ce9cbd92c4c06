"""Block Gibbs sampling: all entries of a block at once, where they do not interact given the rest.

    E affine in the bits y_A of a block:    p(y_i = 1 | rest) = σ(-β ∂E/∂y_i),    i ∈ A, independent

A bit in which E is affine costs its slope, so one gradient gives the distribution of a whole block; an energy
that offers the slope in a variable in closed form (`value_and_grad`) is not differentiated. So it is
in a restricted Boltzmann machine, with the visible units and the hidden ones as blocks, in deep Boltzmann
machines, layer by layer, and on an Ising lattice, with the black and the white fields of a chessboard.

Reference: Hinton (2002), "Training Products of Experts by Minimizing Contrastive Divergence"; Jensen,
Kjærulff, Kong (1995), "Blocking Gibbs sampling in very large probabilistic expert systems".
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebm.infer.method import State
from ebm.infer.sampler import Info, Noise, Sampler
from ebm.infer.slope import slope_in
from ebm.infer.suits import inverse_temperature
from ebm.problem import Problem
from ebm.rows import dot, expand

Moved = tuple[Tensor, Tensor, Tensor]  # points, energies, which rows are lost

TOLERANCE = 1e-3  # of an energy difference, relative to its parts: tells curvature from rounding


class BlockGibbs(Sampler):
    """Block Gibbs sampling of zeros and ones; one step draws every block once, in order.

    Args:
        blocks: int64, shaped like a row of the free variable (several: laid out flat, in their order): the
            number of the block of each entry; None if each free variable is a block.

    Raises:
        ValueError: when sampling, if the blocks are shaped otherwise than a row, or the energy is not affine
            in the entries of a block, which is tried out at the start.

    Example:
        >>> from ebm import energy, sample
        >>> @energy
        ... def pair(y, z):  # two bits that like to differ
        ...     return 2.0 * (y * z).sum(1) - (y + z).sum(1)
        >>> g, zero = torch.Generator().manual_seed(0), torch.zeros(4000, 1)
        >>> draws = sample(pair, {"y": zero, "z": zero}, BlockGibbs(), num_samples=1, burn_in=20, generator=g)
        >>> y, z = draws.value["y"][0], draws.value["z"][0]
        >>> bool(((y != z).float().mean() - 2 * torch.e / (2 * torch.e + 2)).abs() < 0.03)
        True
    """

    one_test = False
    compiles = False
    binary = True
    gradients = 2  # one a block

    def __init__(self, blocks: Tensor | None = None):
        if blocks is not None and not isinstance(blocks, Tensor):
            raise TypeError(f"blocks are a tensor, one number an entry; got {type(blocks).__name__}.")
        self.blocks = blocks

    def init(self, problem: Problem, u: Tensor, beta: float | Tensor) -> State:
        if self.blocks is not None and self.blocks.shape != u.shape[1:]:
            raise ValueError(
                f"blocks name the block of each entry, shape {tuple(u.shape[1:])}; got "
                f"{tuple(self.blocks.shape)}."
            )
        for number, mask in enumerate(self._masks(problem, u)):
            value, gradient = problem.value_and_grad(u)
            change = torch.where(mask, 1 - 2 * u, 0.0)
            rise, predicted = problem.value(u + change) - value, dot(gradient, change)
            off = (rise - predicted).abs() > TOLERANCE * (1 + dot(gradient.abs(), change.abs()))
            if bool(off.any()):
                row = int(off.nonzero()[0])
                raise ValueError(
                    f"the energy is not affine in block {number}: in row {row}, to flip all of it costs "
                    f"{float(rise[row]):g}, where the slopes say {float(predicted[row]):g}. "
                    f"Entries of a block must not interact; split it (`blocks`), or take Gibbs()."
                )
        value = problem.value(u)
        return {"u": u, "value": value, "beta": inverse_temperature(problem, beta, value)}

    def noise(self, u: Tensor) -> Noise:
        """One uniform number for each entry."""
        return {"uniform": torch.empty_like(u)}

    def draw(self, noise: Noise, generator: torch.Generator | None) -> None:
        noise["uniform"].uniform_(generator=generator)

    def step(self, problem: Problem, state: State, noise: Noise) -> tuple[State, Info]:
        move = self._through_variables if self.blocks is None else self._through_blocks
        u, value, lost = move(problem, state, noise["uniform"])
        never = torch.zeros_like(lost)
        counts = {"accepted": ~never, "divergent": never, "nonfinite": lost}
        return {**state, "u": u, "value": value}, counts

    def _through_variables(self, problem: Problem, state: State, uniform: Tensor) -> Moved:
        """Each variable in turn, by its own slope alone."""
        values, uniforms = problem.unpack(state["u"]), problem.unpack(uniform)
        value, lost = state["value"], torch.zeros_like(state["value"], dtype=torch.bool)
        for name, old in values.items():
            value, gradient = slope_in(problem.bound, name, values)
            new, value, lost = _drawn(old, value, gradient, state["beta"], uniforms[name], lost)
            values = {**values, name: new}
        return problem.pack(values), value, lost

    def _through_blocks(self, problem: Problem, state: State, uniform: Tensor) -> Moved:
        """Each block in turn, by the slope of all."""
        u, value, lost = state["u"], state["value"], torch.zeros_like(state["value"], dtype=torch.bool)
        for mask in self._masks(problem, u):
            value, gradient = problem.value_and_grad(u)
            u, value, lost = _drawn(u, value, gradient, state["beta"], uniform, lost, mask)
        return u, value, lost

    def _masks(self, problem: Problem, u: Tensor) -> list[Tensor]:
        """For each block which entries are in it, shaped like a row."""
        blocks = self.blocks
        if blocks is None:
            sizes = [shape.numel() for shape in problem.shapes.values()]
            blocks = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)).view(u.shape[1:])
        blocks = blocks.to(u.device)
        return [blocks == number for number in blocks.unique()]


def _drawn(
    old: Tensor,
    value: Tensor,
    gradient: Tensor,
    beta: Tensor,
    uniform: Tensor,
    lost: Tensor,
    mask: Tensor | None = None,
) -> Moved:
    """Bits of a block given all others, and E afterwards; a row without a slope stays, and is lost."""
    steep = gradient * -(beta if beta.ndim == 0 else expand(beta, gradient))
    new = (uniform < torch.sigmoid(steep)).to(old.dtype)
    if mask is not None:
        new, gradient = torch.where(mask, new, old), torch.where(mask, gradient, 0.0)
    after = value + dot(gradient, new - old)  # for E is affine in what has changed
    if not math.isfinite(after.sum().item()):  # NaN and infinite slopes show in it, and it is a quick look
        bad = ~torch.isfinite(after)
        new, after, lost = torch.where(expand(bad, old), old, new), torch.where(bad, value, after), lost | bad
    return new, after, lost
