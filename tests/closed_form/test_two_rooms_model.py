"""The world model of Two Rooms: many candidates in one room are predicted as each would be alone."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor, nn

from ebm.world import TwoRoomsModel
from ebm.world.model import WorldModel


def model_and_state(rooms: int, generator: Generator) -> tuple[TwoRoomsModel, tuple[Tensor, Tensor]]:
    model = TwoRoomsModel(generator=generator).double()
    with torch.no_grad():
        nn.init.normal_(model.predictor.last.weight, std=0.3, generator=generator)
        seen = torch.randint(0, 256, (rooms, 2, 65, 65), dtype=torch.uint8, generator=generator)
        return model, model.encode(seen)


@pytest.mark.parametrize(
    "rows",
    [[1], [7], [1, 1], [5, 5, 5], [4, 4], [6, 2], [1, 9]],
    ids=str,
)
def test_a_rollout_is_one_step_after_the_other(rows: list[int], generator: Generator) -> None:
    model, (s, context) = model_and_state(len(rows), generator)
    state = tuple(t.repeat_interleave(torch.tensor(rows), 0) for t in (s, context))
    actions = torch.randn(sum(rows), 6, 2, dtype=torch.float64, generator=generator, requires_grad=True)
    found = model.rollout(state, actions)
    by_step = WorldModel.rollout(model, state, actions)
    assert torch.allclose(found, by_step, rtol=0, atol=1e-12)
    assert (found[:, -1] - found[:, 0]).abs().amax(1).min() > 0.1  # so there is something to compare
    toward = torch.randn(found.shape, dtype=torch.float64, generator=generator)
    gradients = [torch.autograd.grad((path * toward).sum(), actions)[0] for path in (found, by_step)]
    assert torch.allclose(*gradients, rtol=0, atol=1e-12)


def test_weights_learn_the_same_from_either(generator: Generator) -> None:
    model, (s, context) = model_and_state(2, generator)
    state = (s.repeat_interleave(8, 0), context.repeat_interleave(8, 0))
    actions = torch.randn(16, 3, 2, dtype=torch.float64, generator=generator)
    weights = list(model.predictor.parameters())
    paths = model.rollout(state, actions), WorldModel.rollout(model, state, actions)
    for one, other in zip(*(torch.autograd.grad(p.square().sum(), weights) for p in paths), strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


def test_what_is_seen_of_the_walls_is_learned_where_all_rooms_are_alike(generator: Generator) -> None:
    model, _ = model_and_state(1, generator)
    seen = torch.randint(0, 256, (1, 2, 65, 65), dtype=torch.uint8, generator=generator).expand(8, -1, -1, -1)
    actions = torch.randn(8, 3, 2, dtype=torch.float64, generator=generator)
    paths = model.rollout(model.encode(seen), actions), WorldModel.rollout(model, model.encode(seen), actions)
    one, other = (torch.autograd.grad(path.square().sum(), model.context.weight)[0] for path in paths)
    assert float(one.abs().max()) > 0
    assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)
