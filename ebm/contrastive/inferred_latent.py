"""What stands beside the data where an energy has latent variables: z⁺, sampled or found by minimizing.

    z⁺ ~ p(z | y) ∝ exp(-βE(y, z))        the likelihood of y:  ∇⟨-log p(y)⟩ = β (⟨∇E(y⁺, z⁺)⟩ - ⟨∇E⟩_model)
    z⁺ = argmin_z E(y, z)                 its limit where the posterior is narrow

The first is a short chain, the second a solve; both see the energy in evaluation mode and leave no trace in
the graph. The second takes one point for the whole posterior: the width that it leaves out is learned too
small by the model (for a linear decoder, noise that is too small).

Reference: the difference of the two means is that of the Boltzmann machine with hidden units, Ackley, Hinton
& Sejnowski (1985), "A Learning Algorithm for Boltzmann Machines".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ebm.energy import Energy
from ebm.infer.method import Method, count
from ebm.infer.minimize import minimize
from ebm.infer.sample import sample
from ebm.infer.sampler import Sampler
from ebm.infer.starts import Start
from ebm.parts import constant


class InferredLatent(nn.Module, ABC):
    """How z⁺ is found for given data; the subclasses sample it or minimize over it.

    Args:
        starts: where inference begins, an object of `ebm.infer.starts` for each latent variable by name,
            `{"z": Normal(3)}`; a `Network` is amortized inference.

    Raises:
        TypeError: if there is none, or one is no start object.
    """

    def __init__(self, starts: Mapping[str, Start]):
        super().__init__()
        known = isinstance(starts, Mapping) and all(isinstance(s, Start) for s in starts.values())
        if not known or not starts:
            raise TypeError(
                f"starts tells where each latent variable begins, {{'z': Normal(3)}}; got {starts!r}."
            )
        self.starts = nn.ModuleDict(dict(starts))

    @property
    def names(self) -> tuple[str, ...]:
        """The latent variables."""
        return tuple(self.starts)

    def infer(
        self, energy: Energy, data: Mapping[str, Any], beta: float, generator: torch.Generator | None
    ) -> dict[str, Tensor]:
        """z⁺ by name, (B, *shape) each, detached.

        Args:
            energy: an energy of the latent variables and of the data.
            data: all other variables, B rows first.
            beta: the inverse temperature of the model.
            generator: source of all randomness.

        Raises:
            TypeError: if the energy has no such variable, or the data tells it.
        """
        for name in self.names:
            if name not in energy.variables or name in data:
                why = "comes with the data" if name in data else f"is no variable of {energy.label}"
                raise TypeError(
                    f"{name!r} is to be inferred as a latent variable, and it {why}; leave it out."
                )
        with constant(energy):
            return self.find(energy, data, beta, generator)

    @abstractmethod
    def find(
        self, energy: Energy, data: Mapping[str, Any], beta: float, generator: torch.Generator | None
    ) -> dict[str, Tensor]:
        """What `infer` returns, by the method of the subclass."""

    def over(self) -> dict[str, Start]:
        """The free variables of the inference."""
        return {name: start for name, start in self.starts.items() if isinstance(start, Start)}


class SampledLatent(InferredLatent):
    """z⁺ ~ p(z | y): where k steps of a sampler lead from a start.

    Args:
        starts: as in `InferredLatent`.
        sampler: how to move; one with a test (MALA, HMC) has no bias of its own.
        steps: k >= 1, enough to forget the start.

    Raises:
        TypeError: if the sampler is none.
        ValueError: if there is no step.

    Example:
        >>> from ebm import energy
        >>> from ebm.infer import HMC
        >>> from ebm.infer.starts import Zeros
        >>> @energy
        ... def spring(y, z):
        ...     return ((y - z) ** 2 + z**2).sum(1)  # p(z | y) = N(y/2, 1/4)
        >>> g, y = torch.Generator().manual_seed(0), torch.full((4000, 1), 2.0)
        >>> z = SampledLatent({"z": Zeros(1)}, HMC(0.4, 3), 10).infer(spring, {"y": y}, 1.0, g)["z"]
        >>> bool((z.mean() - 1).abs() < 0.04), bool((z.var() - 0.25).abs() < 0.03)
        (True, True)
    """

    def __init__(self, starts: Mapping[str, Start], sampler: Sampler, steps: int = 20):
        super().__init__(starts)
        if not isinstance(sampler, Sampler):
            raise TypeError(f"sampler is one of ebm.infer, HMC(0.1, 5) for instance; got {sampler!r}.")
        self.sampler, self.steps = sampler, count("steps", steps)

    def find(
        self, energy: Energy, data: Mapping[str, Any], beta: float, generator: torch.Generator | None
    ) -> dict[str, Tensor]:
        draws = sample(
            energy,
            self.over(),
            self.sampler,
            given=data,
            num_samples=1,
            thin=self.steps,
            beta=beta,
            generator=generator,
        ).value
        return {name: value[0] for name, value in _by_name(draws, self.names).items()}


class MinimizedLatent(InferredLatent):
    """z⁺ = argmin_z E(y, z), found from a start.

    Args:
        starts: as in `InferredLatent`.
        method: how to minimize, `LBFGS()` for instance.
        max_steps, tol: as in `minimize`.

    Raises:
        TypeError: if the method is none.

    Example:
        >>> from ebm import energy
        >>> from ebm.infer import LBFGS
        >>> from ebm.infer.starts import Zeros
        >>> @energy
        ... def spring(y, z):
        ...     return ((y - z) ** 2 + z**2).sum(1)
        >>> MinimizedLatent({"z": Zeros(1)}, LBFGS()).infer(spring, {"y": torch.tensor([[2.0]])}, 1.0, None)
        {'z': tensor([[1.]])}
    """

    def __init__(
        self, starts: Mapping[str, Start], method: Method, *, max_steps: int = 200, tol: float = 1e-4
    ):
        super().__init__(starts)
        if not isinstance(method, Method):
            raise TypeError(f"method is a minimizer of ebm.infer, LBFGS() for instance; got {method!r}.")
        self.method, self.max_steps, self.tol = method, count("max_steps", max_steps), float(tol)

    def find(
        self, energy: Energy, data: Mapping[str, Any], beta: float, generator: torch.Generator | None
    ) -> dict[str, Tensor]:
        found = minimize(
            energy,
            self.over(),
            self.method,
            given=data,
            max_steps=self.max_steps,
            tol=self.tol,
            generator=generator,
        ).value
        return _by_name(found, self.names)


def _by_name(value: Any, names: tuple[str, ...]) -> dict[str, Tensor]:
    return value if isinstance(value, dict) else {names[0]: value}
