"""Gibbs with gradients: flip the site that the gradient says is worth it, and test.

    d_i = (2y_i - 1) ∂E/∂y_i                    about E(y) - E(y with bit i flipped), for all i at once
    q(i | y) = softmax(β d / 2)_i,              y' = y with bit i flipped
    accept with probability min(1, exp(βE(y) - βE(y')) q(i | y') / q(i | y))

One gradient takes the place of D energies. It is exact whatever the estimate is worth, for the test knows the
chance of the way back, from the gradient at y'. A site of K values in one-hot form is treated alike, with
d_ij = Σ_k y_ik g_ik - g_ij for a move of site i to its value j, g = ∂E/∂y.

Reference: Grathwohl, Swersky, Hashemi, Duvenaud, Maddison (2021), "Oops I Took A Gradient: Scalable Sampling
for Discrete Distributions", algorithm 1; the ½ makes it locally balanced: Zanella (2020), "Informed Proposals
for Local MCMC in Discrete Spaces".
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm.infer.method import State
from ebm.infer.sampler import Info, Noise, Sampler, metropolis
from ebm.infer.suits import inverse_temperature, refuse_other_than_one_hot
from ebm.problem import Problem
from ebm.rows import flat


class GibbsWithGradients(Sampler):
    """Metropolis moves of one site a step, proposed by the gradient; one gradient a step.

    The energy has to be a smooth function of real numbers, of which zeros and ones are the ones that count.
    A move flips one bit: where nearly every one is accepted, at a high temperature, chains begun at one point
    have all an even number of bits flipped after an even number of steps. Begin them apart (`Bits`), or keep
    draws of both kinds (an odd `thin`).

    Args:
        one_hot: whether the last axis of the free variable holds one-hot sites, (B, *sites, K); else every
            entry is a bit, (B, *shape).

    Raises:
        ValueError: when sampling, if the start is not of zeros and ones, or of one-hot sites.

    Example:
        >>> from ebm import energy, sample
        >>> @energy
        ... def field(y):  # independent bits, each 1 with probability σ(1)
        ...     return -y.sum(1)
        >>> g = torch.Generator().manual_seed(0)
        >>> method, start = GibbsWithGradients(), torch.zeros(2000, 4)
        >>> draws = sample(field, start, method, num_samples=1, burn_in=40, generator=g)
        >>> bool((draws.value.mean() - torch.tensor(1.0).sigmoid()).abs() < 0.02)
        True
    """

    binary = True

    def __init__(self, one_hot: bool = False):
        self.one_hot = one_hot

    def init(self, problem: Problem, u: Tensor, beta: float | Tensor) -> State:
        if self.one_hot:
            if len(problem.shapes) > 1:
                raise ValueError(
                    f"one-hot sites are those of a single free variable; got {', '.join(problem.shapes)}."
                )
            refuse_other_than_one_hot("GibbsWithGradients(one_hot=True)", next(iter(problem.shapes)), u)
        value, gradient = problem.value_and_grad(u)
        beta = inverse_temperature(problem, beta, value)
        return {"u": u, "value": value, "gradient": gradient, "beta": beta}

    def noise(self, u: Tensor) -> Noise:
        """Exponential for each entry, the first to ring is proposed; uniform for each row, for the test."""
        return {"exponential": torch.empty_like(flat(u)), "uniform": u.new_empty(len(u))}

    def draw(self, noise: Noise, generator: torch.Generator | None) -> None:
        noise["exponential"].exponential_(generator=generator)
        noise["uniform"].uniform_(generator=generator)

    def step(self, problem: Problem, state: State, noise: Noise) -> tuple[State, Info]:
        u, beta = state["u"], state["beta"]
        forward = self.log_proposal(u, state["gradient"], beta)
        chosen = (forward - noise["exponential"].log()).argmax(1, keepdim=True)  # (B, 1)
        moved, back = self.moved(u, chosen)
        value, gradient = problem.value_and_grad(moved)
        backward = self.log_proposal(moved, gradient, beta)
        before = beta * state["value"] - forward.gather(1, chosen).squeeze(1)
        after = beta * value - backward.gather(1, back).squeeze(1)
        proposal = {"u": moved, "value": value, "gradient": gradient}
        return metropolis(state, proposal, before, after, noise["uniform"])

    def log_proposal(self, u: Tensor, gradient: Tensor, beta: Tensor) -> Tensor:
        """log q of each move, (B, M): M = D flips, or the values of all sites; -inf for one that stays."""
        gradient = gradient.nan_to_num(0.0, 0.0, 0.0)  # any proposal is exact, and this one can leave
        fall = (u * gradient).sum(-1, keepdim=True) - gradient if self.one_hot else (2 * u - 1) * gradient
        logits = 0.5 * beta.view(-1, 1) * flat(fall)
        if self.one_hot:
            logits = logits.masked_fill(flat(u) == 1, -torch.inf)
        return torch.log_softmax(logits, 1)

    def moved(self, u: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """u after the moves `chosen` (B, 1), and the moves that lead back, (B, 1)."""
        rows = flat(u)
        if not self.one_hot:
            return rows.scatter(1, chosen, 1 - rows.gather(1, chosen)).view_as(u), chosen
        values = u.shape[-1]
        site = chosen - chosen % values + torch.arange(values, device=u.device)  # (B, K), its entries
        back = site.gather(1, rows.gather(1, site).argmax(1, keepdim=True))
        moved = rows.scatter(1, back, 0.0).scatter(1, chosen, 1.0)
        return moved.view_as(u), back
