"""Adversarial losses: a network learns to make points of low energy, and the energy to push them up.

    θ of the energy     minimizes  L_E(θ) = ⟨what lowers E_θ on data and raises it on G(ε)⟩,   G held fixed
    φ of the network    minimizes  L_G(φ) = ⟨E(G_φ(ε))⟩,                                       E held fixed

The network takes the place of a sampler: it makes in one pass what a chain looks for in many steps, and has
to be learned. The two want opposite things of E(G(ε)), so no single function is minimized. One backward pass
still gives each its own gradient: with points v = G(ε) cut from the graph and their slope g = ∇_v ⟨E(v)⟩,

    L = L_E(θ; v) + ⟨g, G_φ(ε)⟩,        ∂L/∂θ = ∂L_E/∂θ,   ∂L/∂φ = g · ∂G/∂φ = ∂L_G/∂φ        exactly

and the energy is computed once at v for both. So the one loop `fit` trains both, by simultaneous descent. The
loss's value is L_E + L_G; that it falls means nothing, look at the samples.

Reference: Goodfellow et al. (2014), "Generative Adversarial Networks"; Kim & Bengio (2016), "Deep Directed
Generative Models with Energy-Based Probability Estimation".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ebm.contrastive.points import Points, on_and_off
from ebm.energy import Energy
from ebm.infer.method import count
from ebm.infer.starts import Start, begin
from ebm.loss import Loss, LossOutput

OF_ENERGY, OF_NETWORK = "energy's loss", "network's loss"


class Adversarial(Loss, ABC):
    """L_E and L_G in one; subclasses write L_E as `critic`, and may add to L_G in `maker`.

    The network's parameters are the loss's, so `fit` hands them to the optimizer with the energy's. For rates
    of their own pass an optimizer with two groups: `Adam([{"params": E.parameters()}, {"params":
    loss.parameters(), "lr": 1e-4}])`. A `clip` of the gradient is of both together.

    Args:
        network: G, from noise to points: (B, *noise) and what it reads -> (B, *shape).
        noise: draws ε, a start object: `Normal(8)`, `Uniform(2)`.
        variable: the variable of the energy that the network makes.
        reads: other variables that the network sees after the noise, for an energy of answers to x.
        every: the network learns at every so-many-th call in training mode, beginning with the last of the
            first so many; the energy at all. Micro-batches of `fit(accumulate=...)` are calls.

    Raises:
        TypeError: if the network is no module, the noise no start object, or `reads` one string; on a call,
            if a variable that the network reads is missing, or its precision is not the data's.
        ValueError: on a call, if the network makes points of another shape than the data.
    """

    calls: Tensor

    def __init__(
        self,
        network: nn.Module,
        noise: Start,
        *,
        variable: str = "y",
        reads: Sequence[str] = (),
        every: int = 1,
    ):
        super().__init__()
        if not isinstance(network, nn.Module) or not isinstance(noise, Start):
            raise TypeError(
                f"{self.label} takes a network from noise to points, and what draws the noise, Normal(8) for "
                f"instance; got {network!r} and {noise!r}."
            )
        if isinstance(reads, str):
            raise TypeError(f"reads is a list of names; got {reads!r}. Write reads=[{reads!r}].")
        self.network, self.noise, self.variable = network, noise, variable
        self.reads, self.every = tuple(reads), count("every", every)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    @abstractmethod
    def critic(
        self,
        points: Points,
        made: Tensor,
        on_data: Tensor,
        off_data: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """L_E, 0-dimensional.

        Args:
            points: the energy, and the data.
            made: v, points of the network, cut from its graph, (B, *shape).
            on_data, off_data: the energy of the data and of the made points, (B,) each.
            generator: source of all randomness.
        """

    def maker(self, made: Tensor, off_data: Tensor) -> Tensor:
        """L_G, 0-dimensional, as a function of the made points; their mean energy, to which one may add."""
        return off_data.mean()

    def make(
        self, like: Tensor, given: Mapping[str, Any] | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """G(ε), as many points as `like` has rows, in its dtype and place.

        Args:
            like: (B, ...).
            given: the variables that the network reads.
            generator: source of the noise.
        """
        missing = [name for name in self.reads if name not in (given or {})]
        if missing:
            raise TypeError(
                f"the network of {self.label} reads {', '.join(self.reads)}; {', '.join(missing)} is missing."
            )
        kind = next((p.dtype for p in self.network.parameters() if p.is_floating_point()), like.dtype)
        if kind != like.dtype:
            raise TypeError(
                f"the network of {self.label} is {kind}, and {self.variable!r} {like.dtype}; convert one: "
                f"loss.to({like.dtype})."
            )
        noise = begin(self.noise, like, given, generator)
        made: Tensor = self.network(noise, *((given or {})[name] for name in self.reads))
        return made

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        points = Points(self, energy, self.variable, data, generator)
        learns = self._turn()
        with torch.set_grad_enabled(learns and torch.is_grad_enabled()):
            made = self.make(points.y, data, generator)
        if made.shape != points.y.shape:
            raise ValueError(
                f"the network makes points of shape {tuple(made.shape)}, and {self.variable!r} is "
                f"{tuple(points.y.shape)}; give it as many outputs."
            )
        v = made.detach().requires_grad_(learns and made.requires_grad)
        on_data, off_data = points.energy(points.y), points.energy(v)
        critic = self.critic(points, v, on_data, off_data, generator)
        maker = self.maker(v, off_data)
        terms = {**on_and_off(on_data, off_data), OF_ENERGY: critic.detach(), OF_NETWORK: maker.detach()}
        loss = critic + maker.detach()
        if v.requires_grad:
            (slope,) = torch.autograd.grad(maker, v, retain_graph=True)
            pull = (slope * made).sum()
            loss = loss + pull - pull.detach()
        return LossOutput(loss, terms)

    def _turn(self) -> bool:
        """Whether the network learns at this call."""
        if not self.training:
            return True
        self.calls += 1
        return int(self.calls) % self.every == 0
