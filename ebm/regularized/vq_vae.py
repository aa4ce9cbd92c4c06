"""The vector-quantized auto-encoder: between encoder and decoder, a grid of codes out of finitely many.

    E(y, z) = |y - g(c_z)|² + β |f(y) - c_z|²,        z*(y) = argmin_z |f(y) - c_z|²,    F(y) = E(y, z*(y))

However good the decoder, K codes in n cells name K^n points, and no more can have low energy. The encoder f
makes codes easy to find: in place of the search over z that the whole energy would take, each cell takes the
code nearest to what was encoded there. Any `Quantizer` fits between: `VectorQuantization`,
`ResidualQuantization`, `FiniteScalarQuantization`.

Quantizing has no derivative, so encoders learn by a stand-in (`ebm.regularized.quantizer`); codes learn by
moving averages, or by the gradient of |sg f(y) - c_z|²; `QuantizedLoss` does all of it.

Reference: van den Oord, Vinyals & Kavukcuoglu (2017), "Neural Discrete Representation Learning", eq. 1-3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ebm.binder import Binder
from ebm.choices import Choices
from ebm.energy import Energy
from ebm.infer.method import Method
from ebm.infer.minimize import minimize
from ebm.loss import ON_DATA, Loss, LossOutput
from ebm.regularized.checks import check_decoded
from ebm.regularized.exact import exactly
from ebm.regularized.quantizer import Quantizer, Usage, distance
from ebm.regularized.vector_quantization import VectorQuantization
from ebm.solution import Solution, Stop, one_tensor


class VQVAE(Energy):
    """E(y, z) = |y - g(c_z)|² + β E_q(f(y), z), for data y (B, *shape) and codes z (B, *cells) int64.

    Args:
        encoder: f, (B, *shape) -> (B, D, *cells): (B, D) for one code a row, (B, D, h, w) for a grid of them.
        decoder: g, (B, D, *cells) -> (B, *shape).
        quantizer: E_q, of vectors of D numbers; its `commitment` is β.

    Example:
        >>> codes = VectorQuantization(torch.tensor([[0.0, 0.0], [1.0, 1.0]]), commitment=0.5)
        >>> model = VQVAE(nn.Identity(), nn.Identity(), codes)
        >>> y = torch.tensor([[1.0, 0.8]])
        >>> best = model.infer(y)
        >>> best.value, best.energy, model.decode(best.value)
        (tensor([1]), tensor([0.0600]), tensor([[1., 1.]]))
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, quantizer: Quantizer):
        super().__init__()
        if not isinstance(quantizer, Quantizer):
            raise TypeError(
                f"a VQVAE needs a Quantizer, such as VectorQuantization(codebook); got "
                f"{type(quantizer).__name__}."
            )
        self.encoder, self.decoder, self.quantizer = encoder, decoder, quantizer

    @classmethod
    def from_data(
        cls,
        y: Tensor,
        encoder: nn.Module,
        decoder: nn.Module,
        codes: int,
        *,
        expire: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> VQVAE:
        """A model whose K codes, learned by moving averages, begin at random encoded vectors of the data.

        Args:
            y: (N, *shape).
            encoder, decoder: f and g.
            codes: K, at most as many as there are encoded vectors.
            expire: see `VectorQuantization`.
        """
        with torch.no_grad():
            h = encoder(y)
            if h.ndim < 2:
                raise ValueError(f"the encoder gives (N, D, *cells); it gave {tuple(h.shape)}.")
            h = h.movedim(1, -1)
        quantizer = VectorQuantization.from_data(h, codes, expire=expire, generator=generator)
        return cls(encoder, decoder, quantizer)

    def encode(self, y: Tensor) -> Tensor:
        """f(y), one vector a cell, (B, *shape) -> (B, *cells, D)."""
        h = self.encoder(y)
        if h.ndim < 2 or h.shape[1] != self.quantizer.size:
            raise ValueError(
                f"codes have {self.quantizer.size} numbers, so the encoder gives (B, {self.quantizer.size}, "
                f"*cells); it gave {tuple(h.shape)}."
            )
        vectors: Tensor = h.movedim(1, -1)
        return vectors

    def decode(self, z: Tensor) -> Tensor:
        """g(c_z), what codes stand for, (B, *cells) -> (B, *shape)."""
        return self._decoded(self.quantizer.decode(z))

    def prepare(self, binder: Binder, given: Mapping[str, Any]) -> dict[str, Any]:
        """Encode y, once a bind, where it is given and z is sought."""
        return {"h": self.encode(given["y"])} if "y" in given and "z" not in given else {}

    def forward(self, y: Tensor, z: Tensor, h: Tensor | None = None) -> Tensor:
        energy = _squared(y, self.decode(z))
        if self.quantizer.commitment == 0:
            return energy
        vectors = self.encode(y) if h is None else h
        return energy + self.quantizer.commitment * self.quantizer.forward(vectors, z)

    @property
    def free_energy(self) -> QuantizedFreeEnergy:
        """F(y) = E(y, z*(y)), with the codes that the encoder finds: an energy of y."""
        return QuantizedFreeEnergy(self)

    def infer(self, y: Tensor, method: Method | None = None, *, max_steps: int = 1000) -> Solution:
        """The codes of y: those nearest to what is encoded, or what a method finds from there on.

        Args:
            y: (B, *shape).
            method: a minimizer of E(y, z) over `Choices`, such as `Enumerate()` for few codes; None takes
                z*(y), which the encoder finds: it stops by "goal".
            max_steps: of the method.

        Returns:
            A `Solution` whose value is z, (B, *cells), or (B, *cells, S) of S stages.
        """
        with torch.no_grad():
            h = self.encode(y)
            z = self.quantizer.assign(h)
            if method is None:
                return exactly(z, self.forward(y, z, h), Stop.GOAL)
        start = Choices(z, self.quantizer.choices)
        return minimize(self, start, method, given={"y": y}, max_steps=max_steps)

    def usage(self, y: Tensor) -> Usage:
        """How often each code is taken by data (B, *shape): perplexity and bits."""
        return self.quantizer.usage(one_tensor(self.infer(y).value))

    def _decoded(self, code: Tensor) -> Tensor:
        decoded: Tensor = self.decoder(code.movedim(-1, 1))
        return decoded


class QuantizedFreeEnergy(Energy):
    """F(y) = E(y, z*(y)) of a `VQVAE`; made by its `free_energy`.

    In evaluation mode z* is held, so that the derivative is that of the values wherever there is one. In
    training mode the decoder's gradient goes on to the encoder by the quantizer's stand-in.
    """

    def __init__(self, model: VQVAE):
        super().__init__()
        self.model = model

    def forward(self, y: Tensor) -> Tensor:
        h = self.model.encode(y)
        z = self.model.quantizer.assign(h)
        if not self.training:
            return self.model.forward(y, z, h)
        energy = _squared(y, self.model._decoded(self.model.quantizer.estimate(h, z)))
        return energy + self.model.quantizer.commitment * self.model.quantizer.forward(h, z)


class QuantizedLoss(Loss):
    """L = (1/B) Σ_i |y_i - g(q(f(y_i)))|² + learning cost of the quantizer, for a `VQVAE`.

    q passes gradients by the quantizer's stand-in. In training mode codes that learn without gradients are
    renewed with the batch, and dead ones replaced, once a call, with `generator`.

    Terms: "energy on data" E(y, z*); "reconstruction" |y - g(c_z)|² and "distance" |f(y) - c_z|², its parts;
    "perplexity" and "bits" of the codes of this batch (see `Usage`); "expired" codes.

    Example:
        >>> model = VQVAE(nn.Linear(4, 2), nn.Linear(2, 4), VectorQuantization(torch.eye(2)))
        >>> sorted(QuantizedLoss()(model, y=torch.randn(8, 4)).terms)
        ['bits', 'distance', 'energy on data', 'expired', 'perplexity', 'reconstruction']
    """

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        if not isinstance(energy, VQVAE):
            raise TypeError(f"QuantizedLoss is for a VQVAE; got {energy.label}.")
        if set(data) != {"y"} or not len(data["y"]):
            came = ", ".join(f"{name} of {len(value)} rows" for name, value in data.items())
            raise TypeError(f"QuantizedLoss takes y, at least one row, alone; got {came or 'nothing'}.")
        y, quantizer = data["y"], energy.quantizer
        h = energy.encode(y)
        code, z = quantizer.quantize(h)
        reconstruction = _squared(y, energy._decoded(code))
        loss = (reconstruction + quantizer.learning_cost(h, z)).mean()
        with torch.no_grad():
            usage, away = quantizer.usage(z), quantizer.forward(h, z).mean()
            terms = {
                ON_DATA: reconstruction.mean() + quantizer.commitment * away,
                "reconstruction": reconstruction.mean(),
                "distance": away,
                "perplexity": away.new_tensor(usage.perplexity),
                "bits": away.new_tensor(usage.bits),
            }
            if self.training:
                terms |= quantizer.update(h.detach(), z, generator)
        return LossOutput(loss, terms)


def _squared(y: Tensor, decoded: Tensor) -> Tensor:
    return distance(y, check_decoded(y, decoded))
