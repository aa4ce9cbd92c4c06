"""Masks of I-JEPA and V-JEPA: sizes and shares of the papers, exact probabilities, overlaps, refusals."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from ebm.jepa import MultiBlock, RandomPatches, SeveralMasks, TubeBlocks, vjepa_masks
from ebm.jepa.masks import Masks, block_masks, block_size, indices, one_mask, through_time

MIDDLES = [(i + 0.5) / 200 for i in range(200)]  # midpoint rule over the aspect


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def covered(grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """The probability of each patch to lie in a block at a uniformly drawn place, by trying all places."""
    places = [(r, c) for r in range(grid[0] - size[0] + 1) for c in range(grid[1] - size[1] + 1)]
    count = torch.zeros(grid, dtype=torch.float64)
    for r, c in places:
        count[r : r + size[0], c : c + size[1]] += 1
    return count.flatten() / len(places)


def close(found: Tensor, expected: Tensor | float, what: str, errors: float = 4.5) -> None:
    """The mean of rows, found (N, ...), lies within so many of its own standard errors of the expected."""
    error = found.double().std(0) / math.sqrt(len(found))
    off = (found.double().mean(0) - expected).abs() / error.clamp(min=1e-12)
    assert float(off.max()) < errors, f"{what}: {off.max():.1f} standard errors off"


def as_mask(index: Tensor, count: int) -> Tensor:
    return torch.zeros(len(index), count, dtype=torch.bool).scatter_(1, index.flatten(1), True)


# --- sizes --------------------------------------------------------------------------------------------------


def test_the_official_sizes_of_target_blocks() -> None:
    masks = MultiBlock((16, 16), official=True)
    assert masks.size((0.15, 0.2), (0.75, 1.5), 0.0, 0.9) == (5, 7)  # the second number is not used
    assert masks.size((0.15, 0.2), (0.75, 1.5), 1 - 1e-9, 0.0) == (9, 6)
    free = MultiBlock((16, 16))
    assert free.size((0.15, 0.2), (0.75, 1.5), 0.0, 1 - 1e-9) == (8, 5)  # small and tall: only apart
    areas = [int(196 * 0.15), int(196 * 0.7)]
    assert areas == [29, 137]
    assert [block_size((14, 14), s, 1.0) for s in (0.15, 0.7)] == [(5, 5), (12, 12)]
    assert block_size((14, 14), 0.7, 1.5) == (14, 10) and block_size((7, 7), 1.0, 4.0) == (7, 4)


def test_officially_a_context_block_of_14_x_14_never_sees_the_last_row_and_column() -> None:
    drawn = MultiBlock((14, 14), official=True, min_keep=0, targets=1).draw(200, seeded())
    seen = as_mask(one_mask(drawn.context), 196).any(0).view(14, 14)
    assert not seen[-1].any() and not seen[:, -1].any() and seen[:-1, :-1].sum() > 100
    seen = torch.zeros(196, dtype=torch.bool)
    for seed in range(20):
        seen |= as_mask(one_mask(MultiBlock((14, 14)).draw(20, seeded(seed)).context), 196).any(0)
    assert seen.all()


def test_target_blocks_have_the_shares_of_the_paper() -> None:
    """|T_m| / P over steps, against the average over scale and aspect; both drawn apart."""
    grid, masks = (14, 14), MultiBlock((14, 14))
    sizes = [masks.size((0.15, 0.2), (0.75, 1.5), u, v) for u in MIDDLES for v in MIDDLES]
    expected = sum(h * w for h, w in sizes) / len(sizes) / 196
    assert 0.15 < expected < 0.2
    generator, lengths, tall = seeded(), [], []
    for _ in range(800):
        targets = one_mask(masks.draw(1, generator).targets)
        lengths.append(targets.shape[2] / 196)
        rows = targets[0, 0] // grid[1]
        tall.append(float(rows.max() - rows.min() + 1))
    close(torch.tensor(lengths), expected, "share of a target block")
    close(torch.tensor(tall), sum(h for h, _ in sizes) / len(sizes), "rows of a target block")


# --- positions and overlaps ---------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [(14, 14), (7, 9)])
def test_target_blocks_lie_anywhere_alike(grid: tuple[int, int]) -> None:
    masks = MultiBlock(grid, scale=(0.17, 0.17), aspect=(1.2, 1.2))
    size = block_size(grid, 0.17, 1.2)
    targets = one_mask(masks.draw(2000, seeded()).targets)
    assert targets.shape == (2000, 4, size[0] * size[1])
    place = targets[:, :, 0]  # the corner says it all
    corner = torch.stack([place // grid[1], place % grid[1]], 2)  # (B, M, 2)
    offsets = (torch.arange(size[0])[:, None] * grid[1] + torch.arange(size[1])).flatten()
    assert torch.equal(targets, place[..., None] + offsets)
    for axis in (0, 1):
        ways = grid[axis] - size[axis] + 1
        for offset in range(ways):
            hits = (corner[:, :, axis] == offset).double().flatten()
            close(hits, 1 / ways, f"offset {offset} of axis {axis}")
    apart = (corner[:, 0] == corner[:, 1]).all(1).double()
    ways = math.prod(n - k + 1 for n, k in zip(grid, size, strict=True))
    close(apart, 1 / ways, "two blocks at one place")


def test_context_is_a_block_less_the_targets_with_the_probability_that_follows() -> None:
    """P(patch p is context) = c_p (1 - q_p)⁴, c and q the coverages of a context and of a target block."""
    grid = (14, 14)
    masks = MultiBlock(grid, scale=(0.17, 0.17), aspect=(1.2, 1.2), context_scale=(0.85, 0.85), min_keep=0)
    c, q = covered(grid, block_size(grid, 0.85, 1.0)), covered(grid, block_size(grid, 0.17, 1.2))
    generator = seeded()
    seen = torch.cat([as_mask(one_mask(masks.draw(1, generator).context), 196) for _ in range(1500)])
    close(seen, c * (1 - q) ** 4, "patches of the context")
    close(seen.sum(1), float((c * (1 - q) ** 4).sum()), "size of the context")


@pytest.mark.parametrize(("grid", "official"), [((14, 14), False), ((14, 14), True), ((7, 7), False)])
def test_context_and_targets_never_overlap(grid: tuple[int, int], official: bool) -> None:
    masks = MultiBlock(grid, min_keep=4, official=official)
    for seed in range(20):
        context, targets = (one_mask(each) for each in masks.draw(64, seeded(seed)))
        assert context.dtype == targets.dtype == torch.int64 and context.shape[1] > 4
        assert not (context[:, :, None] == targets.flatten(1)[:, None]).any()
        assert (context.diff(dim=1) > 0).all() and (targets.diff(dim=2) > 0).all()
        assert min(context.min(), targets.min()) >= 0 and max(context.max(), targets.max()) < math.prod(grid)


def test_the_last_target_is_given_up_first_and_only_where_it_has_to_be() -> None:
    masks = MultiBlock((6, 6), targets=2, min_keep=10)
    left, all_of_it = torch.zeros(36, dtype=torch.bool), torch.ones(36, dtype=torch.bool)
    left[torch.arange(36) % 6 < 3] = True
    crowded, roomy = torch.stack([left, all_of_it]), torch.stack([left, left])
    hopeless = torch.stack([all_of_it, left])
    keep = masks._context((6, 6), torch.stack([crowded, roomy, hopeless]), seeded())
    assert torch.equal(keep[0], ~left) and torch.equal(keep[1], ~left)  # row 0 gave up its last target alone
    assert keep[2].all()  # row 2 had to give up both: its first one is everywhere


def test_a_context_keeps_more_than_min_keep() -> None:
    for min_keep in (10, 15, 20):
        masks = MultiBlock((7, 7), min_keep=min_keep)
        least = min(one_mask(masks.draw(128, seeded(seed)).context).shape[1] for seed in range(5))
        assert least == min_keep + 1  # of so many rows one is at the border


# --- as many in every row -----------------------------------------------------------------------------------


def test_what_is_too_much_is_left_out_at_random_or_at_the_end() -> None:
    mask = torch.zeros(2, 9, dtype=torch.bool)
    mask[0, [0, 2, 3, 5, 8]], mask[1, [1, 7]] = True, True
    assert indices(mask, raster=True).tolist() == [[0, 2], [1, 7]]
    generator = seeded()
    kept = torch.stack([as_mask(indices(mask, generator), 9) for _ in range(2000)])
    expected = torch.tensor([0.4, 0, 0.4, 0.4, 0, 0.4, 0, 0, 0.4], dtype=torch.float64)
    close(kept[:, 0], expected, "kept patches of the longer row")
    assert torch.equal(kept[:, 1], mask[1].expand(2000, 9))


def test_random_patches_hide_their_share_and_all_alike() -> None:
    context, targets = (one_mask(each) for each in RandomPatches((3, 4), 0.75).draw(4000, seeded()))
    assert context.shape == (4000, 3) and targets.shape == (4000, 1, 9)
    seen = as_mask(context, 12)
    assert torch.equal(seen, ~as_mask(targets, 12))
    close(seen, 0.25, "each patch")
    close(seen[:, 0] & seen[:, 1], 3 * 2 / (12 * 11), "two patches")
    context, _ = RandomPatches((5, 3, 4), 0.75).draw(8, seeded())
    by_time = as_mask(one_mask(context), 60).view(8, 5, 12)
    assert (by_time == by_time[:, :1]).all() and (by_time.sum(2) == 3).all()


# --- clips --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("blocks", "scale"), [(8, 0.15), (2, 0.7)])
@pytest.mark.parametrize("official", [False, True])
def test_tubes_hide_the_share_that_follows_from_their_blocks(
    blocks: int, scale: float, official: bool
) -> None:
    """P(a place is hidden) = 1 - (1 - q)ⁿ, over aspects; nothing is both, and alone nothing is left out."""
    grid, places = (8, 14, 14), (14, 14)
    sizes = [block_size(places, scale, 0.75 + 0.75 * v) for v in MIDDLES]
    hidden = {size: 1 - (1 - covered(places, size)) ** blocks for size in set(sizes)}
    expected = torch.stack([hidden[size] for size in sizes]).mean(0)
    masks, generator, found = TubeBlocks(grid, blocks, scale, official=official), seeded(), []
    for _ in range(800):
        context, targets = (one_mask(each) for each in masks.draw(1, generator))
        target = as_mask(targets, 1568)
        assert torch.equal(as_mask(context, 1568), ~target) and context.shape[1] > 0
        by_time = target.view(8, 196)
        assert (by_time == by_time[0]).all()
        found.append(by_time[0])
    close(torch.stack(found), expected, "hidden places")
    assert 0.6 < float(expected.mean()) < 0.95


def test_both_ranges_of_vjepa_hide_most_of_a_clip() -> None:
    """The paper: about nine tenths are hidden; so it is when a batch of 24 lost its surplus of context."""
    left = []
    for seed in range(20):
        contexts, targets = vjepa_masks((8, 14, 14)).draw(24, seeded(seed))
        assert len(contexts) == len(targets) == 2
        left.append(sum(each.shape[1] for each in contexts) / 2 / 1568)
        for each, hidden in zip(contexts, targets, strict=True):
            assert not (each[:, :, None] == hidden.flatten(1)[:, None]).any()
    assert 0.05 < sum(left) / 20 < 0.15


def test_tubes_are_cut_through_all_times_or_officially_at_the_end() -> None:
    for official in (False, True):
        context = one_mask(TubeBlocks((4, 6, 6), 3, 0.3, official=official).draw(16, seeded()).context)
        by_time = as_mask(context, 144).view(16, 4, 36).sum(2)
        assert bool((by_time == by_time[:, :1]).all()) is not official
    assert (by_time[:, 0] >= by_time[:, 3]).all() and (by_time[:, 0] > by_time[:, 3]).any()


def test_a_clip_of_which_nothing_is_left_is_masked_anew() -> None:
    masks = TubeBlocks((2, 4, 4), 2, 0.7, aspect=(0.75, 0.75))  # two blocks of 3 x 4 often hide all 4 rows
    context = one_mask(masks.draw(500, seeded()).context)
    assert context.shape == (500, 8)  # what is left is one row of 4 places, at both times
    more = TubeBlocks((2, 4, 4), 1, 0.3, min_keep=9).draw(50, seeded())
    assert one_mask(more.context).shape[1] >= 2 * 10


# --- against loops, and the same again ----------------------------------------------------------------------


def test_blocks_and_times_against_loops() -> None:
    grid, size = (4, 5), (2, 3)
    top, left = torch.tensor([[0, 2], [1, 0]]), torch.tensor([[2, 0], [1, 1]])
    found = block_masks(grid, size, top, left).view(2, 2, 4, 5)
    for i in range(2):
        for j in range(2):
            for r in range(4):
                for c in range(5):
                    inside = 0 <= r - int(top[i, j]) < 2 and 0 <= c - int(left[i, j]) < 3
                    assert bool(found[i, j, r, c]) is inside
    assert through_time(torch.tensor([[0, 3]]), (3, 2, 2)).tolist() == [[0, 3, 4, 7, 8, 11]]


EVERY: dict[str, Masks] = {
    "multi-block": MultiBlock((7, 7)),
    "official": MultiBlock((14, 14), official=True),
    "tubes": TubeBlocks((2, 6, 6), 3, (0.1, 0.3)),
    "both ranges": vjepa_masks((2, 6, 6), min_keep=2, official=True),
    "random": RandomPatches((4, 4), 0.5),
}


@pytest.mark.parametrize("name", EVERY)
def test_masks_come_from_their_generator_alone(name: str) -> None:
    state = torch.get_rng_state()
    draws = [EVERY[name].draw(5, seeded(seed)) for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), state)

    def all_of(drawn: Any) -> list[Tensor]:
        parts = [part if isinstance(part, tuple) else (part,) for part in drawn]
        return [*parts[0], *parts[1]]

    assert all(torch.equal(a, b) for a, b in zip(all_of(draws[0]), all_of(draws[1]), strict=True))
    other = zip(all_of(draws[0]), all_of(draws[2]), strict=True)
    assert any(a.shape != b.shape or not torch.equal(a, b) for a, b in other)


BAD: dict[str, Callable[[], object]] = {
    r"grid of the patches, \(rows, columns\); got \(8, 7, 7\)": lambda: MultiBlock((8, 7, 7)),
    r"grid of the patches, \(times, rows, columns\); got \(7, 7\)": lambda: TubeBlocks((7, 7), 1, 0.5),
    "one target block or more; got 0": lambda: MultiBlock((7, 7), targets=0),
    "one block or more; got 0": lambda: TubeBlocks((2, 7, 7), 0, 0.5),
    r"scale=\(low, high\) with 0 < low <= high <= 1": lambda: MultiBlock((7, 7), scale=(0.3, 0.2)),
    r"aspect=\(low, high\) with 0 < low <= high;": lambda: MultiBlock((7, 7), aspect=(0.0, 1.0)),
    "3 x 3 patches cannot keep more than min_keep=10": lambda: MultiBlock((3, 3)),
    "never leave more than 0 of 4 x 4 places": lambda: TubeBlocks((2, 4, 4), 1, 1.0, aspect=(1.0, 1.0)).draw(
        2
    ),
    "one row or more; got 0": lambda: MultiBlock((7, 7)).draw(0),
    "a share of 0.01 hides 0": lambda: RandomPatches((4, 4), 0.01),
}


@pytest.mark.parametrize("match", BAD)
def test_bad_settings_are_refused(match: str) -> None:
    with pytest.raises(ValueError, match=match):
        BAD[match]()


def test_several_masks_are_masks() -> None:
    with pytest.raises(TypeError, match="takes masks such as MultiBlock"):
        SeveralMasks()
