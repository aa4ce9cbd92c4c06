"""VICRegL against the authors' procedure written as loops over examples, positions and pairs of views."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ebm.data import digits
from ebm.joint import OnCodes, OnViews, VICReg, VICRegL
from ebm.joint.vicregl import MatchedDistance, matched
from ebm.nets import convnet
from ebm.train import fit
from ebm.views import Compose, HorizontalFlip, RandomResizedCrop, Views, locations

DOUBLE = torch.float64
N, D, C = 6, 5, 4


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def inputs(positions: list[int], n: int = N, seed: int = 0) -> list[Tensor]:
    """Codes, maps and locations; a view for each number of positions."""
    codes = [draw(n, D, seed=seed + i) for i in range(len(positions))]
    maps = [draw(n, p, C, seed=seed + 10 + i) for i, p in enumerate(positions)]
    locations = [draw(n, p, 2, seed=seed + 20 + i) for i, p in enumerate(positions)]
    return [*codes, *maps, *locations]


def hinge(z: Tensor) -> Tensor:
    return torch.relu(1 - torch.sqrt(z.var(0) + 1e-4)).mean()


def squares(z: Tensor) -> Tensor:
    cov = torch.cov(z.T)
    return (cov.square().sum() - cov.diagonal().square().sum()) / len(cov)


def by_hand(x: Tensor, y: Tensor, place_x: Tensor, place_y: Tensor, keep: int | None) -> list[Tensor]:
    """Invariance, variance and covariance of the matches of map x in map y."""
    chosen_x, chosen_y = [], []
    for n in range(len(x)):
        pairs = []
        for p in range(x.shape[1]):
            distances = [(place_x[n, p] - place_y[n, q]).norm().item() for q in range(y.shape[1])]
            pairs.append((min(distances), p, distances.index(min(distances))))
        kept = sorted(sorted(pairs)[: keep or len(pairs)], key=lambda pair: pair[1])
        chosen_x.append(torch.stack([x[n, p] for _, p, _ in kept]))
        chosen_y.append(torch.stack([y[n, q] for _, _, q in kept]))
    a, b = torch.stack(chosen_x), torch.stack(chosen_y)  # (N, M, C)
    slots = range(a.shape[1])
    v = [torch.stack([hinge(z[:, m]) for m in slots]).mean() for z in (a, b)]
    c = [torch.stack([squares(z[:, m]) for m in slots]).mean() for z in (a, b)]
    return [(a - b).square().mean(), (v[0] + v[1]) / 2, (c[0] + c[1]) / 2]


def official(
    tensors: list[Tensor], matches: tuple[int, int], all_by_feature: bool = True
) -> dict[str, Tensor]:
    views = len(tensors) // 3
    codes, maps, at = tensors[:views], tensors[views : 2 * views], tensors[2 * views :]
    pairs = [(i, j) for i in (0, 1) for j in range(views) if j != i]
    local = torch.zeros(3, dtype=DOUBLE)
    for i, j in pairs:
        for places in (at, maps):
            first, second = (None, None) if places is maps and all_by_feature else matches
            there = by_hand(maps[i], maps[j], places[i], places[j], first)
            back = by_hand(maps[j], maps[i], places[j], places[i], second)
            local = local + (torch.stack(there) + torch.stack(back)) / 2 / len(pairs)
    whole = [
        torch.stack([(codes[i] - codes[j]).square().mean() for i, j in pairs]).mean(),
        torch.stack([hinge(z) for z in codes]).mean(),
        torch.stack([squares(z) for z in codes]).mean(),
    ]
    names = ("invariance", "variance", "covariance")
    local_terms = {f"local {name}": term for name, term in zip(names, local, strict=True)}
    return dict(zip(names, whole, strict=True)) | local_terms


@pytest.mark.parametrize("all_by_feature", [True, False])
@pytest.mark.parametrize("positions", [[5, 5], [5, 7, 3], [6, 4, 5, 2]])
def test_value_and_gradient_are_the_authors(positions: list[int], all_by_feature: bool) -> None:
    tensors = inputs(positions)
    for z in tensors[: 2 * len(positions)]:
        z.requires_grad_()
    matches = (3, 2)
    criterion = VICRegL(0.6, matches, None if all_by_feature else matches, 25.0, 20.0, 3.0)
    loss, terms = criterion(*tensors)
    exact = official(tensors, matches, all_by_feature)
    torch.testing.assert_close(
        terms, {name: term.detach() for name, term in exact.items()}, rtol=1e-11, atol=0
    )
    weights = {"invariance": 25.0, "variance": 20.0, "covariance": 3.0}
    total = sum(w * (0.6 * exact[name] + 0.4 * exact[f"local {name}"]) for name, w in weights.items())
    torch.testing.assert_close(loss, total, rtol=1e-11, atol=0)
    learned = tensors[: 2 * len(positions)]
    ours, theirs = torch.autograd.grad(loss, learned), torch.autograd.grad(total, learned)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-13)


def test_maps_on_one_grid_are_matched_place_by_place() -> None:
    x, y = draw(N, 6, C, seed=1), draw(N, 6, C, seed=2)
    grid = torch.tensor(list(itertools.product(range(3), range(2))), dtype=DOUBLE).expand(N, 6, 2)
    a, b = matched(x, y, grid, grid)
    assert torch.equal(a, x) and torch.equal(b, y)
    mirrored = grid * torch.tensor([-1.0, 1.0]) + torch.tensor(
        [2.0, 0.0]
    )  # a flipped view, in the image's frame
    order = torch.tensor([4, 5, 2, 3, 0, 1])
    assert torch.equal(matched(x, y, grid, mirrored)[1], y[:, order])
    a, b = matched(
        x, x, x, x, keep=4
    )  # by feature, every vector is its own neighbor; the first of equals are kept
    assert torch.equal(a, x[:, :4]) and torch.equal(b, a)


def test_identical_views_differ_in_nothing() -> None:
    z, maps, at = draw(N, D, seed=1), draw(N, 6, C, seed=2), draw(N, 6, 2, seed=3)
    terms = VICRegL()(z, z, maps, maps, at, at).terms
    assert terms["invariance"] == 0 and terms["local invariance"] == 0


def test_alpha_1_is_vicreg_with_half_its_covariance_and_alpha_0_knows_no_codes() -> None:
    tensors = inputs([5, 6])
    whole, local = VICRegL(alpha=1.0)(*tensors), VICRegL(alpha=0.0)(*tensors)
    plain = VICReg(covariance=0.5)(*tensors[:2])
    torch.testing.assert_close(whole.loss, plain.loss)
    assert list(whole.terms) == ["invariance", "variance", "covariance"]
    other = inputs([5, 6], seed=100)[:2]
    torch.testing.assert_close(VICRegL(alpha=0.0)(*other, *tensors[2:]).loss, local.loss)
    mixed = VICRegL(alpha=0.25)(*tensors).loss
    torch.testing.assert_close(mixed, 0.25 * whole.loss + 0.75 * local.loss)


def test_the_order_of_positions_does_not_matter() -> None:
    """With all matches kept, numbers of matches only change places; the invariance never sees them."""
    x, y, map_x, map_y, at_x, at_y = inputs([5, 7])
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    for matches, names in (((20, 20), None), ((3, 2), ["local invariance"])):
        criterion = VICRegL(0.0, matches)
        before = criterion(x, y, map_x, map_y, at_x, at_y).terms
        after = criterion(x, y, map_x, map_y[:, order], at_x, at_y[:, order]).terms
        for name in names or before:
            torch.testing.assert_close(after[name], before[name], rtol=1e-12, atol=0)


def test_locations_may_be_moved_and_scaled_together() -> None:
    tensors = inputs([5, 7])
    moved = [*tensors[:4], *(3 * at + 5 for at in tensors[4:])]
    torch.testing.assert_close(VICRegL(matches=(3, 2))(*moved).loss, VICRegL(matches=(3, 2))(*tensors).loss)


def test_single_and_half_precision() -> None:
    tensors = [z.float() for z in inputs([5, 6], n=40)]
    loss = VICRegL(matches=(3, 2))(*tensors).loss
    exact = VICRegL(matches=(3, 2))(*(z.double() for z in tensors)).loss
    assert loss.dtype == torch.float32 and abs(loss.item() - exact.item()) < 1e-6 * exact.item()
    halves = [z.bfloat16() for z in tensors]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = VICRegL()(*halves).loss
    assert torch.equal(half, VICRegL()(*(z.float() for z in halves)).loss)


def changed(number: int, value: Any) -> list[Any]:
    tensors: list[Any] = inputs([5, 6])
    tensors[number] = value
    return tensors


def test_bad_input_is_told() -> None:
    for tensors in (inputs([5, 6])[:5], inputs([5])):
        with pytest.raises(
            ValueError, match=f"V codes, then V maps, then V locations.*got {len(tensors)} tens"
        ):
            VICRegL()(*tensors)
    fits = r"a map \(N, P, C\), C the same for all, and locations \(N, P, 2\).* N = 6 as in the codes"
    for number, value in (
        (2, draw(N, C, seed=1)),
        (2, draw(N, 0, C, seed=1)),
        (3, draw(N, 6, C + 1, seed=1)),
        (3, draw(N + 1, 6, C, seed=1)),
        (5, draw(N, 5, 2, seed=1)),
        (4, draw(N, 5, 3, seed=1)),
        (4, draw(N, 5, seed=1)),
    ):
        with pytest.raises(
            ValueError, match=f"VICRegL needs for each view {fits}.*view {number % 2} has a map"
        ):
            VICRegL()(*changed(number, value))
    for n, p in ((N + 1, 6), (N, 0)):  # a map and its locations fit, but not the codes; or there are none
        tensors = inputs([5, 6])
        tensors[3], tensors[5] = draw(n, p, C, seed=1), draw(n, p, 2, seed=1)
        with pytest.raises(ValueError, match=rf"{fits}.*view 1 has a map \({n}, {p}, 4\)"):
            VICRegL()(*tensors)
    with pytest.raises(
        TypeError, match=r"locations of view 1 must be a floating-point tensor; got torch\.int64"
    ):
        VICRegL()(*changed(5, torch.zeros(N, 6, 2, dtype=torch.int64)))
    with pytest.raises(TypeError, match="map of view 0 must be a floating-point tensor; got list"):
        VICRegL()(*changed(2, [1.0]))
    with pytest.raises(ValueError, match="locations of view 1 hold NaN or infinity"):
        VICRegL()(*changed(5, torch.full((N, 6, 2), torch.nan, dtype=DOUBLE)))
    with pytest.raises(ValueError, match="VICRegL: the map of view 1 holds NaN or infinity"):
        VICRegL()(*changed(3, torch.full((N, 6, C), torch.nan, dtype=DOUBLE)))
    with pytest.raises(ValueError, match="VICRegL: the codes of view 1 hold NaN or infinity in 6 rows"):
        VICRegL()(*changed(1, torch.full((N, D), torch.nan, dtype=DOUBLE)))
    with pytest.raises(ValueError, match="needs codes of one shape"):
        VICRegL()(*changed(1, draw(N, D + 1, seed=1)))
    for settings, message in (
        ({"alpha": 1.5}, "alpha must be from 0 to 1; got 1.5"),
        ({"matches": 20}, "matches must be two numbers, for matches from a large view and back; got 20"),
        ({"matches": (20, 0)}, "matches must be an integer of at least 1; got 0"),
        ({"feature_matches": (1, 2, 3)}, "feature_matches must be two numbers"),
        ({"variance": -1.0}, "variance must be finite and at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            VICRegL(**settings)  # type: ignore[arg-type]


def test_it_learns_from_images_with_locations_of_their_crops() -> None:
    """Codes and maps of random crops, matched where the crops lie in the image."""
    generator = torch.Generator().manual_seed(0)
    net = convnet(1, 8, width=8, stages=1, generator=generator)  # 8 x 8 pixels: maps of 4 x 4
    maps = nn.Sequential(net.maps, nn.Flatten(2), Transposed())
    code = nn.Sequential(Transposed(), nn.Unflatten(2, (4, 4)), net.pool, net.linear)
    crop = Compose(RandomResizedCrop(8, scale=(0.5, 1.0)), HorizontalFlip())
    energy = (
        VICRegL(matches=(8, 4))
        .energy.compose(s_x=(code, "m_x"), s_y=(code, "m_y"))
        .compose(m_x=(maps, "x"), m_y=(maps, "y"))
    )
    assert set(energy.variables) == {"x", "y", "at_x", "at_y"}
    loss = OnViews(
        OnCodes(VICRegL(matches=(8, 4)), "s_x", "s_y", "m_x", "m_y", "at_x", "at_y"),
        Views(crop, crop),
        also={
            "at_x": lambda views: locations(crop, views[0].parameters, (4, 4)),
            "at_y": lambda views: locations(crop, views[1].parameters, (4, 4)),
        },
    )
    adam = partial(torch.optim.Adam, lr=3e-3)
    images = digits().images[:, None]
    history = fit(
        energy,
        loss,
        {"image": images},
        optimizer=adam,
        steps=60,
        batch_size=64,
        generator=generator,
        progress=False,
    )
    first, last = history.column("loss")[:5].mean(), history.column("loss")[-5:].mean()
    assert last < 0.8 * first
    assert history.column("VICRegL local variance")[-1] < history.column("VICRegL local variance")[0]


class Transposed(nn.Module):
    """(N, C, P) to (N, P, C), and back."""

    def forward(self, z: Tensor) -> Tensor:
        return z.mT


def test_the_energy_of_maps_looks_at_the_closest_position() -> None:
    m_x, m_y, at_x, at_y = (draw(3, p, 2, seed=s) for s, p in enumerate((4, 5, 4, 5)))
    came = MatchedDistance()(m_x=m_x, m_y=m_y, at_x=at_x, at_y=at_y)
    for n in range(3):
        total = 0.0
        for p in range(4):
            q = min(range(5), key=lambda q: float((at_x[n, p] - at_y[n, q]).norm()))
            total += float((m_x[n, p] - m_y[n, q]).square().sum())
        assert came[n].item() == pytest.approx(total / 4)
