"""Moving digits: motion step by step with walls, pictures against torch's own bilinear sampling, labels."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import affine_grid, grid_sample

from ebm.data import digits, moving_digits
from ebm.data.moving_digits import fold, hats


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_positions_are_those_of_a_ball_that_is_thrown_back_at_walls() -> None:
    found = moving_digits(50, frames=60, speed=(0.5, 3.0), generator=seeded(), dtype=torch.float64)
    room, bounces = 16.0, 0
    for n in range(50):
        for axis in (0, 1):
            q, v = float(found.positions[n, 0, 0, axis]), float(found.velocities[n, 0, 0, axis])
            for t in range(60):
                assert float(found.positions[n, t, 0, axis]) == pytest.approx(q, abs=1e-9)
                assert float(found.velocities[n, t, 0, axis]) == pytest.approx(v, abs=1e-9)
                q += v
                if not 0 <= q <= room:
                    q, v, bounces = (-q if q < 0 else 2 * room - q), -v, bounces + 1
    assert bounces > 100
    assert found.positions.min() >= 0 and found.positions.max() <= room


def test_frames_are_the_digits_enlarged_at_their_positions() -> None:
    found = moving_digits(4, "test", frames=5, side=20, size=12, generator=seeded(3), dtype=torch.float64)
    images, labels = digits("test", dtype=torch.float64)
    for n in range(4):
        shown = []
        for image in images[labels == found.labels[n, 0]]:
            for t in (0, 4):
                row, column = found.positions[n, t, 0].tolist()
                # from places in the frame to those in the digit, both from -1 to 1
                right, down = ((20 - 2 * q - 12) / 12 for q in (column, row))
                theta = torch.tensor([[[20 / 12, 0, right], [0, 20 / 12, down]]], dtype=torch.float64)
                grid = affine_grid(theta, [1, 1, 20, 20], align_corners=False)
                drawn = grid_sample(image[None, None], grid, align_corners=False)[0, 0]
                shown.append((drawn - found.clips[n, t]).abs().max())
        off = torch.stack(shown).view(-1, 2).amax(1)
        assert off.min() < 1e-12 and (off > 0.1).sum() >= len(off) - 2  # one of its class, at both times


def test_at_whole_pixels_in_its_own_size_a_digit_is_shown_as_it_is() -> None:
    weights = hats(torch.tensor([3.0, 5.0]), 16, 8, 8)
    image = digits("test").images[0]
    frame = weights[0] @ image @ weights[1].T
    assert torch.equal(frame[3:11, 5:13], image) and frame.sum() == image.sum()


def test_what_is_drawn_is_drawn_alike() -> None:
    found = moving_digits(4000, frames=2, speed=(0.5, 1.5), generator=seeded(1), dtype=torch.float64)
    assert found.clips.dtype == torch.float64 and found.clips.min() >= 0 and found.clips.max() <= 1
    count = torch.bincount(found.directions[:, 0], minlength=8).double()
    assert ((count - 500).abs() / math.sqrt(4000 / 8 * 7 / 8) < 4).all()
    v = found.velocities[:, 0, 0]
    angle = torch.atan2(v[:, 0], v[:, 1]) % (2 * math.pi)
    off = (angle - found.directions[:, 0].double() * math.pi / 4 + math.pi) % (2 * math.pi) - math.pi
    assert off.abs().max() < 1e-9
    for values, low, high in ((v.norm(dim=1), 0.5, 1.5), (found.positions[:, 0, 0, 0], 0.0, 16.0)):
        assert low <= values.min() and values.max() <= high
        error = (high - low) / math.sqrt(12 * 4000)
        assert abs(float(values.mean()) - (low + high) / 2) < 4 * error


def test_several_digits_and_the_splits() -> None:
    found = moving_digits(3, frames=4, count=2, size=10, generator=seeded())
    assert found.clips.shape == (3, 4, 32, 32) and found.clips.dtype == torch.get_default_dtype()
    assert found.labels.shape == found.directions.shape == (3, 2)
    assert found.positions.shape == found.velocities.shape == (3, 4, 2, 2)
    again, other = (moving_digits(3, frames=4, count=2, size=10, generator=seeded(s)) for s in (0, 1))
    assert torch.equal(found.clips, again.clips) and not torch.equal(found.clips, other.clips)
    test = moving_digits(3, "test", frames=4, count=2, size=10, generator=seeded())
    assert not torch.equal(test.clips, found.clips)
    assert moving_digits(0).clips.shape == (0, 16, 32, 32)


def test_folding_is_a_mirror_at_both_walls() -> None:
    places = torch.linspace(-20, 20, 401, dtype=torch.float64)
    found = fold(places, 3.0)
    for p, q in zip(places.tolist(), found.tolist(), strict=True):
        while not 0 <= p <= 3:
            p = -p if p < 0 else 6 - p
        assert q == pytest.approx(p, abs=1e-9)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"n": -1}, "needs n >= 0"),
        ({"n": 1, "frames": 0}, "frames >= 1"),
        ({"n": 1, "size": 32}, "0 < size < side"),
        ({"n": 1, "speed": (2.0, 1.0)}, "0 <= low <= high"),
        ({"n": 1, "split": "all"}, 'split must be "train" or "test"'),
    ],
)
def test_bad_settings_are_refused(settings: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        moving_digits(**settings)
