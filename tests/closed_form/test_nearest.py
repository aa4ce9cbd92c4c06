"""The nearest center: brute force, ties, digits far from the origin, blocks, and rows that are no numbers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ebm.regularized.nearest import Nearest, nearest, search


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def brute_force(y: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    distance = (y.unsqueeze(1) - centers).square().sum(2)
    return distance.argmin(1), distance.amin(1)


@pytest.mark.parametrize("centers", [1, 2, 31, 64, 257])
@pytest.mark.parametrize("rows", [0, 1, 100])
@pytest.mark.parametrize("max_elements", [1, 300, None])
def test_it_is_brute_force(centers, rows, max_elements):
    y, c = draw(rows, 3), draw(centers, 3, seed=1)
    index, distance = nearest(y, c, max_elements=max_elements)
    expected, squared = brute_force(y, c)
    assert torch.equal(index, expected) and index.dtype == torch.int64
    torch.testing.assert_close(distance, squared)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ties_go_to_the_smallest_number(dtype):
    generator = torch.Generator().manual_seed(0)
    y, c = (torch.randint(-2, 3, (n, 2), generator=generator).to(dtype) for n in (500, 40))
    index, distance = nearest(y, c)
    every = (y.unsqueeze(1) - c).square().sum(2)
    assert ((every == every.amin(1, keepdim=True)).sum(1) > 1).sum() > 300  # most rows have a tie
    first = (every == every.amin(1, keepdim=True)).to(torch.int8).argmax(1)
    assert torch.equal(index, first) and torch.equal(distance, every.amin(1))


def test_no_digits_are_lost_far_from_the_origin():
    y, c = draw(200, 4), draw(50, 4, seed=1)
    expected, squared = brute_force(y, c)
    index, distance = nearest((y + 1e7), (c + 1e7))
    assert torch.equal(index, expected)
    torch.testing.assert_close(distance, squared, rtol=1e-6, atol=1e-7)
    far, near = (y + 1e4).float(), (c + 1e4).float()
    index, distance = nearest(far, near)
    expected, squared = brute_force(far.double(), near.double())
    assert torch.equal(index, expected)
    torch.testing.assert_close(distance.double(), squared, rtol=1e-5, atol=1e-7)


def test_the_scores_are_the_expanded_square():
    y, c = draw(20, 3), draw(7, 3, seed=1)
    score, index = Nearest(c)(y)
    expected, squared = brute_force(y, c)
    assert torch.equal(index, expected)
    torch.testing.assert_close(y.square().sum(1) - score, squared)


def test_memory_stays_small(monkeypatch):
    sizes = []
    plain = Nearest.__call__

    def seen(self, y):
        sizes.append(len(y) * len(self.slope))
        return plain(self, y)

    monkeypatch.setattr(Nearest, "__call__", seen)
    nearest(draw(1000, 2), draw(30, 2), max_elements=900)
    assert max(sizes) <= 900 and len(sizes) == 34  # blocks of 30 rows


def test_no_graph_is_kept():
    y, c = draw(5, 2).requires_grad_(), draw(3, 2, seed=1).requires_grad_()
    assert not any(answer.requires_grad for answer in nearest(y, c))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_rows_that_are_no_numbers_are_named_and_poison_no_other(bad):
    y, c = draw(30, 3), draw(70, 3, seed=1)
    clean = nearest(y, c)
    y[17, 1] = bad
    with pytest.raises(ValueError, match=r"1 of 30 rows, \[17\], have no distance"):
        nearest(y, c)
    index, distance = search(y, c)
    others = torch.arange(30) != 17
    assert torch.equal(index[others], clean[0][others]) and torch.equal(distance[others], clean[1][others])
    assert not distance[17].isfinite() and 0 <= index[17] < 70
    with pytest.raises(ValueError, match="30 of 30 rows"):
        nearest(draw(30, 3), y[17:18])


def test_scores_that_overflow_are_refused():
    y, c = torch.tensor([[1e20]]), torch.tensor([[0.0], [1e20]])  # the square is too large, the distance is 0
    with pytest.raises(ValueError, match="too large to square"):
        nearest(y, c)
    assert nearest(y.double(), c.double())[0].tolist() == [1]


def test_bad_input():
    with pytest.raises(ValueError, match=r"rows \(N, D\) and centers \(K, D\) of one width"):
        nearest(draw(3, 2), draw(3, 4))
    with pytest.raises(ValueError, match="K at least 1"):
        nearest(draw(3, 2), draw(0, 2))
    with pytest.raises(TypeError, match=r"torch.float64 and torch.float32"):
        nearest(draw(3, 2), draw(3, 2).float())
    with pytest.raises(TypeError, match=r"floating point numbers of one dtype"):
        nearest(torch.ones(3, 2, dtype=torch.int64), torch.ones(3, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="max_elements must be an integer"):
        nearest(draw(3, 2), draw(3, 2), max_elements=0)
