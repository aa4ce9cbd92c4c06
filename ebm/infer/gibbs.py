"""Gibbs sampling: every site in turn is drawn anew from its distribution given all others.

    y_i ~ p(y_i | y_{-i}) = softmax(-β E(y_i = ·, y_{-i})),        i = 1 ... D

It needs no gradient and rejects nothing: of a site all n values are looked at, in one batched call. A step
is a sweep over all sites. In order ("systematic"), it leaves p as it is; at random ("random": D times a site
drawn by chance) it is in detailed balance, too, and forgets a little more slowly.

Sites that do not interact given the others, such as the white fields of a chessboard for an Ising lattice,
can be drawn at once: as many batched calls as there are colors, in place of one a site.

Reference: Geman & Geman (1984), "Stochastic Relaxation, Gibbs Distributions, and the Bayesian Restoration of
Images", sect. IX; Liu (2001), "Monte Carlo Strategies in Scientific Computing", sect. 6.1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.infer.method import State, count
from ebm.infer.sampler import Info, Noise, Sampler
from ebm.infer.suits import inverse_temperature
from ebm.problem import Problem
from ebm.rows import flat

SCANS = ("systematic", "random")
TOLERANCE = 1e-3  # of energy differences, relative to the largest: tells an interaction from rounding


class Gibbs(Sampler):
    """Gibbs sampling of zeros and ones, or of Choices; one step is a sweep over all sites.

    The free variable is a floating point tensor of zeros and ones (B, *shape), or `Choices(start, n)`;
    several variables are swept in their order. A value whose energy is +inf is never taken; where one is NaN
    the step counts as non-finite, and the value is not taken either.

    Args:
        scan: "systematic", each site once, in order; or "random", D sites drawn with replacement.
        colors: int64, shaped like a row of the free variable (several: laid out flat, in their order): the
            color of each site, for a systematic scan. Sites of one color are drawn at once, which is right
            only if they do not interact given the others; that is tried out at the start.
        max_rows: evaluate at most about so many candidates at once.

    Raises:
        ValueError: for an unknown scan, or colors with a random one; when sampling, if the colors are shaped
            otherwise than a row, or two sites of one color interact.

    Example:
        >>> from ebm import Choices, energy, sample
        >>> @energy
        ... def rope(k):  # neighbors like to hold the same of three values
        ...     return (k[:, 1:] != k[:, :-1]).double().sum(1)
        >>> g, start = torch.Generator().manual_seed(0), Choices(torch.zeros(2000, 3, dtype=torch.long), n=3)
        >>> draws = sample(rope, start, Gibbs(), num_samples=1, burn_in=20, generator=g).value[0]
        >>> same = (draws[:, 1] == draws[:, 0]).double().mean()
        >>> bool((same - 1 / (1 + 2 * torch.tensor(-1.0).exp())).abs() < 0.04)
        True
    """

    one_test = False
    compiles = False  # the sites of a sweep come one after the other, too many to unroll
    binary = True
    discrete = True
    gradients = 0

    def __init__(self, scan: str = "systematic", colors: Tensor | None = None, max_rows: int = 2**14):
        if scan not in SCANS:
            raise ValueError(f"scan is one of {', '.join(SCANS)}; got {scan!r}.")
        if colors is not None and scan == "random":
            raise ValueError("colors are drawn in order; a random scan draws one site at a time, without.")
        if colors is not None and not isinstance(colors, Tensor):
            raise TypeError(f"colors are a tensor, one number a site; got {type(colors).__name__}.")
        self.scan, self.colors, self.max_rows = scan, colors, count("max_rows", max_rows)

    def init(self, problem: Problem, u: Tensor, beta: float | Tensor) -> State:
        value = problem.value(u)
        if self.colors is not None:
            self._check_colors(problem, u, value)
        return {"u": u, "value": value, "beta": inverse_temperature(problem, beta, value)}

    def noise(self, u: Tensor) -> Noise:
        """Uniform numbers, one for each site; and for a random scan one more, to choose it."""
        rows = flat(u)
        room = torch.empty_like(rows, dtype=u.dtype if u.is_floating_point() else torch.float64)
        return {"uniform": room} | ({"site": torch.empty_like(room)} if self.scan == "random" else {})

    def draw(self, noise: Noise, generator: torch.Generator | None) -> None:
        for room in noise.values():
            room.uniform_(generator=generator)

    @torch.no_grad()
    def step(self, problem: Problem, state: State, noise: Noise) -> tuple[State, Info]:
        u, uniform, start = state["u"], noise["uniform"], 0
        lost = torch.zeros(len(u), dtype=torch.bool, device=u.device)
        for sites in self._groups(u, noise):  # (B, m)
            here = uniform[:, start : start + sites.shape[1]] if "site" in noise else uniform.gather(1, sites)
            energies = self._energies(problem, u, sites)
            u, strange = _redraw(u, sites, energies, state["beta"], here)
            start, lost = start + sites.shape[1], lost | strange
        never = torch.zeros_like(lost)
        return {**state, "u": u, "value": problem.value(u)}, {
            "accepted": ~never,
            "divergent": never,
            "nonfinite": lost,
        }

    def _groups(self, u: Tensor, noise: Noise) -> list[Tensor]:
        """The sites to draw, one group after the other, each (B, m)."""
        total = flat(u).shape[1]
        if "site" in noise:
            return list((noise["site"] * total).long().clamp(max=total - 1).split(1, 1))
        every = torch.arange(total, device=u.device)
        if self.colors is None:
            return [site.expand(len(u), 1) for site in every.split(1)]
        colors = self.colors.to(u.device).flatten()
        return [every[colors == color].expand(len(u), -1) for color in colors.unique()]

    def _energies(self, problem: Problem, u: Tensor, sites: Tensor) -> Tensor:
        """E with each of the sites (B, m) at each of its values, all else as it is, (B, m, n)."""
        numbers = _numbers_of_values(problem, u)
        n, size = int(numbers.max()), flat(u).shape[1]
        parts = []
        for some in sites.split(max(1, self.max_rows // (len(u) * n)), 1):
            values = torch.arange(n, device=u.device).minimum(numbers[some].unsqueeze(2) - 1)  # (B, m, n)
            points = flat(u)[:, None, None].expand(*values.shape, size).clone()
            at = some[..., None, None].expand(*values.shape, 1)
            points.scatter_(3, at, values.to(u.dtype).unsqueeze(3))
            energies, _ = problem.candidates(points.view(len(u), -1, *u.shape[1:]))
            absent = torch.arange(n, device=u.device) >= numbers[some].unsqueeze(2)
            parts.append(energies.view_as(values).masked_fill(absent, torch.inf))
        return torch.cat(parts, 1)

    @torch.no_grad()
    def _check_colors(self, problem: Problem, u: Tensor, value: Tensor) -> None:
        """Where sites do not interact, to move all of a color costs what moving each alone costs, summed."""
        shape = u.shape[1:]
        if self.colors is None or self.colors.shape != shape:
            came = None if self.colors is None else tuple(self.colors.shape)
            raise ValueError(f"colors name one color a site, shape {tuple(shape)}; got {came}.")
        numbers = _numbers_of_values(problem, u)
        for number, sites in enumerate(self._groups(u, {})):
            other = (flat(u).gather(1, sites) + 1).remainder(numbers[sites]).to(u.dtype)
            energies = self._energies(problem, u, sites)
            alone = energies.gather(2, other.long().unsqueeze(2)).squeeze(2) - value.unsqueeze(1)  # (B, m)
            together = problem.value(flat(u).scatter(1, sites, other).view_as(u)) - value
            off = (together - alone.sum(1)).abs() > TOLERANCE * (1 + alone.abs().sum(1))
            if bool((off & alone.isfinite().all(1)).any()):
                raise ValueError(
                    f"sites of color {self.colors.unique()[number]} interact: to change all of them costs "
                    f"another energy than to change each alone, summed. Give interacting sites different "
                    f"colors, or leave `colors` out."
                )


def _numbers_of_values(problem: Problem, u: Tensor) -> Tensor:
    """How many values each site has, (D,): n of its Choices; 2 for zeros and ones."""
    sizes = [
        torch.full((shape.numel(),), problem.choices.get(name, 2)) for name, shape in problem.shapes.items()
    ]
    return torch.cat(sizes).to(u.device)


def _redraw(
    u: Tensor, sites: Tensor, energies: Tensor, beta: Tensor, uniform: Tensor
) -> tuple[Tensor, Tensor]:
    """Draw the sites (B, m) from softmax(-βE), E (B, m, n), by inverting the distribution function.

    Where no value has a finite energy the site stays. Also tells in which rows an energy was NaN or -inf.
    """
    strange = energies.isnan() | (energies == -torch.inf)
    minus = torch.where(strange, -torch.inf, -beta.view(-1, 1, 1) * energies)
    stuck = (minus == -torch.inf).all(2)
    upto = torch.softmax(minus, 2).cumsum(2)
    upto = upto / upto[..., -1:]  # so that rounding leaves no room above the last value that can be taken
    value = (uniform.unsqueeze(2) >= upto[..., :-1]).sum(2).to(u.dtype)
    value = torch.where(stuck, flat(u).gather(1, sites), value)
    return flat(u).scatter(1, sites, value).view_as(u), strange.flatten(1).any(1)
