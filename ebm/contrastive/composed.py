"""Energies composed: models that were learned apart, sampled together, without any training.

    and    E_1 + E_2                       p ∝ p_1 p_2        a product of experts
    or     -log Σ_k w_k e^{-E_k}           p ∝ Σ_k w_k' p_k   a mixture: a soft minimum
    not    E_1 - α E_2                     p ∝ p_1 / p_2^α    where E_1 still confines
    more   β E                             p ∝ p_1^β          tempered: sharper for β > 1

Sums, differences and multiples are what energies do anyway; the mixture is here. It adds unnormalized
densities: part k has the share w_k Z_k / Z of its samples, and Z = Σ_k w_k Z_k. Energies that were learned
without their Z have offsets that mean nothing, and so has the share then; w_k is what sets it.

Reference: Hinton (2002), "Training Products of Experts by Minimizing Contrastive Divergence"; Du, Li,
Mordatch (2020), "Compositional Visual Generation with Energy Based Models" (and, or, not).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ebm.binder import Binder
from ebm.bound import Bound
from ebm.energy import Energy


class MixtureOfEnergies(Energy):
    """E = -(1/β) log Σ_k w_k exp(-β E_k): low wherever one of the parts is low.

    It lies between min_k E_k and min_k E_k - (1/β) log K, for w_k = 1, and becomes the minimum as β → ∞. Its
    variables are those of all parts.

    Args:
        energies: E_k, one at least.
        weights: w_k > 0, (K,), one number for each; 1/K if None. They needn't add up to 1.
        beta: β > 0, the inverse temperature at which the densities are added.

    Raises:
        TypeError: if a part is no energy.
        ValueError: if there is none, or the weights or β are not positive.

    Example:
        >>> from ebm.targets import Gaussian
        >>> left, right = Gaussian(torch.tensor([-3.0])), Gaussian(torch.tensor([3.0]))
        >>> E = MixtureOfEnergies([left, right], weights=[1.0, 1.0])
        >>> E(y=torch.tensor([[0.0]]))  # 3²/2 - log 2
        tensor([3.8069])
    """

    log_weights: Tensor

    def __init__(
        self, energies: Sequence[Energy], weights: Sequence[float] | Tensor | None = None, beta: float = 1.0
    ):
        super().__init__()
        if isinstance(energies, Energy):
            raise TypeError("a mixture of energies takes a list of them, MixtureOfEnergies([E_1, E_2]).")
        strange = [part for part in energies if not isinstance(part, Energy)]
        if strange:
            raise TypeError(f"a mixture of energies has energies for parts; got {strange[0]!r}.")
        if not len(energies):
            raise ValueError("a mixture needs at least one energy.")
        if not 0 < beta < float("inf"):
            raise ValueError(
                f"beta is an inverse temperature, positive and finite; got {beta}. For the minimum itself "
                f"make k a latent variable: min_over."
            )
        count = len(energies)
        w = torch.full((count,), 1 / count) if weights is None else torch.as_tensor(weights)
        if w.shape != (count,) or not bool(((w > 0) & (w < torch.inf)).all()):
            raise ValueError(f"a mixture needs one positive weight for each of {count} parts; got {weights}.")
        self.parts, self.beta = nn.ModuleList(energies), float(beta)
        self.register_buffer("log_weights", w.detach().double().log())
        self.variables = tuple(dict.fromkeys(v for part in energies for v in part.variables))
        self.options = tuple(dict.fromkeys(o for part in energies for o in part.options))

    def prepare(self, binder: Binder, given: Mapping[str, Any]) -> dict[str, Any]:
        """Bind every part, so that what it computes of given variables is computed once."""
        like = (
            {}
            if binder.batch is None
            else {"rows": torch.empty(binder.batch, 0, dtype=binder.dtype, device=binder.device)}
        )
        bounds = []
        for part in self.energies():
            known = {n: v for n, v in given.items() if n in part.variables or n in part.options}
            bounds.append(part.bind(known, binder.generator, like))
        return {"_bounds": tuple(bounds)}

    def forward(self, *, _bounds: tuple[Bound, ...], **variables: Any) -> Tensor:
        values = [bound(**{name: variables[name] for name in bound.variables}) for bound in _bounds]
        energies = torch.stack(values, 1)  # (B, K)
        log_weights = self.log_weights.to(energies)
        return torch.logsumexp(log_weights - self.beta * energies, 1) / -self.beta

    def responsibilities(self, **variables: Any) -> Tensor:
        """p(k | variables) ∝ w_k exp(-β E_k), (B, K): which part a point is of."""
        energies = torch.stack([p(**{n: variables[n] for n in p.variables}) for p in self.energies()], 1)
        return torch.softmax(self.log_weights.to(energies) - self.beta * energies, 1)

    def energies(self) -> list[Energy]:
        """The parts E_k."""
        return [part for part in self.parts if isinstance(part, Energy)]
