"""The transformer of some patches against the one of all, its predictor against plain layers; refusals."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor, nn

from ebm.nets import Patchify, PatchPredictor, PatchViT, ViT
from ebm.nets.patch_vit import Tubelets, taken
from ebm.nets.positions import fixed_positions, sincos, sincos3


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def spread(net: nn.Module) -> nn.Module:
    """The net in float64 with all parameters drawn anew, so that no part of it is close to nothing."""
    with torch.no_grad():
        for parameter in net.double().parameters():
            parameter.normal_(std=0.5, generator=seeded(parameter.numel()))
    return net


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def test_of_all_patches_it_is_the_plain_vision_transformer() -> None:
    plain = ViT((8, 12), 4, width=16, depth=2, heads=2, pool="mean", positions="sincos")
    spread(plain)
    net = PatchViT((8, 12), 4, width=16, depth=2, heads=2).double()
    net.load_state_dict(plain.state_dict())
    x = draw(3, 3, 8, 12)
    torch.testing.assert_close(net(x), plain.tokens(x))
    everything = torch.arange(6).expand(3, 6)
    torch.testing.assert_close(net(x, everything), net(x))
    turned = everything.flip(1)
    torch.testing.assert_close(net(x, turned), net(x).flip(1))  # a token keeps its place


def test_patches_that_are_left_out_are_as_if_they_were_not_there() -> None:
    net = PatchViT((8, 12), 4, width=16, depth=2, heads=2)
    spread(net)
    x, keep = draw(2, 3, 8, 12), torch.tensor([[0, 4, 5], [1, 2, 3]])
    found = net(x, keep)
    assert isinstance(found, Tensor)
    for row in range(2):
        t = net.embed(x)[row : row + 1, keep[row]]
        torch.testing.assert_close(found[row : row + 1], net.norm(net.blocks(t)))
    mask = torch.ones(2, 6, dtype=torch.bool).scatter_(1, keep, False).view(2, 1, 2, 3)
    hidden = mask.repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert torch.equal(net(torch.where(hidden, draw(2, 3, 8, 12, seed=2), x), keep), found)
    several = net(x, (keep, keep[:, :1]))
    assert torch.equal(several[0], found) and several[1].shape == (2, 1, 16)


def test_a_tubelet_is_projected_from_its_pixels() -> None:
    net = Tubelets(2, (2, 4, 4), 5)
    spread(net)
    clip = draw(3, 2, 6, 8, 12)
    pixels = Patchify((2, 4))(clip)
    assert pixels.shape == (3, 18, 64)
    place = 0
    for t in range(3):
        for r in range(2):
            for c in range(3):
                part = clip[:, :, 2 * t : 2 * t + 2, 4 * r : 4 * r + 4, 4 * c : 4 * c + 4].flatten(1)
                assert torch.equal(pixels[:, place], part)
                projected = part @ net.proj.weight.flatten(1).T + net.proj.bias
                torch.testing.assert_close(net(clip)[:, place], projected)
                place += 1
    whole = PatchViT((6, 8, 12), (2, 4), channels=2, width=16, depth=1, heads=2).double()
    torch.testing.assert_close(whole.embed(clip), whole.patch_embed(clip) + whole.pos_embed)
    assert whole.grid == (3, 2, 3) and whole(clip).shape == (3, 18, 16)


def test_patches_of_images_are_their_pixels() -> None:
    image = draw(2, 3, 4, 6)
    parts = [image[:, :, r : r + 2, c : c + 2].flatten(1) for r in (0, 2) for c in (0, 2, 4)]
    assert torch.equal(Patchify(2)(image), torch.stack(parts, 1))


def test_positions_in_time_and_space() -> None:
    found = sincos3(2, 3, 4, 16)  # thirds of 6, 6 and, cut off, 4
    for t in range(2):
        for r in range(3):
            for c in range(4):
                parts = [
                    f(place * 10000 ** (-k / 3))
                    for place in (t, r, c)
                    for f in (math.sin, math.cos)
                    for k in range(3)
                ]
                torch.testing.assert_close(found[12 * t + 4 * r + c], torch.tensor(parts[:16]))
    assert torch.equal(fixed_positions((2, 3, 4), 16), found)
    assert torch.equal(fixed_positions((3, 4), 16), sincos(3, 4, 16))


def test_the_predictor_sees_the_context_and_one_block_of_mask_tokens() -> None:
    net = PatchPredictor((3, 4), 10, width=8, depth=2, heads=2, outputs=6)
    spread(net)
    s_x = draw(2, 3, 10)
    context = torch.tensor([[0, 5, 11], [1, 2, 3]])
    targets = torch.tensor([[[1, 2], [6, 7]], [[0, 4], [10, 11]]])
    found = net(s_x, context, targets)
    assert found.shape == (2, 2, 2, 6)
    positions = sincos(3, 4, 8).double()
    for b in range(2):
        for m in range(2):
            seen = s_x[b] @ net.embed.weight.T + net.embed.bias + positions[context[b]]
            u = torch.cat([seen, net.mask_token + positions[targets[b, m]]])[None]
            out = net.norm(net.blocks(u))[0, 3:] @ net.head.weight.T + net.head.bias
            torch.testing.assert_close(found[b, m], out)
    other = targets.clone()
    other[:, 1] += -1
    assert torch.equal(net(s_x, context, other)[:, 0], found[:, 0])


def test_weights_come_from_the_generator_alone() -> None:
    state = torch.get_rng_state()
    one, two = (
        nn.ModuleList(
            [
                PatchViT((4, 8, 8), (2, 4), width=16, depth=1, heads=2, generator=seeded(3)),
                PatchPredictor((2, 2, 2), 16, width=12, depth=1, heads=2, generator=seeded(3)),
            ]
        )
        for _ in range(2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)


def test_taken_is_indexing() -> None:
    tokens, index = draw(2, 5, 3), torch.tensor([[[0, 4], [2, 2]], [[1, 0], [3, 4]]])
    for b in range(2):
        assert torch.equal(taken(tokens, index)[b], tokens[b, index[b]])


BAD: dict[str, Callable[[], object]] = {
    "patches of 4 x 4 don't divide what is 30 x 30": lambda: PatchViT(30, 4),
    "patches of 2 x 4 x 4 don't divide what is 5 x 8 x 8": lambda: PatchViT((5, 8, 8), (2, 4)),
    r"images \(H, W\) have patches of p pixels": lambda: PatchViT((4, 8, 8), 4),  # type: ignore[arg-type]
    "number of heads divides the width; got 5 and 384": lambda: PatchViT(8, 4, heads=5),
    "number of heads divides the width; got 5 and 16": lambda: PatchPredictor((2, 2), 8, width=16, heads=5),
    "multiple of 4 for images, of 2 for video; got 6": lambda: PatchViT(8, 4, width=6, heads=2),
    r"a grid is \(rows, columns\)": lambda: fixed_positions((2,), 8),
    "PatchViT needs positive whole": lambda: PatchViT(8, 4, depth=0),
    "PatchPredictor needs positive whole": lambda: PatchPredictor((2, 0), 8),
    r"sees \(B, C, 8, 8\); got \(2, 8, 8\)": lambda: PatchViT(8, 4, channels=1, width=8, depth=1, heads=1)(
        torch.zeros(2, 8, 8)
    ),
    "don't divide what is 5 x 8": lambda: Patchify(4)(torch.zeros(1, 1, 5, 8)),
    r"expected codes \(B, K, D\) with context": lambda: PatchPredictor((2, 2), 8, width=8, depth=1, heads=1)(
        torch.zeros(1, 2, 8), torch.zeros(1, 3, dtype=torch.int64), torch.zeros(1, 1, 1, dtype=torch.int64)
    ),
}


@pytest.mark.parametrize("match", BAD)
def test_bad_settings_are_refused(match: str) -> None:
    with pytest.raises(ValueError, match=match):
        BAD[match]()
