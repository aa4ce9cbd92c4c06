"""Masked prediction of codes against plain torch; where gradients go; what masks let through; refusals."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ebm import Energy
from ebm.jepa import (
    IJEPA,
    VJEPA,
    Masked,
    MaskedJEPA,
    MaskedPrediction,
    MultiBlock,
    RandomPatches,
    vjepa_masks,
)
from ebm.joint import EMA, Shared, linear, update_targets
from ebm.loss import AverageEnergy, LossOutput
from ebm.nets import Patchify, PatchPredictor, PatchViT
from ebm.testing import check_energy
from ebm.train import fit


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def spread(net: nn.Module, seed: int = 0) -> nn.Module:
    """The net in float64 with all parameters drawn anew, so that no part of it is close to nothing."""
    with torch.no_grad():
        for k, parameter in enumerate(net.double().parameters()):
            parameter.normal_(std=0.5, generator=seeded(100 * seed + k))
    return net


def nets(outputs: int | None = None, size: Any = (8, 12), patch: Any = 4) -> tuple[PatchViT, PatchPredictor]:
    f = PatchViT(size, patch, channels=1, width=8, depth=1, heads=2)
    h = PatchPredictor(f.grid, 8, width=12, depth=1, heads=2, outputs=outputs)
    spread(f), spread(h, 1)
    return f, h


CONTEXT = torch.tensor([[0, 2, 5], [1, 3, 4]])
TARGETS = torch.tensor([[[1, 3], [3, 4]], [[0, 2], [2, 5]]])


def normalized(s: Tensor) -> Tensor:
    return (s - s.mean(-1, keepdim=True)) / (s.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()


def test_the_energy_against_plain_torch() -> None:
    f, h = nets()
    slow = spread(PatchViT((8, 12), 4, channels=1, width=8, depth=1, heads=2), 2)
    target = EMA(f, 0.9)
    target.target.load_state_dict(slow.state_dict())
    x = draw(2, 1, 8, 12)
    per_element = {
        "smooth_l1": lambda d: torch.where(d.abs() < 1, d**2 / 2, d.abs() - 0.5),
        "l1": torch.abs,
        "squared": torch.square,
    }
    for distance, rho in per_element.items():
        E = MaskedJEPA(f, h, target, distance)  # type: ignore[arg-type]
        found = E(x=x, context=CONTEXT, targets=TARGETS)
        for b in range(2):
            one, hidden = slice(b, b + 1), TARGETS[b]
            s_x = f.norm(f.blocks(f.embed(x[one])[:, CONTEXT[b]]))
            s_y = normalized(slow.norm(slow.blocks(slow.embed(x[one]))))[0]  # type: ignore[operator,union-attr]
            parts = [
                rho(h(s_x, CONTEXT[one], TARGETS[one, m : m + 1])[0, 0] - s_y[hidden[m]]).mean()
                for m in range(2)
            ]
            torch.testing.assert_close(found[b], sum(parts) / 2)
    assert IJEPA(f, h).prediction.distance == "smooth_l1" and VJEPA(f, h).prediction.distance == "l1"


def test_it_is_zero_where_the_prediction_is_the_normalized_code_and_only_there() -> None:
    s_y, s_x = draw(2, 6, 8), draw(2, 3, 8)
    exact = torch.stack([normalized(s_y)[b][TARGETS[b]] for b in range(2)])
    off = torch.zeros_like(exact)
    off[1, 0, 1, 3] = 0.5
    for distance, expected in (("smooth_l1", 0.125), ("l1", 0.5), ("squared", 0.25)):
        for error, value in ((torch.zeros_like(off), 0.0), (off, expected / 32)):
            E = MaskedPrediction(lambda *_, e=error: exact + e, distance)  # type: ignore[arg-type]
            found = E(s_x=s_x, s_y=s_y, context=CONTEXT, targets=TARGETS)
            torch.testing.assert_close(found, torch.tensor([0.0, value]).double(), atol=1e-12, rtol=0)
    raw = torch.stack([s_y[b][TARGETS[b]] for b in range(2)])  # not normalized: not zero
    assert MaskedPrediction(lambda *_: raw)(s_x=s_x, s_y=s_y, context=CONTEXT, targets=TARGETS).min() > 1e-3  # type: ignore


def test_the_contract_of_energies() -> None:
    f, h = nets()
    example = {"x": draw(2, 1, 8, 12), "context": CONTEXT, "targets": TARGETS}
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        check_energy(MaskedJEPA(f, h, EMA(f, 0.9), "squared"), example)
        several = {"context": (CONTEXT, CONTEXT[:, :2]), "targets": (TARGETS, TARGETS[:, :1])}
        check_energy(IJEPA(f, h), example | several)


# --- where gradients and pixels go --------------------------------------------------------------------------


def test_no_gradient_enters_the_target() -> None:
    f, h = nets()
    x = draw(2, 1, 8, 12)
    E = IJEPA(f, h)
    E(x=x, context=CONTEXT, targets=TARGETS).sum().backward()
    assert all(p.grad is None for p in E.target.parameters())
    expected = {n: p.grad.clone() for n, p in f.named_parameters() if p.grad is not None}
    assert len(expected) == len(list(f.parameters()))
    f.zero_grad()
    constant = {"s_y": f(x).detach(), "context": CONTEXT, "targets": TARGETS}
    E.prediction(s_x=f(x, CONTEXT), **constant).sum().backward()
    for name, parameter in f.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name])
    f.zero_grad()
    MaskedJEPA(f, h, Shared(f))(x=x, context=CONTEXT, targets=TARGETS).sum().backward()
    grad = f.patch_embed.proj.weight.grad
    assert not torch.allclose(grad, expected["patch_embed.proj.weight"])  # shared, it would


def test_a_prediction_sees_nothing_but_its_context() -> None:
    f, h = nets()
    x = draw(2, 1, 8, 12).requires_grad_()
    predicted = h(f(x, CONTEXT), CONTEXT, TARGETS)
    seen = torch.zeros(2, 6, dtype=torch.bool).scatter_(1, CONTEXT, True).view(2, 1, 2, 3)
    seen = seen.repeat_interleave(4, 2).repeat_interleave(4, 3)
    (slope,) = torch.autograd.grad(predicted.square().sum(), x)
    assert (slope[~seen] == 0).all() and (slope[seen] != 0).all()
    other = torch.where(seen, x, draw(2, 1, 8, 12, seed=1))
    assert torch.equal(h(f(other, CONTEXT), CONTEXT, TARGETS), predicted)
    E = IJEPA(f, h)
    before, after = (E(x=v, context=CONTEXT, targets=TARGETS) for v in (x, other))
    assert (before != after).all()  # what is to be predicted did change


def test_several_masks_are_averaged_and_the_target_encodes_once() -> None:
    f, h = nets()
    E, calls = VJEPA(f, h), []
    E.target.register_forward_hook(lambda *_: calls.append(1))
    x, fewer = draw(2, 1, 8, 12), (CONTEXT[:, :2], TARGETS[:, :1])
    both = E(x=x, context=(CONTEXT, fewer[0]), targets=(TARGETS, fewer[1]))
    assert calls == [1]
    alone = [E(x=x, context=c, targets=t) for c, t in ((CONTEXT, TARGETS), fewer)]
    torch.testing.assert_close(both, sum(alone) / 2)


def test_with_pixels_as_target_it_is_the_masked_auto_encoder() -> None:
    f, h = nets(outputs=16)
    x, targets = draw(2, 1, 8, 12), torch.tensor([[[1, 3, 4]], [[0, 2, 5]]])
    E = MaskedJEPA(f, h, Shared(Patchify(4)), "squared")
    found = E(x=x, context=CONTEXT, targets=targets)
    predicted = h(f(x, CONTEXT), CONTEXT, targets)
    for b in range(2):
        pixels = [
            x[b, 0, 4 * (p // 3) : 4 * (p // 3) + 4, 4 * (p % 3) : 4 * (p % 3) + 4] for p in targets[b, 0]
        ]
        off = predicted[b, 0] - normalized(torch.stack([p.flatten() for p in pixels]))
        torch.testing.assert_close(found[b], off.square().mean())


# --- the loss -----------------------------------------------------------------------------------------------


class Recorded(AverageEnergy):
    """The mean energy, keeping what it was called with."""

    def forward(self, energy: Energy, generator: torch.Generator | None = None, **data: Any) -> LossOutput:
        self.data = data
        return super().forward(energy, generator, **data)


def test_the_loss_hands_over_the_masks_that_were_drawn() -> None:
    f, h = nets(size=16, patch=2)
    x, masks, inner = draw(4, 1, 16, 16), MultiBlock((8, 8)), Recorded()
    E = IJEPA(f, h)
    output = Masked(inner, masks)(E, seeded(3), x=x)
    context, targets = masks.draw(4, seeded(3))
    assert torch.equal(inner.data["context"], context) and torch.equal(inner.data["targets"], targets)
    torch.testing.assert_close(output.loss, E(x=x, context=context, targets=targets).mean())
    assert Masked(inner, masks).described == "Recorded of MultiBlock masks"
    clips, (f, h) = draw(3, 1, 4, 12, 12), nets(size=(4, 12, 12), patch=(2, 2))
    Masked(inner, vjepa_masks(f.grid))(VJEPA(f, h), seeded(3), x=clips)
    assert len(inner.data["context"]) == 2 and inner.data["targets"][0].shape[:2] == (3, 1)


def test_training_moves_the_target_by_its_schedule_and_lowers_the_energy() -> None:
    f, h = nets(size=16, patch=4)
    E, steps, seen = IJEPA(f, h, EMA(f, linear(0.5, 1.0))), 6, []
    start = {n: p.clone() for n, p in f.named_parameters()}
    keep = lambda step, history: seen.append({n: p.detach().clone() for n, p in f.named_parameters()})  # noqa: E731
    loss = Masked(AverageEnergy(), MultiBlock((4, 4), min_keep=3))
    sgd = partial(torch.optim.SGD, lr=0.05)
    data = {"x": draw(8, 1, 16, 16)}
    history = fit(
        E,
        loss,
        data,
        optimizer=sgd,
        steps=steps,
        batch_size=8,
        callbacks=[update_targets(E, steps), keep],
        generator=seeded(),
        progress=False,
    )
    assert len(history) == steps
    for name, slow in E.target.target.named_parameters():  # type: ignore[union-attr]
        expected = start[name]
        for k, now in enumerate(seen):
            tau = 0.5 + 0.5 * k / steps
            expected = tau * expected + (1 - tau) * now[name]
        torch.testing.assert_close(slow, expected)


class Unmasked(Energy):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).sum(1)


def test_refusals() -> None:
    f, h = nets()
    E, loss = IJEPA(f, h), Masked(AverageEnergy(), RandomPatches((2, 3), 0.5))
    x = draw(2, 1, 8, 12)
    with pytest.raises(TypeError, match=r"masks are `Masks` of ebm\.jepa"):
        Masked(AverageEnergy(), None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"masks .x., a tensor .* the data holds y"):
        loss(E, y=x)
    with pytest.raises(TypeError, match="as IJEPA has them; Unmasked has x"):
        loss(Unmasked(), x=x)
    with pytest.raises(ValueError, match="'context' is drawn by the masks"):
        loss(E, x=x, context=CONTEXT)
    with pytest.raises(ValueError, match='distance is "smooth_l1", "l1" or "squared"'):
        MaskedPrediction(h, "l2")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="needs a target such as EMA"):
        MaskedJEPA(f, h, f)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got 2 contexts and 1 targets"):
        E(x=x, context=(CONTEXT, CONTEXT), targets=(TARGETS,))
    with pytest.raises(ValueError, match="predictor returned"):
        MaskedJEPA(f, nets(outputs=5)[1], EMA(f, 0.9))(x=x, context=CONTEXT, targets=TARGETS)
