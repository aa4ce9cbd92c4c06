"""A hidden Markov model: what is hidden hops between K values, and what is seen depends on where it is.

    E(y, z) = -log π(z_0) - Σ_t log A(z_t, z_{t+1}) + Σ_t e(y_t, z_t) = -log p(y, z)

An energy that is paid along a chain. Its minimum over the K^T ways is Viterbi's algorithm, which is dynamic
programming; with sums in place of minima the same recursion gives

    F(y) = -log Σ_z exp(-E(y, z)) = -log p(y),        p(z_t = k | y) = ∂F / ∂e(y_t, k)

Reference: Viterbi (1967), "Error bounds for convolutional codes"; Rabiner (1989), "A Tutorial on Hidden
Markov Models", sect. III.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ebm.choices import Choices
from ebm.energy import Energy
from ebm.infer.dynamic_programming import DynamicProgramming
from ebm.infer.minimize import minimize
from ebm.regularized.checks import check_choice, check_parameters
from ebm.solution import Solution
from ebm.staged import Staged


class HiddenMarkov(Staged):
    """E(y, z) = -log p(y, z) for sequences y (B, T, *shape) and hidden values z (B, T) int64.

    Probabilities are given by logits, of which softmax makes π and the rows of A; -inf forbids. A tensor is
    kept as a buffer, a parameter as a parameter: `fit(model.free_energy, AverageEnergy(), {"y": y})` learns
    them all.

    Args:
        start: logits of π, (K,).
        transition: logits of A, (K, K), from the row's value to the column's.
        emission: a module from y (B, T, *shape) to e(y_t, k), (B, T, K): `GaussianEmission`,
            `CategoricalEmission`, or a network.

    Raises:
        ValueError: if the shapes don't fit, or (on a call) the emission returns another one.

    Example:
        >>> stays = torch.tensor([[3.0, 0.0], [0.0, 3.0]])
        >>> model = HiddenMarkov(torch.zeros(2), stays, GaussianEmission(torch.tensor([[0.0], [2.0]])))
        >>> model.infer(torch.tensor([[[0.1], [1.1], [0.3], [2.2], [1.9]]])).value
        tensor([[0, 0, 0, 1, 1]])
    """

    start_logits: Tensor
    transition_logits: Tensor

    def __init__(self, start: Tensor, transition: Tensor, emission: nn.Module):
        states = len(start) if start.ndim == 1 else 0
        if states < 1 or transition.shape != (states, states):
            raise ValueError(
                f"start is (K,), transition (K, K); got {tuple(start.shape)} and {tuple(transition.shape)}."
            )
        for name, logits in (("start", start), ("transition", transition)):
            if not logits.is_floating_point() or not bool((logits.detach() < torch.inf).all()):
                raise ValueError(
                    f"{name} holds logits: floating point numbers, or -inf; got NaN, inf or others."
                )
        super().__init__("z", num_keys=states)
        for name, value in (("start_logits", start), ("transition_logits", transition)):
            if isinstance(value, nn.Parameter):
                self.register_parameter(name, value)
            else:
                self.register_buffer(name, value.clone())
        self.emission, self.states = emission, states

    def start(self, y: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        costs = self.costs(y)
        before = torch.full((len(y),), -1, dtype=torch.int64, device=y.device)
        return {"z": before, "costs": costs}

    def forward(self, **variables: Tensor) -> Tensor:
        y, z = variables["y"], variables["z"]
        if z.shape != y.shape[:2]:
            raise ValueError(f"z is {tuple(y.shape[:2])} beside such y; got shape {tuple(z.shape)}.")
        return super().forward(**variables)

    def check_choices(self, choices: Tensor) -> None:
        super().check_choices(choices)
        check_choice(choices.flatten(), self.states, "hidden values")

    def stage(self, state: dict[str, Tensor], choice: Tensor, t: int) -> tuple[Tensor, dict[str, Tensor]]:
        cost = state["costs"][:, t].gather(1, choice.unsqueeze(1)).squeeze(1)
        first, move = self._logs()
        hop = move[state["z"], choice] if t else first[choice]
        return cost - hop, {**state, "z": choice}

    def final(self, state: dict[str, Tensor]) -> Tensor:
        return torch.zeros_like(state["costs"][:, 0, 0])

    def key(self, state: dict[str, Tensor]) -> Tensor:
        """The value where it is: all that the future depends on."""
        return state["z"]

    def costs(self, y: Tensor) -> Tensor:
        """e(y_t, k), (B, T, K)."""
        costs: Tensor = self.emission(y)
        if y.ndim < 2 or not y.shape[1] or costs.shape != (*y.shape[:2], self.states):
            raise ValueError(
                f"y is (B, T, *shape), T at least 1, of which the emission makes e(y_t, k), "
                f"{(*y.shape[:2], self.states)}; got {tuple(costs.shape)} of {tuple(y.shape)}."
            )
        return costs

    def infer(self, y: Tensor) -> Solution:
        """z* = argmin_z E(y, z), (B, T): the likeliest way as a whole, by dynamic programming."""
        begin = Choices(torch.zeros(y.shape[:2], dtype=torch.int64, device=y.device), n=self.states)
        return minimize(self, begin, DynamicProgramming(), given={"y": y})

    @property
    def free_energy(self) -> Energy:
        """F(y) = -log p(y), an energy of y."""
        return ForwardAlgorithm(self)

    def posterior(self, y: Tensor) -> Tensor:
        """p(z_t = k | y), (B, T, K): how F answers to each emission."""
        with torch.enable_grad():
            costs = self.costs(y).detach().requires_grad_()
            (found,) = torch.autograd.grad(self.summed(costs).sum(), costs)
        return found

    def summed(self, costs: Tensor) -> Tensor:
        """-log Σ_z exp(-E), (B,), for emissions (B, T, K)."""
        first, move = self._logs()
        reached = first - costs[:, 0]
        for cost in costs[:, 1:].unbind(1):
            reached = (reached.unsqueeze(2) + move).logsumexp(1) - cost
        return -reached.logsumexp(1)

    def _logs(self) -> tuple[Tensor, Tensor]:
        return self.start_logits.log_softmax(0), self.transition_logits.log_softmax(1)


class ForwardAlgorithm(Energy):
    """F(y) = -log p(y) of a `HiddenMarkov`."""

    def __init__(self, model: HiddenMarkov):
        super().__init__()
        self.model = model

    def forward(self, y: Tensor) -> Tensor:
        return self.model.summed(self.model.costs(y))


class GaussianEmission(nn.Module):
    """e(y, k) = ½ Σ_p ((y_p - μ_kp) / σ_kp)² + log σ_kp + ½ log 2π.

    Args:
        mean: μ, (K, P).
        std: σ > 0, one number or (K, P).

    Example:
        >>> GaussianEmission(torch.tensor([[0.0], [2.0]]))(torch.zeros(1, 1, 1)).detach().round(decimals=3)
        tensor([[[0.9190, 2.9190]]])
    """

    def __init__(self, mean: Tensor, std: float | Tensor = 1.0):
        super().__init__()
        check_parameters(mean=mean)
        scale = torch.as_tensor(std, dtype=mean.dtype, device=mean.device)
        if mean.ndim != 2 or scale.shape not in ((), mean.shape) or not bool((scale > 0).all()):
            raise ValueError(
                f"mean is (K, P) and std positive, one number or (K, P); got {tuple(mean.shape)} and {std}."
            )
        scale = scale.expand_as(mean)
        self.mean, self.log_std = nn.Parameter(mean.clone()), nn.Parameter(scale.log())

    def forward(self, y: Tensor) -> Tensor:
        if y.ndim != 3 or y.shape[2] != self.mean.shape[1]:
            raise ValueError(f"y is (B, T, {self.mean.shape[1]}); got shape {tuple(y.shape)}.")
        off = (y.unsqueeze(2) - self.mean) / self.log_std.exp()
        return (0.5 * off.square() + self.log_std + 0.5 * math.log(2 * math.pi)).sum(3)


class CategoricalEmission(nn.Module):
    """e(y, k) = -log p(y | k) for words y (B, T) int64 out of V.

    Args:
        logits: (K, V), of which softmax makes the rows of p.

    Example:
        >>> CategoricalEmission(torch.zeros(2, 4))(torch.tensor([[3]])).shape
        torch.Size([1, 1, 2])
    """

    def __init__(self, logits: Tensor):
        super().__init__()
        if logits.ndim != 2 or not logits.numel():
            raise ValueError(f"logits are (K, V), K and V at least 1; got shape {tuple(logits.shape)}.")
        self.logits = nn.Parameter(logits.clone())

    def forward(self, y: Tensor) -> Tensor:
        if y.ndim != 2 or y.dtype != torch.int64:
            raise ValueError(f"y is (B, T) int64, words; got shape {tuple(y.shape)} of {y.dtype}.")
        check_choice(y.flatten(), self.logits.shape[1], "words")
        return -self.logits.log_softmax(1).T[y]
