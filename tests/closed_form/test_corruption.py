"""Corruptions against the statistics that they promise, every one within 4 of its standard errors."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ebm.contrastive import BlockMasking, BlockSwap, Corruption, Gaussian, Masking, SaltAndPepper
from ebm.contrastive.corruption import rectangles

DOUBLE = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DOUBLE)


def near(values: Tensor, exact: float) -> None:
    """The mean of independent values is `exact`, within 4 of its standard errors."""
    error = float(values.double().std()) / math.sqrt(len(values))
    mean = float(values.double().mean())
    assert abs(mean - exact) <= 4 * error, f"{mean} ± {error}, not {exact}"


def uniform(values: Tensor, lowest: int, highest: int) -> None:
    """Whole numbers from lowest to highest, each as often as the others."""
    assert lowest == int(values.min()) and int(values.max()) == highest
    for value in range(lowest, highest + 1):
        near(values == value, 1 / (highest - lowest + 1))


def test_gaussian_noise_has_its_variance_and_no_more() -> None:
    y = draw(2000, 5, 4)
    noise = (Gaussian(0.3)(y, seeded(1)) - y).flatten()
    near(noise, 0.0)
    near(noise.square(), 0.09)
    near(noise**4, 3 * 0.09**2)
    assert torch.equal(Gaussian(0.0)(y, seeded()), y)


def test_a_range_of_noises_is_one_scale_a_row_and_uniform() -> None:
    """⟨σ²⟩ = (l² + lh + h²) / 3 and ⟨σ⁴⟩ = (h⁵ - l⁵) / 5(h - l); the square of a row's noise, over its P
    entries, has mean σ² and mean square σ⁴ (1 + 2/P)."""
    low, high, size = 0.2, 1.0, 400
    noise = Gaussian(high, lowest=low)(torch.zeros(5000, 20, 20, dtype=DOUBLE), seeded(1))
    power = noise.square().mean((1, 2))
    near(power, (low**2 + low * high + high**2) / 3)
    near(power**2, (high**5 - low**5) / (5 * (high - low)) * (1 + 2 / size))
    near((power < 0.36), 0.5)  # the middle of the range of σ is 0.6
    near(noise[:, 3, 4] * noise[:, 7, 1], 0.0)


def test_masking_hides_its_share_entry_by_entry() -> None:
    share, y = 0.3, draw(4000, 5, 5)
    spoilt = Masking(share, value=-7.0)(y, seeded(1))
    hidden = spoilt == -7.0
    assert torch.equal(spoilt[~hidden], y[~hidden])
    near(hidden.flatten(), share)
    count = hidden.flatten(1).sum(1).double()  # binomial: entries are hidden on their own
    near((count - 25 * share).square(), 25 * share * (1 - share))
    assert torch.equal(Masking(0.0)(y, seeded()), y) and not Masking(1.0)(y, seeded()).any()


def test_salt_and_pepper_have_half_the_share_each() -> None:
    share, y = 0.4, draw(3000, 6, 5)
    spoilt = SaltAndPepper(share, low=-7.0, high=9.0)(y, seeded(1))
    low, high = spoilt == -7.0, spoilt == 9.0
    near(low.flatten(), share / 2)
    near(high.flatten(), share / 2)
    kept = ~(low | high)
    assert torch.equal(spoilt[kept], y[kept])
    all_gone = SaltAndPepper(1.0)(y, seeded())
    assert all_gone.unique().tolist() == [0.0, 1.0]


def test_blocks_are_rectangles_of_every_size_in_every_place() -> None:
    batch, height, width, smallest, largest = 12_000, 5, 6, 2, 4
    y = torch.ones(batch, 3, height, width, dtype=DOUBLE)
    spoilt = BlockMasking(smallest, largest, value=-7.0)(y, seeded(1))
    assert bool((spoilt == spoilt[:, :1]).all())  # the same block in every channel
    mask = spoilt[:, 0] == -7.0
    rows, columns = mask.any(2), mask.any(1)
    assert torch.equal(mask, rows[:, :, None] & columns[:, None, :])
    sides = []
    for inside, size in ((rows, height), (columns, width)):
        side, first = inside.sum(1), inside.double().argmax(1)
        place = torch.arange(size)
        assert torch.equal(inside, (place >= first[:, None]) & (place < (first + side)[:, None]))  # no hole
        uniform(side, smallest, largest)
        for length in range(smallest, largest + 1):
            uniform(first[side == length], 0, size - length)
        sides.append(side.double())
    near((sides[0] - 3) * (sides[1] - 3), 0.0)
    assert torch.equal(rectangles(y[:, 0], smallest, largest, seeded(1)), mask)  # (B, H, W) as well
    assert BlockMasking(5, 5)(y[..., :5], seeded()).abs().sum() == 0


def test_blocks_are_swapped_for_those_of_another_row() -> None:
    share, batch = 0.7, 24
    y = torch.arange(float(batch), dtype=DOUBLE).view(batch, 1, 1).expand(batch, 4, 4)  # row i holds i
    swap, generator = BlockSwap(share, 1, 4), seeded(1)
    shifts, foreign = [], []
    for _ in range(800):
        spoilt = swap(y, generator)
        moved = spoilt != y
        came = (y - spoilt)[moved].remainder(batch)
        assert len(came.unique()) <= 1  # all rows take theirs from equally far away
        shifts += came.unique().tolist()
        foreign.append(moved.flatten(1).sum(1))
    uniform(torch.tensor(shifts), 1, batch - 1)
    near(torch.cat(foreign) > 0, share * 15 / 16)  # a block as large as the image leaves nothing to swap
    areas = torch.tensor([min(h * w, 16 - h * w) for h in range(1, 5) for w in range(1, 5)])
    for area in range(1, 9):  # the rest is swapped where the block is the larger part
        near(torch.cat(foreign) == area, share * float((areas == area).double().mean()))
    assert torch.equal(BlockSwap(0.0, 1, 4)(y, generator), y)


EVERY: dict[str, Callable[[], Corruption]] = {
    "Gaussian": lambda: Gaussian(0.5),
    "Gaussian, a range": lambda: Gaussian(0.5, lowest=0.1),
    "Masking": lambda: Masking(0.5),
    "SaltAndPepper": lambda: SaltAndPepper(0.5),
    "BlockMasking": lambda: BlockMasking(1, 3),
    "BlockSwap": lambda: BlockSwap(0.9, 1, 3),
    "two": lambda: BlockSwap(0.9, 1, 3).then(Gaussian(0.5)),
}


@pytest.mark.parametrize("name", EVERY)
def test_the_same_generator_spoils_alike_and_leaves_the_data_alone(name: str) -> None:
    spoil, y = EVERY[name](), draw(8, 2, 4, 4)
    before, state = y.clone(), torch.get_rng_state()
    spoilt = spoil(y, seeded(3))
    assert torch.equal(spoilt, spoil(y, seeded(3))) and not torch.equal(spoilt, spoil(y, seeded(4)))
    assert torch.equal(y, before) and not torch.equal(spoilt, y) and spoilt.shape == y.shape
    assert torch.equal(torch.get_rng_state(), state)  # the global generator is not asked
    assert spoil(y.float(), seeded()).dtype == torch.float32
    if "Gaussian" in name:  # every row and every entry on its own draw: no two rows are spoilt alike
        assert len((spoilt - y).flatten(1).unique(dim=0)) == len(y)
    torch.manual_seed(0)
    free = spoil(y)
    torch.manual_seed(0)
    assert torch.equal(free, spoil(y))  # without one, the global one is


def test_then_is_one_after_the_other() -> None:
    y, g = draw(5, 4, 4), seeded(2)
    first, second, third = BlockMasking(1, 3), SaltAndPepper(0.2), Gaussian(0.1)
    expected = third(second(first(y, g), g), g)
    assert torch.equal(first.then(second).then(third)(y, seeded(2)), expected)
    assert torch.equal(first.then(second.then(third))(y, seeded(2)), expected)
    assert not torch.equal(second.then(first)(y, seeded(2)), first.then(second)(y, seeded(2)))


Y = torch.zeros(3, 16)
BAD: dict[str, tuple[Callable[[], object], str]] = {
    "scale": (lambda: Gaussian(-1.0), "0 <= lowest <= scale; got lowest=None, scale=-1.0"),
    "NaN": (lambda: Gaussian(math.nan), "got lowest=None, scale=nan"),
    "lowest": (lambda: Gaussian(0.1, lowest=0.2), "got lowest=0.2, scale=0.1"),
    "share": (lambda: Masking(1.1), "Masking needs share in [0, 1]; got 1.1"),
    "salt": (lambda: SaltAndPepper(-0.1), "SaltAndPepper needs share in [0, 1]; got -0.1"),
    "swap": (lambda: BlockSwap(math.nan, 1, 2), "BlockSwap needs share in [0, 1]; got nan"),
    "sides": (lambda: BlockMasking(3, 2), "BlockMasking needs 1 <= smallest <= largest, in pixels; got 3 "),
    "none": (lambda: BlockSwap(0.5, 0, 2), "BlockSwap needs 1 <= smallest <= largest, in pixels; got 0 and"),
    "rows": (lambda: BlockMasking(2, 3)(Y), "got (3, 16). Reshape rows to images first: y.unflatten"),
    "small": (lambda: BlockSwap(1.0, 2, 5)(Y.view(3, 4, 4)), "blocks of up to 5 x 5 pixels need images"),
    "alone": (lambda: BlockSwap(1.0, 2, 3)(Y[:1].view(1, 4, 4)), "other rows of the batch; got 1 row(s)"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_settings_are_told(name: str) -> None:
    call, message = BAD[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
