"""Crops against slices, torch's own resizing, and a loop that draws boxes; places against ramps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn.functional import interpolate

from ebm.views import Box, Compose, GaussianBlur, HorizontalFlip, Maybe, RandomResizedCrop, locations

F64 = torch.float64


def box(*rows: tuple[float, ...]) -> Box:
    return Box(*torch.tensor(rows, dtype=F64).T)


def pictures(rows: int, height: int, width: int) -> Tensor:
    return torch.rand(rows, 2, height, width, generator=torch.Generator().manual_seed(0), dtype=F64)


def test_the_whole_image_at_its_own_size_is_the_image() -> None:
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        x = pictures(4, 28, 28).to(dtype)
        view, found = RandomResizedCrop(28, scale=(1.0, 1.0), ratio=(1.0, 1.0))(x)
        assert torch.equal(view, x)
        assert found.top.eq(0).all() and found.height.eq(28).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_crop_that_keeps_its_size_is_a_slice(dtype: torch.dtype) -> None:
    x = pictures(3, 20, 30).to(dtype)
    boxes = [(0, 0, 8, 12, 20, 30), (12, 18, 8, 12, 20, 30), (5, 7, 8, 12, 20, 30)]
    view = RandomResizedCrop((8, 12)).apply(x, Box(*torch.tensor(boxes, dtype=dtype).T))
    for row, (top, left, height, width, _, _) in enumerate(boxes):
        assert torch.equal(view[row], x[row, :, top : top + height, left : left + width])


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("size", [(5, 7), (16, 16), (40, 33)])
def test_resizing_is_that_of_torch_on_the_cropped_image(size: tuple[int, int], antialias: bool) -> None:
    x = pictures(40, 24, 31)
    crop = RandomResizedCrop(size, antialias=antialias)
    view, found = crop(x, torch.Generator().manual_seed(1))
    for row, (top, left, height, width) in enumerate(
        zip(*(side.int().tolist() for side in found[:4]), strict=True)
    ):
        part = x[row : row + 1, :, top : top + height, left : left + width]
        expected = interpolate(part, size, mode="bilinear", antialias=antialias, align_corners=False)
        torch.testing.assert_close(view[row], expected[0], rtol=0, atol=1e-13)


def test_a_box_cuts_the_same_part_out_of_an_image_of_another_resolution() -> None:
    x = pictures(1, 10, 15)
    view = RandomResizedCrop((4, 5)).apply(x, box((4, 10, 8, 10, 20, 30)))  # drawn for 20 x 30
    assert torch.equal(view, x[:, :, 2:6, 5:10])


def test_area_shape_and_place_are_distributed_as_published(generator: torch.Generator) -> None:
    images = torch.empty(1, dtype=F64).expand(20000, 1, 3000, 3000)  # large: rounding to pixels doesn't show
    found = RandomResizedCrop(8, scale=(0.1, 0.4), ratio=(0.5, 2.0)).draw(images, generator)
    area = found.height * found.width / 3000**2
    shape = (found.width / found.height).log() / math.log(2)
    down, across = found.top / (3000 - found.height), found.left / (3000 - found.width)
    for values, low, high in ((area, 0.1, 0.4), (shape, -1, 1), (down, 0, 1), (across, 0, 1)):
        assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-3
    drawn = torch.stack([area, shape, down, across])
    off = torch.corrcoef(drawn)[~torch.eye(4, dtype=torch.bool)]
    assert off.abs().max() < 4 / math.sqrt(20000)


def proposals(
    rows: int, columns: int, scale: tuple[float, float], ratio: tuple[float, float], n: int
) -> list[int]:
    """How often each box comes, drawn one by one: the code number of (top, left, height, width)."""
    rng, counts = np.random.default_rng(0), [0] * (rows + 1) ** 4
    for _ in range(n):
        for _ in range(10):
            area = rows * columns * rng.uniform(*scale)
            shape = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
            width, height = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
            if 0 < width <= columns and 0 < height <= rows:
                top, left = rng.integers(0, rows - height + 1), rng.integers(0, columns - width + 1)
                break
        else:
            raise AssertionError("ten proposals that don't fit")
        counts[((top * 5 + left) * 5 + height) * 5 + width] += 1
    return counts


def test_proposals_that_do_not_fit_are_drawn_again(generator: torch.Generator) -> None:
    n, scale, ratio = 20000, (0.3, 1.0), (0.5, 2.0)
    images = torch.empty(1, dtype=F64).expand(n, 1, 4, 4)
    top, left, height, width, *_ = RandomResizedCrop(4, scale=scale, ratio=ratio).draw(images, generator)
    code = (((top * 5 + left) * 5 + height) * 5 + width).long()
    table = np.array([torch.bincount(code, minlength=5**4).tolist(), proposals(4, 4, scale, ratio, n)])
    assert stats.chi2_contingency(table[:, table.sum(0) > 20]).pvalue > 1e-3
    assert (table.sum(0) > 20).sum() > 30


@pytest.mark.parametrize(
    ("height", "width", "ratio", "expected"),
    [
        (12, 12, (3.0, 3.0), (4, 0, 4, 12)),
        (12, 12, (1 / 4, 1 / 4), (0, 4, 12, 3)),
        (10, 40, (0.5, 2.0), (0, 10, 10, 20)),
        (1, 1, (5.0, 5.0), (0, 0, 1, 1)),
    ],
)
def test_if_nothing_fits_the_largest_centered_box_is_taken(
    height: int, width: int, ratio: tuple[float, float], expected: tuple[int, ...]
) -> None:
    found = RandomResizedCrop(4, scale=(1.0, 1.0), ratio=ratio).draw(torch.empty(3, 1, height, width))
    for row in range(3):
        assert tuple(side[row].item() for side in found) == (*expected, height, width)


# --- flips, and where things are ----------------------------------------------------------------------------


def test_flips(generator: torch.Generator) -> None:
    x = pictures(4000, 2, 3)
    view, (flipped,) = HorizontalFlip(0.3)(x, generator)
    expected = torch.stack([row[:, :, [2, 1, 0]] if f else row for row, f in zip(x, flipped, strict=True)])
    assert torch.equal(view, expected)
    assert abs(flipped.double().mean() - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 4000)
    twice = HorizontalFlip(1.0)
    assert torch.equal(twice(twice(x).value).value, x)


def ramps(rows: int, height: int, width: int) -> Tensor:
    """Images whose two channels are the row and the column of each pixel's center, (N, 2, H, W)."""
    row, column = torch.meshgrid(
        torch.arange(height, dtype=F64) + 0.5, torch.arange(width, dtype=F64) + 0.5, indexing="ij"
    )
    return torch.stack([row, column]).expand(rows, -1, -1, -1)


def test_locations_are_what_the_pixels_of_a_ramp_say(generator: torch.Generator) -> None:
    """Bilinear interpolation keeps a ramp, so a view's pixels show where they come from."""
    steps = (
        HorizontalFlip(),
        RandomResizedCrop((20, 24), scale=(0.4, 0.8), antialias=False),
        Maybe(0.5, HorizontalFlip(0.7)),
        RandomResizedCrop((6, 8), antialias=False),
        GaussianBlur((1e-3, 1e-3)),
    )
    transform = Compose(*steps)
    view, parameters = transform(ramps(50, 40, 30), generator)
    found = locations(transform, parameters, (6, 8), image=(40, 30))
    assert found.shape == (50, 48, 2)
    # the outermost half pixel of a crop shows that pixel's center: look at what lies further inside of both
    middle = torch.ones(50, 48, dtype=torch.bool)
    for at, image in ((1, (40, 30)), (3, (20, 24))):
        rest = Compose(*steps[at:])
        drawn = dict(zip(rest.steps, list(parameters.values())[at:], strict=True))
        b = drawn["random resized crop"]
        corner, sides = torch.stack([b.top, b.left], 1)[:, None], torch.stack([b.height, b.width], 1)[:, None]
        step = sides / sides.new_tensor([20, 24])  # of the first view's pixels, which the second one mixes
        edge = 0.5 + (step if at == 1 else 0.0)
        low, high = corner + edge, corner + sides - edge
        place = locations(rest, drawn, (6, 8), image=image)
        middle &= ((place >= low) & (place <= high)).all(2)
    assert middle.double().mean() > 0.4
    torch.testing.assert_close(found[middle], view.flatten(2).mT[middle], rtol=0, atol=1e-12)


def test_locations_of_rows_that_were_not_cropped(generator: torch.Generator) -> None:
    maybe, crop = Maybe(0.5, RandomResizedCrop((4, 6))), RandomResizedCrop((4, 6))
    chosen = maybe.draw(pictures(20, 4, 6), generator)
    found, moved = locations(maybe, chosen, (2, 2)), locations(crop, chosen.parameters, (2, 2))
    still = torch.tensor([[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]], dtype=F64)
    assert torch.equal(found, torch.where(chosen.applied[:, None, None], moved, still))
    assert not chosen.applied.all() and chosen.applied.any()


def test_locations_of_one_box_and_its_mirror_image() -> None:
    transform = Compose(RandomResizedCrop(8), HorizontalFlip())
    x = torch.empty(2, 1, 100, 200, dtype=F64)
    parameters = transform.draw(x)
    parameters["random resized crop"] = box((10, 20, 30, 60, 100, 200), (10, 20, 30, 60, 100, 200))
    parameters["horizontal flip"] = parameters["horizontal flip"]._replace(
        flipped=torch.tensor([False, True])
    )
    plain = [[15, 35], [15, 65], [25, 35], [25, 65], [35, 35], [35, 65]]  # centers of 3 x 2 cells of 10 x 30
    mirror = [plain[i] for i in (1, 0, 3, 2, 5, 4)]
    expected = torch.tensor([plain, mirror], dtype=F64)
    torch.testing.assert_close(locations(transform, parameters, (3, 2), image=(100, 200)), expected)
    fractions = locations(transform, parameters, (3, 2))
    torch.testing.assert_close(fractions * torch.tensor([100.0, 200.0], dtype=F64), expected)
    with pytest.raises(ValueError, match=r"at least one row and column of cells; got grid=\(0, 2\)"):
        locations(transform, parameters, (0, 2))
