"""Convolutional networks against their formulas, written out from the weights alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ebm.nets import ResNet, convnet, resnet18, resnet50


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def batch(shape: tuple[int, ...], rows: int = 4) -> Tensor:
    return torch.randn(rows, *shape, generator=seeded(1), dtype=torch.float64)


def residual(
    x: Tensor, state: dict[str, Tensor], blocks: tuple[int, ...], stem: str, training: bool
) -> Tensor:
    """A residual network by its weights alone, basic or bottleneck as they say, to the last maps."""

    def norm(x: Tensor, name: str) -> Tensor:
        shift, scale = state[f"{name}.bias"], state[f"{name}.weight"]
        if training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        else:
            mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        mean, var, scale, shift = (v[:, None, None] for v in (mean, var, scale, shift))
        return (x - mean) / (var + 1e-5).sqrt() * scale + shift

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[2] // 2)

    h = norm(conv(x, "conv1", 2 if stem == "imagenet" else 1), "bn1").clamp(min=0)
    if stem == "imagenet":
        h = F.pad(h, (1, 1, 1, 1), value=-math.inf).unfold(2, 3, 2).unfold(3, 3, 2).amax((4, 5))
    for stage, number in enumerate(blocks, start=1):
        for i in range(number):
            at, stride = f"layer{stage}.{i}", 2 if stage > 1 and i == 0 else 1
            if f"{at}.conv3.weight" in state:
                f = norm(conv(h, f"{at}.conv1"), f"{at}.bn1").clamp(min=0)
                f = norm(conv(f, f"{at}.conv2", stride), f"{at}.bn2").clamp(min=0)
                f = norm(conv(f, f"{at}.conv3"), f"{at}.bn3")
            else:
                f = norm(conv(h, f"{at}.conv1", stride), f"{at}.bn1").clamp(min=0)
                f = norm(conv(f, f"{at}.conv2"), f"{at}.bn2")
            if f"{at}.downsample.0.weight" in state:
                h = norm(conv(h, f"{at}.downsample.0", stride), f"{at}.downsample.1")
            h = (h + f).clamp(min=0)
    return h


@pytest.mark.parametrize("stem", ["imagenet", "cifar"])
@pytest.mark.parametrize(("make", "blocks"), [(resnet18, (2, 2, 2, 2)), (resnet50, (3, 4, 6, 3))])
@pytest.mark.parametrize("training", [True, False])
def test_a_resnet_is_what_its_formula_says(
    make: Callable[..., ResNet], blocks: tuple[int, ...], stem: str, training: bool
) -> None:
    net = make(width=4, stem=stem, outputs=3, generator=seeded()).double()
    g = seeded(2)
    with torch.no_grad():
        for value in net.state_dict().values():
            if value.ndim == 1 and value.is_floating_point():
                value.copy_(0.5 + torch.rand(value.shape, generator=g, dtype=torch.float64))
    x, state = batch((3, 70, 64), rows=3), {name: value.clone() for name, value in net.state_dict().items()}
    maps = residual(x, state, blocks, stem, training)
    net.train(training)
    torch.testing.assert_close(net.maps(x), maps, rtol=1e-9, atol=1e-9)
    code = maps.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]
    torch.testing.assert_close(net(x), code, rtol=1e-9, atol=1e-9)
    assert net.code == maps.shape[1]


@pytest.mark.parametrize("normalization", ["batch", "group"])
def test_a_convnet_is_what_its_formula_says(normalization: str) -> None:
    net = convnet(2, 5, width=8, normalization=normalization, generator=seeded()).double()  # type: ignore[arg-type]
    x = batch((2, 28, 30))
    h, state = x, net.state_dict()
    for stage, size in enumerate((8, 16, 32)):
        h = F.conv2d(h, state[f"maps.{3 * stage}.weight"], stride=2, padding=1)
        if normalization == "group":
            parts = h.unflatten(1, (size // 8, 8))
            dims: tuple[int, ...] = (2, 3, 4)
        else:
            parts, dims = h, (0, 2, 3)
        parts = parts - parts.mean(dims, keepdim=True)
        parts = parts / (parts.square().mean(dims, keepdim=True) + 1e-5).sqrt()
        h = parts.view(h.shape).clamp(min=0)
    maps = net.get_submodule("maps")(x)
    torch.testing.assert_close(maps, h)
    torch.testing.assert_close(net(x), h.mean((2, 3)) @ state["linear.weight"].T + state["linear.bias"])
    assert maps.shape == (4, 32, 4, 4)
