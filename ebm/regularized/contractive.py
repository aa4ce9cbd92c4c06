"""The contractive auto-encoder: a code that hardly moves when y does, but where the data asks for it.

    E(y) = |y - g(f(y))|² + λ |J|²,        J = ∂f/∂y (the code), or ∂(g∘f)/∂y (the reconstruction)

|J|² is the sum of all squared entries (Frobenius). To reconstruct, the code has to tell neighboring data
apart; for all other directions it pays. So it is only along the data that E stays low.

    exact           Σ_j |∂f_j/∂y|², K backward passes for a code of K numbers
    SigmoidEncoder  Σ_j (h_j (1 - h_j))² |W_j|², in closed form for one layer h = sigmoid(W y + b)
    estimated       ⟨|vᵀJ|²⟩ for random signs v, ⟨v vᵀ⟩ = I: one backward pass a probe

An f made small and a g made large pay less for the same reconstruction: tie their weights, or charge for the
reconstruction's J, which is what denoising with little noise does: on y = g(f(y)), for r = g∘f,

    ⟨|y - r(y + σε)|²⟩ = σ² |∂r/∂y|² + O(σ⁴);    elsewhere  |y - r|² + σ² (|∂r/∂y|² - ⟨y - r, Δr⟩) + O(σ⁴)

Reference: Rifai, Vincent, Muller, Glorot & Bengio (2011), "Contractive Auto-Encoders: Explicit Invariance
During Feature Extraction", sect. 2-3; Alain & Bengio (2014), "What Regularized Auto-Encoders Learn from the
Data-Generating Distribution", sect. 3 (denoising); Hutchinson (1990), the estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ebm.binder import Binder
from ebm.energy import Energy
from ebm.infer.method import count, positive
from ebm.nets.layers import linear


def squared_jacobian(f: Callable[[Tensor], Tensor], y: Tensor, probes: Tensor | None = None) -> Tensor:
    """|∂f/∂y|², (B,), or an estimate from random signs; rows of f must not see one another.

    Args:
        f: a map (B, *shape) -> (B, *code), K numbers a row.
        y: (B, *shape).
        probes: v, (B, n, K), n probes a row, for (1/n) Σ |vᵀ ∂f/∂y|²; None for the exact norm, in K passes.

    Returns:
        (B,), with its own derivatives where gradients are enabled.

    Example:
        >>> squared_jacobian(lambda y: y * torch.tensor([3.0, 4.0]), torch.zeros(2, 2)).detach()
        tensor([25., 25.])
    """
    differentiable = torch.is_grad_enabled()
    with torch.enable_grad():
        u = y if y.requires_grad else y.detach().requires_grad_()
        code = f(u).flatten(1)  # (B, K)
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


class SigmoidEncoder(nn.Module):
    """h = sigmoid(W y + b), (B, P) -> (B, K), which knows its Jacobian, ∂h_j/∂y = h_j (1 - h_j) W_j.

    Args:
        inputs, outputs: P and K, positive.
        generator: source of the weights; the global one if None.

    Raises:
        ValueError: if a width isn't positive.

    Example:
        >>> encoder = SigmoidEncoder(2, 3, generator=torch.Generator().manual_seed(0))
        >>> y = torch.ones(1, 2)
        >>> torch.allclose(encoder.squared_jacobian(y), squared_jacobian(encoder, y))
        True
    """

    def __init__(self, inputs: int, outputs: int, *, generator: torch.Generator | None = None):
        super().__init__()
        self.layer = linear(inputs, outputs, generator=generator)

    def forward(self, y: Tensor) -> Tensor:
        return torch.sigmoid(self.layer(y))

    def squared_jacobian(self, y: Tensor) -> Tensor:
        """|∂h/∂y|² = Σ_j (h_j (1 - h_j))² |W_j|², (B,)."""
        h = self(y)
        return (h * (1 - h)).square() @ self.layer.weight.square().sum(1)


class ContractiveAutoEncoder(Energy):
    """E(y) = |y - g(f(y))|² + λ |J|², trained by `AverageEnergy`.

    Args:
        encoder: f, a module (B, *shape) -> (B, *code), smooth; for a `SigmoidEncoder` J is in closed form.
        decoder: g, a module (B, *code) -> (B, *shape).
        contraction: λ > 0.
        of: whose Jacobian J is, "code" (f) or "reconstruction" (g∘f).
        probes: how many random signs estimate |J|² in training mode, drawn once a bind; None: exact. In
            evaluation mode it is exact.
        size: numbers in a code (for "reconstruction", in y); needed with probes.

    Raises:
        ValueError: if λ isn't positive, an option is unknown, or probes come without a size.

    Example:
        >>> model = ContractiveAutoEncoder(nn.Identity(), nn.Identity(), 0.1)
        >>> model(y=torch.ones(2, 5)).detach()  # reconstructs all, and pays for 5 directions
        tensor([0.5000, 0.5000])
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        contraction: float,
        *,
        of: Literal["code", "reconstruction"] = "code",
        probes: int | None = None,
        size: int | None = None,
    ):
        super().__init__()
        positive("contraction", contraction)
        if of not in ("code", "reconstruction"):
            raise ValueError(f'of is "code" or "reconstruction"; got {of!r}.')
        if probes is not None and size is None:
            raise ValueError("probes need the size of what they probe: the numbers in a code, or in y.")
        self.encoder, self.decoder, self.contraction, self.of = encoder, decoder, float(contraction), of
        self.probes = None if probes is None else count("probes", probes)
        self.size = None if size is None else count("size", size)

    def encode(self, y: Tensor) -> Tensor:
        """f(y), (B, *shape) -> (B, *code)."""
        code: Tensor = self.encoder(y)
        return code

    def decode(self, z: Tensor) -> Tensor:
        """g(z), (B, *code) -> (B, *shape)."""
        decoded: Tensor = self.decoder(z)
        return decoded

    def reconstruct(self, y: Tensor) -> Tensor:
        """g(f(y)), like y."""
        return self.decode(self.encode(y))

    def prepare(self, binder: Binder, given: Mapping[str, Any]) -> dict[str, Any]:
        """Draw signs, (B, probes, size), if training and asked to."""
        if self.probes is None or self.size is None or not self.training:
            return {}
        shape = (binder.need_batch("ContractiveAutoEncoder"), self.probes, self.size)
        coins = torch.rand(shape, generator=binder.generator, dtype=binder.dtype, device=binder.device)
        return {"signs": 1.0 - 2.0 * (coins < 0.5).to(coins.dtype)}

    def forward(self, y: Tensor, signs: Tensor | None = None) -> Tensor:
        error = (y - self.reconstruct(y)).square().flatten(1).sum(1)
        return error + self.contraction * self._squared_jacobian(y, signs)

    def _squared_jacobian(self, y: Tensor, signs: Tensor | None) -> Tensor:
        if self.of == "reconstruction":
            return squared_jacobian(self.reconstruct, y, signs)
        if signs is None and isinstance(self.encoder, SigmoidEncoder):
            return self.encoder.squared_jacobian(y)
        return squared_jacobian(self.encode, y, signs)
