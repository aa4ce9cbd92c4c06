"""A blurred mean without a latent, either of two futures with one; and what the latent may not do."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor, nn

from ebm.data.bounce import bounces, draw_balls
from ebm.loss import AverageEnergy
from ebm.nets import mlp
from ebm.regularized import LatentPredictor, WithLatent
from ebm.train import fit


class Shift(nn.Module):
    """x + z."""

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return x + z


def learned(values: int, generator: Generator, steps: int = 600) -> LatentPredictor:
    data = bounces(512, generator=generator)
    network = WithLatent(mlp(3 * 256 + values, 128, 3 * 256, generator=generator), (3, 16, 16))
    model = LatentPredictor(network, torch.eye(values))
    fit(
        model.soft_free_energy(3.0) if values > 1 else model.free_energy,
        AverageEnergy(),
        {"x": data.x, "y": data.y},
        optimizer=lambda p: torch.optim.Adam(p, lr=1e-3),
        steps=steps,
        batch_size=64,
        generator=generator,
        progress=False,
    )
    return model


def test_the_energies_are_those_of_every_value(generator: Generator) -> None:
    values = torch.randn(5, 2, generator=generator, dtype=torch.float64)
    model = LatentPredictor(Shift(), values, noise=0.7)
    x, y = (torch.randn(6, 2, generator=generator, dtype=torch.float64) for _ in "xy")
    every = torch.stack([(x + v - y).square().sum(1) / (2 * 0.49) for v in values], 1)
    found = model.infer(x, y)
    torch.testing.assert_close(found.value, values[every.argmin(1)])
    torch.testing.assert_close(model.free_energy(x=x, y=y), every.amin(1))
    torch.testing.assert_close(
        model.soft_free_energy(2.0)(x=x, y=y), -(-2 * every).logsumexp(1) / 2 + torch.tensor(5.0).log() / 2
    )
    torch.testing.assert_close(model.decode(x), x.unsqueeze(1) + values)
    assert model.bits == pytest.approx(2.321928)


def test_without_a_latent_two_futures_become_a_blur_with_one_they_stay_apart(generator: Generator) -> None:
    blurred, sharp = learned(1, generator), learned(2, generator)
    unseen = bounces(200, generator=generator)
    twin = draw_balls(torch.stack([15 - unseen.places[:, 3:, 0], unseen.places[:, 3:, 1]], 2))
    mean = (unseen.y + twin) / 2  # of both ways, which are as likely
    blur = blurred.decode(unseen.x)[:, 0].detach()
    to_mean, to_one = ((blur - other).square().flatten(1).sum(1).mean() for other in (mean, unseen.y))
    assert to_mean < 0.5 * to_one  # a mean of futures, not one of them
    off = 2 * sharp.free_energy(x=unseen.x, y=unseen.y).mean()
    assert off < 0.5 * to_one
    z = sharp.infer(unseen.x, unseen.y).value.argmax(1)  # type: ignore[union-attr]
    agreement = (z == unseen.right.long()).double().mean()
    assert max(agreement, 1 - agreement) > 0.97  # z says left or right, and nothing else


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(K, Z\)"):
        LatentPredictor(Shift(), torch.zeros(3))
    with pytest.raises(ValueError, match="noise"):
        LatentPredictor(Shift(), torch.eye(2), noise=0.0)
    with pytest.raises(ValueError, match="alike"):
        LatentPredictor(Shift(), torch.eye(2))(x=torch.zeros(3, 2), y=torch.zeros(3, 4), z=torch.zeros(3, 2))
    for wrong in ({"n": -1}, {"n": 3, "share": 2.0}):
        with pytest.raises(ValueError, match="share in"):
            bounces(**wrong)  # type: ignore[arg-type]


def test_balls_bounce_off_the_edge(generator: Generator) -> None:
    found = bounces(500, share=0.3, generator=generator)
    before, after = found.places[:, :3], found.places[:, 3:]
    assert (before[:, :, 0] == 7.5).all() and (before.diff(dim=1)[..., 1] > 0).all()  # falls in the middle
    assert ((after[:, :, 0] > 7.5) == found.right[:, None]).all() and (after.diff(dim=1)[..., 1] < 0).all()
    assert abs(float(found.right.double().mean()) - 0.3) < 4 * (0.21 / 500) ** 0.5
    ink = found.y.flatten(2).sum(2)
    area = torch.pi * 1.6**2
    assert bool(((ink - area).abs() < 0.1 * area + 0.6)[after[..., 0].sub(7.5).abs() < 5].all())
