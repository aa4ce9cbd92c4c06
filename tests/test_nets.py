"""Networks: published parameter counts and names, how weights start, and which rows see one another."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Generator, Tensor, nn

from ebm.nets import (
    ResNet,
    ViT,
    byol_head,
    convnet,
    expander,
    resnet18,
    resnet50,
    simsiam_predictor,
    simsiam_projector,
)

MakeNet = Callable[[Generator | None], nn.Module]

NETS: dict[str, tuple[MakeNet, tuple[int, ...]]] = {  # a net and the shape of what it takes
    "convnet": (lambda g: convnet(1, 5, width=8, generator=g), (1, 28, 28)),
    "convnet group": (lambda g: convnet(3, 5, width=8, normalization="group", generator=g), (3, 32, 32)),
    "resnet18": (lambda g: resnet18(channels=1, width=4, stem="cifar", outputs=7, generator=g), (1, 28, 28)),
    "resnet50": (lambda g: resnet50(width=2, zero_init_residual=True, generator=g), (3, 64, 64)),
    "vit": (lambda g: ViT(8, 4, width=8, depth=2, heads=2, outputs=3, generator=g), (3, 8, 8)),
    "vit mean": (lambda g: ViT((8, 4), 2, width=8, depth=1, heads=2, pool="mean", generator=g), (3, 8, 4)),
    "expander": (lambda g: expander(6, 16, 16, 32, generator=g), (6,)),
    "byol": (lambda g: byol_head(6, hidden=16, outputs=4, generator=g), (6,)),
    "simsiam": (lambda g: simsiam_projector(6, outputs=8, generator=g), (6,)),
    "predictor": (lambda g: simsiam_predictor(8, hidden=3, generator=g), (8,)),
}
ROWS_APART = ("convnet group", "vit", "vit mean")  # in training mode too


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def batch(shape: tuple[int, ...], rows: int = 4) -> Tensor:
    return torch.randn(rows, *shape, generator=seeded(1), dtype=torch.float64)


# --- parameter counts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "published"),
    [
        (lambda: resnet18(outputs=1000), 11_689_512),
        (lambda: resnet18(), 11_176_512),
        (lambda: resnet18(stem="cifar"), 11_168_832),
        (lambda: resnet50(outputs=1000), 25_557_032),
        (lambda: resnet50(), 23_508_032),
        (lambda: ViT(224, 16, width=192, heads=3, outputs=1000), 5_717_416),
        (lambda: ViT(224, 16, outputs=1000), 22_050_664),
        (lambda: byol_head(2048), 9_449_472),
        (lambda: byol_head(256), 2_109_440),
        (lambda: simsiam_projector(2048), 12_591_104),
        (lambda: simsiam_predictor(), 2_100_224),
        (lambda: expander(512, 2048, 2048, 2048), 512 * 2048 + 2 * 2048**2 + 3 * 2 * 2048),
        (lambda: expander(512, 2048, 2048, 2048, bias=False), 512 * 2048 + 2 * 2048**2 + 2 * 2 * 2048),
        pytest.param(
            lambda: ViT(224, 16, width=768, heads=12, outputs=1000), 86_567_656, marks=pytest.mark.slow
        ),
        pytest.param(lambda: expander(2048, 8192, 8192, 8192), 151_044_096, marks=pytest.mark.slow),
        (lambda: convnet(1, 64), 9 * (32 + 32 * 64 + 64 * 128) + 2 * (32 + 64 + 128) + 129 * 64),
    ],
)
def test_parameters_are_as_many_as_published(make: Callable[[], nn.Module], published: int) -> None:
    assert count(make()) == published


def test_parameters_bear_the_usual_names() -> None:
    names = set(resnet50(width=1, outputs=1).state_dict())
    usual = (
        "conv1.weight bn1.running_var layer1.0.downsample.0.weight layer3.5.conv2.weight layer4.2.bn3.bias"
    )
    assert names.issuperset([*usual.split(" "), "layer1.0.downsample.1.num_batches_tracked", "fc.bias"])
    assert len(names) == 320  # of the published checkpoint
    names = set(ViT(8, 4, width=4, heads=1, outputs=1).state_dict())
    usual = "cls_token pos_embed patch_embed.proj.bias blocks.11.attn.qkv.weight blocks.0.attn.proj.bias"
    assert names.issuperset(
        [*usual.split(" "), "blocks.3.norm2.weight", "blocks.3.mlp.fc2.bias", "norm.bias"]
    )
    assert len(names) == 152


# --- how weights start --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "shape"), NETS.values(), ids=NETS)
def test_weights_come_from_the_generator(make: MakeNet, shape: tuple[int, ...]) -> None:
    state = torch.get_rng_state()
    one, two, other = (list(make(seeded(seed)).parameters()) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    drawn = [(a, b) for a, b in zip(one, other, strict=True) if a.std() > 0]
    assert drawn and all(not torch.equal(a, b) for a, b in drawn)
    assert not torch.equal(next(make(None).parameters()), next(make(None).parameters()))


def normal(weight: Tensor, std: float) -> bool:
    return stats.kstest(weight.detach().flatten()[:20000].double() / std, "norm").pvalue > 1e-4


def uniform(weight: Tensor, bound: float) -> bool:
    return (
        stats.kstest(weight.detach().flatten()[:20000].double() / bound, stats.uniform(-1, 2).cdf).pvalue
        > 1e-4
    )


def test_convolutions_start_as_in_he_et_al_and_normalizations_as_the_identity() -> None:
    net = resnet18(outputs=100, generator=seeded())
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            assert module.bias is None
            assert normal(module.weight, math.sqrt(2 / (module.out_channels * module.kernel_size[0] ** 2)))
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all() and not module.bias.any()
    assert isinstance(net.fc, nn.Linear)
    assert uniform(net.fc.weight, 1 / math.sqrt(512)) and uniform(net.fc.bias, 1 / math.sqrt(512))


@pytest.mark.parametrize(("make", "last"), [(resnet18, "bn2"), (resnet50, "bn3")])
def test_blocks_can_start_as_nothing(make: Callable[..., ResNet], last: str) -> None:
    net = make(width=4, stem="cifar", zero_init_residual=True, generator=seeded()).eval()
    zero = {n for n, p in net.named_parameters() if n.endswith("weight") and "bn" in n and not p.any()}
    blocks = 8 if make is resnet18 else 16
    assert len(zero) == blocks and all(last in name for name in zero)
    h = torch.rand(2, 4 if make is resnet18 else 16, 8, 8)
    assert torch.equal(net.layer1[1](h), h)  # F = 0, and h is positive


def test_heads_start_uniformly() -> None:
    layers = [
        *(expander(50, 200, 300, generator=seeded())),
        *(byol_head(50, hidden=200, generator=seeded())),
        *(simsiam_projector(50, hidden=200, generator=seeded())),
        *(simsiam_predictor(100, hidden=50, generator=seeded())),
    ]
    for layer in layers:
        if isinstance(layer, nn.Linear):
            for parameter in layer.parameters():
                assert uniform(parameter, 1 / math.sqrt(layer.in_features))


def test_a_vit_starts_as_in_dinos_code() -> None:
    net = ViT(64, 4, width=96, depth=2, heads=3, outputs=50, generator=seeded())
    for name, parameter in net.named_parameters():
        if "norm" in name:
            assert (parameter == float(name.endswith("weight"))).all()
        elif name.startswith("patch_embed"):
            assert uniform(parameter, 1 / math.sqrt(3 * 4**2))
        elif name.endswith("bias"):
            assert not parameter.any()
        else:
            assert normal(parameter, 0.02), name


# --- rows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
def test_rows_mix_in_training_mode_only_where_the_docstring_says_so(name: str) -> None:
    make, shape = NETS[name]
    net, x = make(seeded()).double(), batch(shape)
    changed = torch.cat([x[:3], x[3:].cos()])
    for training in (False, True):
        net.train(training)
        before, after = net(x), net(changed)
        assert before.dtype == torch.float64 and not torch.allclose(before[3], after[3])
        assert torch.allclose(before[:3], after[:3], rtol=0, atol=1e-13) == (
            not training or name in ROWS_APART
        )
