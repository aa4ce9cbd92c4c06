"""The vision transformer against torch's own encoder, its positions against formulas; heads; refusals."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ebm.nets import (
    ViT,
    byol_head,
    convnet,
    expander,
    resnet18,
    simsiam_predictor,
    simsiam_projector,
)
from ebm.nets.layers import convolution, linear
from ebm.nets.resnet import Basic, ResNet
from ebm.nets.vit import sincos


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def spread(net: nn.Module) -> nn.Module:
    """The net in float64 with all parameters drawn anew, so that no part of it is close to nothing."""
    with torch.no_grad():
        for parameter in net.double().parameters():
            parameter.normal_(std=0.5, generator=seeded(parameter.numel()))
    return net


def pictures(rows: int, height: int, width: int) -> Tensor:
    return torch.randn(rows, 3, height, width, generator=seeded(1), dtype=torch.float64)


def encoder(net: ViT, width: int, heads: int) -> nn.Sequential:
    """torch's own layers with the net's weights."""
    layers = []
    for block in net.blocks:
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.0, "gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True
        ).double()
        weights = block.state_dict()
        names = {
            "self_attn.in_proj_weight": "attn.qkv.weight",
            "self_attn.in_proj_bias": "attn.qkv.bias",
            "self_attn.out_proj.weight": "attn.proj.weight",
            "self_attn.out_proj.bias": "attn.proj.bias",
            "linear1.weight": "mlp.fc1.weight",
            "linear1.bias": "mlp.fc1.bias",
            "linear2.weight": "mlp.fc2.weight",
            "linear2.bias": "mlp.fc2.bias",
        }
        names |= {f"norm{k}.{part}": f"norm{k}.{part}" for k in (1, 2) for part in ("weight", "bias")}
        layer.load_state_dict({theirs: weights[ours] for theirs, ours in names.items()})
        layers.append(layer)
    return nn.Sequential(*layers)


@pytest.mark.parametrize("pool", ["class", "mean"])
@pytest.mark.parametrize("positions", ["learned", "sincos"])
def test_a_vit_is_torchs_encoder_on_patches(pool: str, positions: str) -> None:
    net = ViT((8, 12), 4, width=16, depth=3, heads=2, pool=pool, positions=positions, outputs=5)  # type: ignore[arg-type]
    spread(net)
    x = pictures(4, 8, 12)
    weight = net.patch_embed.proj.weight.flatten(1)
    patches = [x[:, :, r : r + 4, c : c + 4].flatten(1) for r in (0, 4) for c in (0, 4, 8)]
    tokens = torch.stack([patch @ weight.T + net.patch_embed.proj.bias for patch in patches], 1)
    if pool == "class":
        tokens = torch.cat([net.cls_token.expand(4, 1, 16), tokens], 1)
    tokens = tokens + net.pos_embed
    torch.testing.assert_close(net.embed(x), tokens)
    tokens = encoder(net, 16, 2)(tokens)
    mean, var = tokens.mean(2, keepdim=True), tokens.var(2, correction=0, keepdim=True)
    tokens = (tokens - mean) / (var + 1e-6).sqrt() * net.norm.weight + net.norm.bias
    torch.testing.assert_close(net.tokens(x), tokens)
    code = tokens[:, 0] if pool == "class" else tokens.mean(1)
    assert isinstance(net.head, nn.Linear)
    torch.testing.assert_close(net(x), code @ net.head.weight.T + net.head.bias)
    maps = net.maps(x)
    for r in range(2):
        for c in range(3):
            torch.testing.assert_close(maps[:, :, r, c], tokens[:, (pool == "class") + 3 * r + c])


def test_sincos_positions() -> None:
    found = sincos(3, 5, 8)
    for r in range(3):
        for c in range(5):
            waves = [f(place * w) for place in (c, r) for f in (math.sin, math.cos) for w in (1.0, 0.01)]
            torch.testing.assert_close(found[5 * r + c], torch.tensor(waves))
    net = ViT((12, 20), 4, width=8, depth=1, heads=1, positions="sincos")
    assert torch.equal(net.pos_embed[0], torch.cat([torch.zeros(1, 8), found]))
    assert "pos_embed" not in dict(net.named_parameters()) and "pos_embed" in net.state_dict()


def cubic(inputs: int, outputs: int) -> Tensor:
    """Keys' cubic convolution with a = -0.75, the border's values repeated, (outputs, inputs)."""
    weights = torch.zeros(outputs, inputs, dtype=torch.float64)
    for i in range(outputs):
        place = (i + 0.5) * inputs / outputs - 0.5
        for j in range(math.floor(place) - 1, math.floor(place) + 3):
            t = abs(place - j)
            near, far = 1.25 * t**3 - 2.25 * t**2 + 1, -0.75 * (t**3 - 5 * t**2 + 8 * t - 4)
            weights[i, min(max(j, 0), inputs - 1)] += near if t <= 1 else far
    return weights


@pytest.mark.parametrize("pool", ["class", "mean"])
def test_positions_are_interpolated_on_images_of_another_size(pool: str) -> None:
    net = ViT((40, 24), 4, width=2, depth=1, heads=1, pool=pool).double()  # type: ignore[arg-type]
    with torch.no_grad():
        net.pos_embed.normal_(generator=seeded())
        net.patch_embed.proj.weight.zero_()
        net.patch_embed.proj.bias.zero_()
        if net.extra:
            net.cls_token.zero_()
    t, positions = net.embed(pictures(1, 60, 80))[0], net.pos_embed[0]
    grid = positions[net.extra :].view(10, 6, 2)
    expected = torch.einsum("ij,jkd,lk->ild", cubic(10, 15), grid, cubic(6, 20))
    torch.testing.assert_close(t[net.extra :].view(15, 20, 2), expected)
    assert torch.equal(t[: net.extra], positions[: net.extra])


def test_second_derivatives_of_a_vit_with_the_plain_kernel() -> None:
    net = spread(ViT(4, 2, channels=1, width=4, depth=1, heads=2))
    x = torch.randn(2, 1, 4, 4, generator=seeded(), dtype=torch.float64, requires_grad=True)
    with sdpa_kernel(SDPBackend.MATH):
        assert torch.autograd.gradgradcheck(lambda x: net(x).square().sum(1), x)


# --- heads --------------------------------------------------------------------------------------------------


def by_hand(net: nn.Sequential, z: Tensor) -> Tensor:
    """Linear layers, batch normalizations and ReLUs by their weights, in training mode."""
    for layer in net:
        if isinstance(layer, nn.Linear):
            z = z @ layer.weight.T + (0 if layer.bias is None else layer.bias)
        elif isinstance(layer, nn.BatchNorm1d):
            z = (z - z.mean(0)) / (z.var(0, correction=0) + 1e-5).sqrt()
            z = z if layer.weight is None else z * layer.weight + layer.bias
        else:
            z = z.clamp(min=0)
    return z


@pytest.mark.parametrize(
    ("net", "kinds", "biased"),
    [
        (expander(6, 9, 9, 8), "LBRLBRL", (True, True, False)),
        (expander(6, 9, 9, 8, bias=False), "LBRLBRL", (False, False, False)),
        (expander(6, 8), "L", (False,)),
        (byol_head(6, hidden=9, outputs=8), "LBRL", (True, False)),
        (simsiam_projector(6, outputs=8), "LBRLBRLB", (False, False, False)),
        (simsiam_predictor(6, hidden=3), "LBRL", (False, True)),
    ],
)
def test_heads_are_layered_as_published(net: nn.Sequential, kinds: str, biased: tuple[bool, ...]) -> None:
    assert "".join(type(layer).__name__[0] for layer in net) == kinds
    assert tuple(layer.bias is not None for layer in net if isinstance(layer, nn.Linear)) == biased
    spread(net)
    z = torch.randn(10, 6, generator=seeded(), dtype=torch.float64)
    torch.testing.assert_close(net(z), by_hand(net, z))


def test_simsiams_projections_have_no_scale() -> None:
    net = simsiam_projector(6, outputs=8)
    assert net[7].weight is None and net[4].weight is not None and net[0].out_features == 6
    assert simsiam_projector(6, outputs=8, hidden=5)[0].out_features == 5


BAD: dict[str, Callable[[], object]] = {
    r"two widths or more, codes to output; got \(8,\)": lambda: expander(8),
    "expander needs positive whole numbers for its sizes; got 8, 0": lambda: expander(8, 0),
    "simsiam_predictor needs positive whole": lambda: simsiam_predictor(0),
    "simsiam_projector needs positive whole": lambda: simsiam_projector(4, outputs=-1),
    "linear needs positive whole": lambda: linear(2, 0),
    "convolution needs positive whole": lambda: convolution(1, 1, 3, stride=0),
    "has an odd side; got 4": lambda: convolution(1, 1, 4),
    'normalization is "batch" or "group"; got \'layer\'': lambda: convnet(1, 8, normalization="layer"),  # type: ignore
    "a multiple of 8; got 12": lambda: convnet(1, 8, width=12, normalization="group"),
    "convnet needs positive whole": lambda: convnet(1, 8, stages=0),
    'stem is "imagenet" or "cifar"; got \'small\'': lambda: resnet18(stem="small"),  # type: ignore[arg-type]
    r"four stages, such as blocks=\(2, 2, 2, 2\); got \(2, 2\)": lambda: ResNet(Basic, (2, 2)),
    "ResNet needs positive whole": lambda: resnet18(width=0),
    "don't divide images 30 x 30": lambda: ViT(30, 4),
    'positions are "learned" or "sincos"': lambda: ViT(8, 4, positions="none"),  # type: ignore[arg-type]
    'pool is "class" or "mean"': lambda: ViT(8, 4, pool="max"),  # type: ignore[arg-type]
    "multiple of the number of heads": lambda: ViT(8, 4, width=10, heads=3),
    "of 4 for sincos positions": lambda: ViT(8, 4, width=6, heads=3, positions="sincos"),
    "ViT needs positive whole": lambda: ViT(8, 4, depth=0),
    "don't divide images 10 x 8": lambda: ViT(8, 4, width=8, depth=1, heads=1)(torch.zeros(1, 3, 10, 8)),
}


@pytest.mark.parametrize("match", BAD)
def test_bad_settings_are_refused(match: str) -> None:
    with pytest.raises(ValueError, match=match):
        BAD[match]()
