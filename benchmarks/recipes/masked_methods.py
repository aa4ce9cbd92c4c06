"""The methods that `masked_prediction` compares: one encoder f, and what each of them puts on it.

    I-JEPA, V-JEPA       E = ρ(h(f(x at C), C, T) - LN(f_ξ(x)) at T),    masks and distances as published
    the same, spread     and `Spread` of the codes f(x at C)
    MAE                  E = |h(f(x at C), C, T) - pixels at T|²,        random patches (tubes, in clips)

Encoder and decoder of the auto-encoder have the sizes of the JEPA's encoder and predictor. A slow target
alone does not keep so small nets from collapse in a short training: their codes soon tell little but the
place of a patch, which is all too easy to predict. Mo and Tong (2024), "Connecting Joint-Embedding Predictive
Architecture with Contrastive Self-supervised Learning", add VICReg's variance and covariance to I-JEPA for
that reason; so does `Spread`, to what codes say beside their place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ebm import Energy
from ebm.binder import Held
from ebm.jepa import IJEPA, VJEPA, Masked, MaskedJEPA, Masks, MultiBlock, RandomPatches, vjepa_masks
from ebm.joint import EMA, Shared, linear, update_targets
from ebm.joint.covariance import covariance
from ebm.joint.vicreg import hinge
from ebm.loss import ON_DATA, AverageEnergy, Loss, LossOutput
from ebm.nets import Patchify, PatchPredictor, PatchViT
from ebm.train import Callback

HIDDEN_SHARE = {"images": 0.75, "clips": 0.875}  # of the patches; MAE's is 0.75, VideoMAE's 0.9
Patch = int | tuple[int, int]


@dataclass(frozen=True)
class Nets:
    """Sizes of the networks.

    Attributes:
        size, patch: of the data and of a patch, as for `PatchViT`.
        width, depth, heads: of the encoder.
        narrow, layers: width and depth of the predictor.
    """

    size: tuple[int, ...]
    patch: Patch
    width: int
    depth: int
    heads: int
    narrow: int
    layers: int

    @property
    def kind(self) -> str:
        """ "images" or "clips"."""
        return "images" if len(self.size) == 2 else "clips"

    def encoder(self, generator: Generator) -> PatchViT:
        """f with weights from the generator."""
        return PatchViT(
            self.size,  # type: ignore[arg-type]
            self.patch,
            channels=1,
            width=self.width,
            depth=self.depth,
            heads=self.heads,
            generator=generator,
        )

    def predictor(self, f: PatchViT, generator: Generator, outputs: int | None = None) -> PatchPredictor:
        """h with weights from the generator."""
        return PatchPredictor(
            f.grid,
            f.width,
            width=self.narrow,
            depth=self.layers,
            heads=self.heads,
            outputs=outputs,
            generator=generator,
        )


@dataclass(frozen=True)
class Method:
    """What learns an encoder.

    Attributes:
        energy, loss: what `fit` takes.
        encode: from data (N, 1, *size) to the codes that are used afterwards, `Averaged` ones.
    """

    energy: Energy
    loss: Loss
    encode: nn.Module

    def callbacks(self, steps: int) -> Sequence[Callback]:
        """Those that move a target, where there is one."""
        moves = isinstance(self.energy, MaskedJEPA) and isinstance(self.energy.target, EMA)
        return [update_targets(self.energy, steps)] if moves else []


class Averaged(nn.Module):
    """The mean of the codes of all patches of an image or clip, (N, D).

    Of a clip over all times as well: from one mean for each time a probe would read motion as a change of
    place, which untrained codes show too. What is left of it is what codes say of their own moment.
    """

    def __init__(self, tokens: nn.Module):
        super().__init__()
        self.tokens = tokens

    def forward(self, x: Tensor) -> Tensor:
        mean: Tensor = self.tokens(x).mean(1)
        return mean


class Spread(Loss):
    """The mean energy, and codes of the context that differ where their places are the same.

        L = (1/B) Σ E + λ [(1/D) Σ_i max(0, 1 - √Var c_i) + 0.04 · (1/D) Σ_{i≠j} Cov(c)_ij²]
        c_bp = s_bp - the mean of all codes s_b'p of place p in the batch

    over all codes of a batch, and means over several masks. Weights are VICReg's, 1 to 25.

    Args:
        places: P, patches of the grid.
        weight: λ > 0.
    """

    def __init__(self, places: int, weight: float):
        super().__init__()
        self.places, self.weight = places, weight

    def forward(self, energy: Energy, generator: Generator | None = None, **data: Any) -> LossOutput:
        bound = energy.bind(data, generator)
        mean = bound().mean()
        (key,) = {e.key for n, e in bound.summands[0].arguments if n == "s_x" and isinstance(e, Held)}
        codes, context = (v if isinstance(v, tuple) else (v,) for v in (bound.held[key], data["context"]))
        parts = [self.crowded(s, places) for s, places in zip(codes, context, strict=True)]
        crowded = torch.stack(parts).mean()
        return LossOutput(mean + self.weight * crowded, {ON_DATA: mean.detach(), "crowded": crowded.detach()})

    def crowded(self, codes: Tensor, context: Tensor) -> Tensor:
        """How far codes (B, K, D) at places (B, K) are from filling their space, 0-dimensional."""
        s, place = codes.flatten(0, 1), context.flatten()
        count = torch.bincount(place, minlength=self.places).clamp(min=1)
        mean = s.new_zeros(self.places, s.shape[1]).index_add(0, place, s) / count[:, None]
        variance, together = covariance(s - mean[place])
        return hinge(variance, 1.0, 1e-4) + 0.04 * together / s.shape[1]


def jepa(nets: Nets, decay: float, min_keep: int, spread: float, generator: Generator) -> Method:
    """I-JEPA of images, V-JEPA of clips; with `Spread` if its weight isn't 0."""
    f = nets.encoder(generator)
    h = nets.predictor(f, generator)
    images, target = nets.kind == "images", EMA(f, linear(decay))
    drawn: Masks = (MultiBlock if images else vjepa_masks)(f.grid, min_keep=min_keep)
    loss = Spread(math.prod(f.grid), spread) if spread else AverageEnergy()
    energy = (IJEPA if images else VJEPA)(f, h, target)
    return Method(energy, Masked(loss, drawn), Averaged(f))


def mae(nets: Nets, generator: Generator) -> Method:
    """The masked auto-encoder: the same with pixels in place of codes."""
    f = nets.encoder(generator)
    pixels = Shared(Patchify(nets.patch))
    h = nets.predictor(f, generator, outputs=pixels(torch.zeros(1, 1, *nets.size)).shape[2])
    masks = Masked(AverageEnergy(), RandomPatches(f.grid, HIDDEN_SHARE[nets.kind]))
    return Method(MaskedJEPA(f, h, pixels, "squared"), masks, Averaged(f))


def flops(method: Method, batch: Tensor, generator: Generator, draws: int = 8) -> float:
    """Floating-point operations of a training step for each of its images or clips, forward and back.

    Args:
        method: what learns.
        batch: a batch of data, (B, 1, *size).
        generator: of masks, whose sizes differ from step to step.
        draws: how many steps to average over.
    """
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        for _ in range(draws):
            method.loss(method.energy, generator, x=batch).loss.backward()
    method.energy.zero_grad()
    return counter.get_total_flops() / (draws * len(batch))
