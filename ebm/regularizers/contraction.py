"""Contraction: what a code costs that moves when y does.

    E(y) = |J|²,        J = ∂f/∂y for a map f, |J|² the sum of all its squared entries (Frobenius)

Added to a reconstruction it makes every direction of y cost something, so that f follows those alone that the
data ask for. Three ways to find it:

    in closed form  where f offers `squared_jacobian(y)`, as one layer h = sigmoid(W y + b) does
    exact           Σ_j |∂f_j/∂y|², K backward passes for a code of K numbers
    estimated       ⟨|vᵀJ|²⟩ for random signs v, ⟨v vᵀ⟩ = I: one backward pass a probe

Reference: Rifai, Vincent, Muller, Glorot & Bengio (2011), "Contractive Auto-Encoders: Explicit Invariance
During Feature Extraction", sect. 2-3; Hutchinson (1990), the estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ebm.binder import Binder
from ebm.regularizers.regularizer import Regularizer


@runtime_checkable
class KnowsItsJacobian(Protocol):
    """A map f that offers |∂f/∂y|² in closed form."""

    def squared_jacobian(self, y: Tensor) -> Tensor:
        """|∂f/∂y|², (B, *shape) -> (B,)."""


def squared_jacobian(f: Callable[[Tensor], Tensor], y: Tensor, probes: Tensor | None = None) -> Tensor:
    """|∂f/∂y|², (B,), or an estimate from random signs; rows of f must not see one another.

    Args:
        f: a map (B, *shape) -> (B, *code), K numbers a row.
        y: (B, *shape).
        probes: v, (B, n, K), n probes a row, for (1/n) Σ |vᵀ ∂f/∂y|²; None for the exact norm, in K passes.

    Returns:
        (B,), with its own derivatives where gradients are enabled.

    Raises:
        ValueError: if the probes aren't (B, n, K).

    Example:
        >>> squared_jacobian(lambda y: y * torch.tensor([3.0, 4.0]), torch.zeros(2, 2)).detach()
        tensor([25., 25.])
    """
    differentiable = torch.is_grad_enabled()
    with torch.enable_grad():
        u = y if y.requires_grad else y.detach().requires_grad_()
        code = f(u).flatten(1)  # (B, K)
        if probes is not None and (probes.ndim != 3 or probes.shape[::2] != code.shape):
            raise ValueError(
                f"probes are ({code.shape[0]}, n, {code.shape[1]}), a sign for each number of the code; got "
                f"shape {tuple(probes.shape)}. The `size` of a Contraction is the numbers in a code."
            )
        total = y.new_zeros(len(y))
        if not code.requires_grad:
            return total
        numbers = code if probes is None else (probes * code.unsqueeze(1)).sum(2)
        for number in numbers.unbind(1):
            (row,) = torch.autograd.grad(
                number.sum(), u, create_graph=differentiable, retain_graph=True, materialize_grads=True
            )
            total = total + row.flatten(1).square().sum(1)
    total = total if probes is None else total / probes.shape[1]
    return total if differentiable else total.detach()


class Contraction(Regularizer):
    """The squared norm of a map's Jacobian, E(y) = |∂f/∂y|².

    Args:
        encoder: f, a module (B, *shape) -> (B, *code), smooth; where it offers `squared_jacobian(y)` that is
            taken, in training too.
        variable: the name of what f reads.
        probes: how many random signs estimate |J|² in training mode, drawn once a bind; None: exact. In
            evaluation mode it is exact.
        size: numbers in a code; needed with probes.

    Raises:
        ValueError: if a count isn't positive, or probes come without a size.

    Example:
        >>> Contraction(nn.Identity(), "y")(y=torch.ones(2, 5)).detach()
        tensor([5., 5.])
    """

    def __init__(
        self, encoder: nn.Module, variable: str, *, probes: int | None = None, size: int | None = None
    ):
        super().__init__(variable)
        for name, value in (("probes", probes), ("size", size)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise ValueError(f"{name} must be an integer of at least 1, or None; got {value!r}.")
        if probes is not None and size is None:
            raise ValueError("probes need the size of what they probe: the numbers in a code, or in y.")
        self.encoder, self.probes, self.size = encoder, probes, size

    def prepare(self, binder: Binder, given: Mapping[str, Any]) -> dict[str, Any]:
        """Draw signs, (B, probes, size), if training and asked to."""
        known = isinstance(self.encoder, KnowsItsJacobian)
        if self.probes is None or self.size is None or not self.training or known:
            return {}
        shape = (binder.need_batch(self.label), self.probes, self.size)
        coins = torch.rand(shape, generator=binder.generator, dtype=binder.dtype, device=binder.device)
        return {"signs": 1.0 - 2.0 * (coins < 0.5).to(coins.dtype)}

    def forward(self, signs: Tensor | None = None, **variables: Tensor) -> Tensor:
        v = variables[self.variables[0]]
        return self.cost(v) if signs is None else squared_jacobian(self.encoder, v, signs)

    def cost(self, v: Tensor) -> Tensor:
        """|∂f/∂y|², (B, *shape) -> (B,), exact."""
        if isinstance(self.encoder, KnowsItsJacobian):
            return self.encoder.squared_jacobian(v)
        return squared_jacobian(self.encoder, v)
