"""A decoder to look through: the encoder stays as it is, and least squares is what is learned."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ebm.jepa import Decoding, dot_decoder
from ebm.jepa.learn_decoder import frozen_codes, learn_decoder
from ebm.world import TwoRoomsModel
from ebm.world.dots import draw_dots


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed))


class Counting(nn.Module):
    """A network with all that training changes; counts what it encodes."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
        self.rows = 0

    def forward(self, o: Tensor) -> tuple[Tensor, Tensor]:
        self.rows += len(o)
        return self.inner(o), o


def test_no_gradient_enters_the_encoder_and_nothing_of_it_changes() -> None:
    encoder, o = Counting(), randn(2000, 3)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    learn_decoder(encoder, nn.Linear(4, 3), o, steps=20, generator=seeded())
    assert all(p.grad is None for p in encoder.parameters())
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert encoder.rows == 2000 and encoder.training and encoder.inner[2].training
    assert not frozen_codes(encoder, o).requires_grad


def test_a_linear_decoder_finds_the_least_squares() -> None:
    o = randn(256, 4)
    mix, decoder = randn(4, 2, seed=1), nn.Linear(2, 4)
    codes = o @ mix
    history = learn_decoder(lambda x: x @ mix, decoder, o, steps=600, batch_size=256, learning_rate=0.02)
    design = torch.cat([codes, torch.ones(256, 1)], 1)
    best = torch.linalg.lstsq(design, o).solution
    torch.testing.assert_close(decoder.weight.detach().T, best[:2], atol=1e-3, rtol=0)
    left = (o - design @ best).square().sum(1).mean()
    torch.testing.assert_close(torch.tensor(history.rows[-1]["loss"]), left, rtol=1e-4, atol=0)


def test_pictures_of_bytes_are_shares_of_255() -> None:
    pixels = torch.full((8, 1, 2, 2), 51, dtype=torch.uint8)

    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.level = nn.Parameter(torch.zeros(1, 2, 2))

        def forward(self, code: Tensor) -> Tensor:
            return self.level.expand(len(code), 1, 2, 2)

    decoder = Constant()
    learn_decoder(
        lambda o: torch.ones(len(o), 1), decoder, pixels, steps=300, learning_rate=0.02, batch_size=8
    )
    torch.testing.assert_close(decoder.level.detach(), torch.full((1, 2, 2), 0.2), atol=1e-3, rtol=0)


def test_dots_are_drawn_where_they_are() -> None:
    """From codes that are the dot's place: the brightest pixel is the nearest one, or next to it."""
    at = 6 + 13 * torch.rand(200, 2, generator=seeded())
    pictures, codes = draw_dots(at, 25).unsqueeze(1), (at - 12.5) / 4
    decoder = dot_decoder(2, cells=5, width=8, generator=seeded(1))
    learn_decoder(lambda o: codes, decoder, pictures, steps=200, learning_rate=1e-2, generator=seeded())
    with torch.no_grad():
        place = decoder(codes)[:, 0].flatten(1).argmax(1)
    found = torch.stack([place % 25, place // 25], 1)
    assert float(torch.linalg.vector_norm(found - at, dim=1).median()) < 1.0


def test_a_world_model_s_encoder_is_taken_as_it_is() -> None:
    model, pictures = TwoRoomsModel(4, 8), torch.zeros(4, 2, 65, 65, dtype=torch.uint8)
    history = learn_decoder(model.encode, dot_decoder(4), pictures, pictures[:, :1], steps=2)
    assert len(history) == 2 and all(p.grad is None for p in model.parameters())


def test_pictures_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="the decoder draws"):
        Decoding(nn.Identity())(code=torch.zeros(2, 3), picture=torch.zeros(2, 4))
    with pytest.raises(ValueError, match="one picture for each"):
        learn_decoder(nn.Identity(), nn.Identity(), torch.zeros(3, 2), torch.zeros(2, 2))
    with pytest.raises(ValueError, match="positive whole numbers"):
        dot_decoder(0)
