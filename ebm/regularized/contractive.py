"""The contractive auto-encoder: a code that hardly moves when y does, but where the data asks for it.

    E(y) = |y - g(f(y))|² + λ |J|²,        J = ∂f/∂y (the code), or ∂(g∘f)/∂y (the reconstruction)

It is the sum `AutoEncoder(g∘f) + λ * Contraction(f, "y")` and nothing else. To reconstruct, the code has to
tell neighboring data apart; for all other directions it pays. So it is only along the data that E stays low.
`ebm.regularizers.contraction` says how |J|² is found.

An f made small and a g made large pay less for the same reconstruction: tie their weights, or charge for the
reconstruction's J, which is what denoising with little noise does: on y = g(f(y)), for r = g∘f,

    ⟨|y - r(y + σε)|²⟩ = σ² |∂r/∂y|² + O(σ⁴);    elsewhere  |y - r|² + σ² (|∂r/∂y|² - ⟨y - r, Δr⟩) + O(σ⁴)

Reference: Rifai, Vincent, Muller, Glorot & Bengio (2011), "Contractive Auto-Encoders: Explicit Invariance
During Feature Extraction", sect. 2-3; Alain & Bengio (2014), "What Regularized Auto-Encoders Learn from the
Data-Generating Distribution", sect. 3 (denoising).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ebm.contrastive.denoising import AutoEncoder
from ebm.energy import Sum
from ebm.infer.method import positive
from ebm.nets.layers import linear
from ebm.regularizers import Contraction


class SigmoidEncoder(nn.Module):
    """h = sigmoid(W y + b), (B, P) -> (B, K), which knows its Jacobian, ∂h_j/∂y = h_j (1 - h_j) W_j.

    Args:
        inputs, outputs: P and K, positive.
        generator: source of the weights; the global one if None.

    Raises:
        ValueError: if a width isn't positive.

    Example:
        >>> from ebm.regularizers import squared_jacobian
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


class ContractiveAutoEncoder(Sum):
    """E(y) = |y - g(f(y))|² + λ |J|², trained by `AverageEnergy`.

    Args:
        encoder: f, a module (B, *shape) -> (B, *code), smooth; for a `SigmoidEncoder` J is in closed form.
        decoder: g, a module (B, *code) -> (B, *shape).
        contraction: λ > 0.
        of: whose Jacobian J is, "code" (f) or "reconstruction" (g∘f).
        probes: how many random signs estimate |J|² in training mode, drawn once a bind; None: exact. In
            evaluation mode, and in closed form, it is exact.
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
        positive("contraction", contraction)
        if of not in ("code", "reconstruction"):
            raise ValueError(f'of is "code" or "reconstruction"; got {of!r}.')
        whole = nn.Sequential(encoder, decoder)
        moved = Contraction(encoder if of == "code" else whole, "y", probes=probes, size=size)
        super().__init__(AutoEncoder(whole), float(contraction) * moved)
        self.contraction, self.of = float(contraction), of

    @property
    def encoder(self) -> nn.Module:
        """f."""
        return self._network[0]

    @property
    def decoder(self) -> nn.Module:
        """g."""
        return self._network[1]

    @property
    def _network(self) -> nn.Sequential:
        part = self.parts["AutoEncoder"]
        if not isinstance(part, AutoEncoder) or not isinstance(part.network, nn.Sequential):
            raise TypeError(f"the first term is the AutoEncoder of f and g; found {type(part).__name__}.")
        return part.network

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
