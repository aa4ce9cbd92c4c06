"""Regularizers of sequences, world models' energies, the model of Two Rooms and its walks, by loops."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, silu

from ebm.jepa import (
    Covariance,
    InverseDynamics,
    OnFrames,
    Regularized,
    Sequence,
    Straightening,
    TimeSimilarity,
    UnrolledPrediction,
    Variance,
)
from ebm.joint import SIGReg, VICReg
from ebm.loss import AverageEnergy
from ebm.world import KnownDynamics, TwoRooms, TwoRoomsModel, random_walks
from ebm.world.learning import world_energy
from ebm.world.model import WorldModel
from ebm.world.random_walk import AROUND_DOOR, von_mises
from ebm.world.two_rooms import HALF_DOOR, HALF_WALL, HIGH, LOW, draw_frames
from ebm.world.two_rooms_loss import OnWalks, two_rooms_loss

B, S = 6, 3
TIMES = (0, 1, 2, 4, 5)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=seeded(seed))


CODES, ACTIONS = randn(B, len(TIMES), S), randn(B, 5, 2, seed=1)
SEQUENCE = Sequence(CODES, TIMES, ACTIONS)


def test_variance_and_covariance_are_those_of_a_frame():
    for frame in (0, 2):
        z = 0.5 * CODES[:, frame]
        cov = torch.cov(z.T)
        hinge = torch.relu(0.8 - (cov.diagonal() + 1e-3).sqrt()).mean()
        off = (cov.square().sum() - cov.diagonal().square().sum()) / (S * (S - 1))
        half = SEQUENCE._replace(codes=0.5 * CODES)
        assert torch.allclose(Variance(0.8, 1e-3, frame)(half), hinge) and hinge > 0.1
        assert torch.allclose(Covariance(frame)(half), off)
    assert Covariance()(Sequence(CODES[:, :, :1], TIMES)) == 0  # one dimension has no other


def test_time_similarity_compares_frames_that_far_apart():
    for apart, pairs in ((1, [(0, 1), (1, 2), (3, 4)]), (2, [(2, 3)])):
        steps = torch.stack([CODES[:, b] - CODES[:, a] for a, b in pairs])
        assert torch.allclose(TimeSimilarity(apart)(SEQUENCE), steps.square().mean())
    with pytest.raises(ValueError, match=r"3 steps apart; they were seen at \(0, 1, 2, 4, 5\)"):
        TimeSimilarity(3)(SEQUENCE)


def path(*points: list[float]) -> Tensor:
    return torch.tensor([points], dtype=torch.float64)


def test_straightening_knows_line_corner_and_return():
    for codes, bend in (
        (path([0, 0], [1, 2], [4, 8], [5, 10]), 0.0),
        (path([0, 0], [1, 0], [1, 5]), 1.0),
        (path([0, 0], [2, 0], [1, 0]), 2.0),
        (path([0, 0], [1, 0], [1, 0], [1, 0]), 0.0),
        (path([0, 0], [1, 0], [1, 1], [1, 1]), 1.0),  # one bend that counts, one that has no direction
    ):
        assert abs(float(Straightening()(Sequence(codes, tuple(range(codes.shape[1]))))) - bend) < 1e-12
    bends = []
    for b in range(B):
        v, w = CODES[b, 1] - CODES[b, 0], CODES[b, 2] - CODES[b, 1]
        bends.append(1 - v @ w / (v.norm() * w.norm()))  # frames 2, 4, 5 are not evenly spaced
    assert torch.allclose(Straightening()(SEQUENCE), torch.stack(bends).mean())
    with pytest.raises(ValueError, match="three frames 2 steps apart"):
        Straightening(2)(SEQUENCE)


@pytest.mark.parametrize("size", [0.0, 1e-7, 1e-5, 1.0])
def test_straightening_has_a_gradient_where_nothing_moves(size):
    codes = torch.zeros(2, 4, S, dtype=torch.float64)
    codes[0] = size * randn(4, S, seed=3)
    codes.requires_grad_()
    value = Straightening()(Sequence(codes, (0, 1, 2, 3)))
    value.backward()
    assert value.isfinite() and codes.grad.isfinite().all()
    assert bool((codes.grad != 0).any()) == (size > 1e-6) and (codes.grad[1] == 0).all()


def test_inverse_dynamics_reads_the_action_between_two_frames():
    part = InverseDynamics(S, 2, hidden=5, scale=3.0, generator=seeded()).double()
    errors = []
    for k, t in ((0, 0), (1, 1), (3, 4)):
        s, after = CODES[:, k], CODES[:, k + 1]
        errors.append(part.network(torch.cat([s, 3.0 * (after - s)], 1)) - ACTIONS[:, t])
    assert torch.allclose(part(SEQUENCE), torch.stack(errors).square().mean())
    with pytest.raises(ValueError, match="the data has none"):
        part(SEQUENCE._replace(actions=None))
    with pytest.raises(ValueError, match="scale"):
        InverseDynamics(S, 2, scale=0.0)


def test_constant_codes_tell_no_more_of_actions_than_their_mean():
    part = InverseDynamics(S, 2, generator=seeded()).double()
    still = Sequence(torch.ones(B, 6, S).double(), tuple(range(6)), ACTIONS)
    done = ACTIONS.flatten(0, 1)
    least = float((done - done.mean(0)).square().mean())
    assert float(part(still)) > least
    optimizer = torch.optim.LBFGS(part.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = part(still)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert float(part(still)) == pytest.approx(least, rel=1e-6)


def test_on_frames_is_the_criterion_of_these_frames():
    assert OnFrames(VICReg(), (1, 3))(SEQUENCE) == VICReg()(CODES[:, 1], CODES[:, 3]).loss
    torch.manual_seed(0)
    found = OnFrames(SIGReg(slices=8), (2,))(SEQUENCE)
    torch.manual_seed(0)
    assert found == SIGReg(slices=8)(CODES[:, 2]).loss
    with pytest.raises(TypeError, match="applies a criterion"):
        OnFrames(Variance())


# The loss ---------------------------------------------------------------------------------------------------


class Doubling(WorldModel):
    """Encodes by a weight, and counts."""

    action_size = 3

    def __init__(self):
        super().__init__()
        self.weight, self.encoded = nn.Parameter(torch.tensor(2.0).double()), []

    def encode(self, observation):
        self.encoded.append(len(observation))
        return self.weight * observation

    def step(self, state, actions, z=None):
        return state + torch.tanh(actions)


OBSERVED, DONE = randn(B, len(TIMES), S, seed=5), randn(B, 5, 3, seed=6)


def test_the_energy_of_a_world_model_is_its_error_at_the_frames_seen():
    E, total = world_energy(Doubling(), TIMES), torch.zeros(B).double()
    s = 2 * OBSERVED[:, 0]
    for t in range(5):
        s = s + torch.tanh(DONE[:, t])
        if t + 1 in TIMES:
            total += (s - 2 * OBSERVED[:, TIMES.index(t + 1)]).square().mean(1)
    assert torch.allclose(E(observations=OBSERVED, actions=DONE), total / 4)
    predicted = randn(B, 4, S, seed=7)
    naive = torch.stack([(predicted[:, k] - CODES[:, k + 1]).square().mean(1) for k in range(4)]).mean(0)
    assert torch.allclose(UnrolledPrediction()(predicted=predicted, codes=CODES), naive)
    for times in ((0,), (1, 2), (0, 2, 2), (0, 3, 1)):
        with pytest.raises(ValueError, match="one after the other"):
            world_energy(Doubling(), times)


def test_a_regularized_loss_is_the_sum_of_its_parts_and_encodes_once():
    model = Doubling()
    E, data = world_energy(model, TIMES), {"observations": OBSERVED, "actions": DONE}
    inverse = InverseDynamics(S, 3, generator=seeded()).double()
    parts = (
        (3.0, Variance(2.0)),
        (0.5, Covariance()),
        (0.0, Straightening(7)),
        (2.0, inverse),
        (4.0, Variance(9.0)),
    )
    loss = Regularized(*parts, times=TIMES)
    output = loss(E, **data)
    assert sum(model.encoded) == B * len(TIMES)  # once for energy and regularizers
    sequence = Sequence(2 * OBSERVED, TIMES, DONE)
    expected = E(**data).mean() + sum(w * part(sequence) for w, part in parts if w > 0)
    assert torch.allclose(output.loss, expected)
    assert set(output.terms) == {"energy on data", "Variance", "Covariance", "InverseDynamics", "Variance_2"}
    assert output.terms["Variance"] == Variance(2.0)(sequence)
    assert output.terms["Variance_2"] == Variance(9.0)(sequence)
    assert len(list(loss.parameters())) == 4  # the network's are learned with it
    output.loss.backward()
    assert model.weight.grad.abs() > 0 and all(p.grad is not None for p in loss.parameters())
    assert loss.described.endswith("3 Variance + 0.5 Covariance + 2 InverseDynamics + 4 Variance")


def test_a_regularized_loss_refuses_what_does_not_fit():
    data = {"observations": OBSERVED, "actions": DONE}
    for pair, error, words in (
        ((-1.0, Variance()), ValueError, "at least 0; got -1.0"),
        ((math.nan, Variance()), ValueError, "at least 0"),
        (Variance(), TypeError, "pairs"),
        ((1.0, VICReg()), TypeError, "pairs"),
    ):
        with pytest.raises(error, match=words):
            Regularized(pair, times=TIMES)
    with pytest.raises(TypeError, match="no term of the energy has a variable 'elsewhere'"):
        Regularized((1.0, Variance()), times=TIMES, codes="elsewhere")(
            world_energy(Doubling(), TIMES), **data
        )
    with pytest.raises(ValueError, match="5 frames were encoded and 3 times are given"):
        Regularized((1.0, Variance()), times=(0, 1, 2))(world_energy(Doubling(), TIMES), **data)


# The model of Two Rooms -------------------------------------------------------------------------------------


def test_skipping_blank_cells_is_the_whole_convolution():
    model = TwoRoomsModel(generator=seeded()).double()
    walks = random_walks(TwoRooms(), 5, generator=seeded(1))
    frames = draw_frames(walks["position"][:, :1], walks["wall"], walks["door"])[:, 0]
    dots = model.dots
    image = frames[:, :1].double() / 255
    maps = conv2d(image, dots.patch.weight.view(-1, 1, 5, 5), dots.patch.bias, stride=5)  # (B, 8, 13, 13)
    blank = avg_pool2d(image, 5) == 0
    maps = silu(maps).masked_fill(blank, 0.0).permute(0, 2, 3, 1).flatten(1)
    expected = dots.code(silu(dots.hidden(maps)))
    s, context = model.encode(frames)
    assert torch.allclose(s, expected, atol=1e-12)
    assert torch.allclose(context, model.context(avg_pool2d(frames[:, 1:].double() / 255, 5).flatten(1)))
    nothing = dots(torch.zeros(1, 65, 65, dtype=torch.uint8))
    assert torch.allclose(nothing, dots.code(silu(dots.hidden(torch.zeros(1, 8 * 169).double()))))


def test_frames_are_encoded_as_one_by_one():
    model = TwoRoomsModel(generator=seeded()).double()
    walks = random_walks(TwoRooms(), 2, 3, generator=seeded(1))
    frames = draw_frames(walks["position"], walks["wall"], walks["door"])
    codes, (first, context) = model.encode_frames(frames)
    for k in range(4):
        s, walls = model.encode(frames[:, k])
        assert torch.allclose(codes[:, k], s) and torch.allclose(context, walls)
    assert (first == codes[:, 0]).all()
    plain, (begin, where) = WorldModel.encode_frames(model, frames)
    assert torch.allclose(plain, codes) and torch.allclose(begin, first) and torch.allclose(where, context)


def test_at_the_start_nothing_moves_and_then_the_formula_holds():
    model = TwoRoomsModel(4, 8, generator=seeded()).double()
    s, context, a = randn(3, 4), randn(3, 16, seed=1), randn(3, 2, seed=2)
    after, same = model.step((s, context), a)
    assert (after == s).all() and same is context
    p = model.predictor
    nn.init.normal_(p.last.weight, generator=seeded(3))
    h = silu(torch.cat([s, a], 1) @ p.first.weight.T + p.first.bias)
    c, d = context[:, :8], context[:, 8:]
    h = silu(h @ p.second.weight.T + p.second.bias + (h * c) @ p.gated.weight.T + d)
    h = silu(h @ p.third.weight.T + p.third.bias)
    assert torch.allclose(model.step((s, context), a)[0], s + h @ p.last.weight.T)


def test_a_loss_on_walks_draws_the_frames_that_it_needs():
    model, walks = TwoRoomsModel(generator=seeded()), random_walks(TwoRooms(), 3, 4, generator=seeded(1))
    times = (0, 2, 4)
    frames = draw_frames(walks["position"][:, [0, 2, 4]], walks["wall"], walks["door"])
    E = world_energy(model, times)
    found = OnWalks(AverageEnergy(), times)(E, **walks).loss
    assert found == E(observations=frames, actions=walks["actions"]).mean()
    one = TwoRooms().observe({k: walks[k] for k in ("wall", "door")} | {"position": walks["position"][:, 2]})
    assert (frames[:, 1] == one).all()
    off = two_rooms_loss(model, variance=0, covariance=0, time_similarity=0, inverse_dynamics=0)
    full = random_walks(TwoRooms(), 3, generator=seeded(1))
    assert set(off(world_energy(model), **full).terms) == {"energy on data"}


# Walks ------------------------------------------------------------------------------------------------------


def test_walks_follow_their_actions_and_stay_out_of_walls():
    walks = random_walks(TwoRooms(), 3000, generator=seeded(), near_door=0.5)
    p, a = walks["position"], walks["actions"]
    assert (p >= LOW).all() and (p <= HIGH).all()
    beside, level = (p[..., 0] - walks["wall"][:, None]).abs(), (p[..., 1] - walks["door"][:, None]).abs()
    assert not ((beside < HALF_WALL - 1e-4) & (level > HALF_DOOR + 1e-4)).any()
    far = (beside[:, :-1] > 4) & (p[:, :-1] > LOW + 2).all(2) & (p[:, :-1] < HIGH - 2).all(2)
    assert torch.allclose((p.diff(dim=1) - a)[far], torch.zeros(1), atol=1e-4) and far.float().mean() > 0.4


def test_steps_and_headings_have_their_distributions():
    n, kappa = 4000, 5.0
    a = random_walks(TwoRooms(), n, generator=seeded(), concentration=kappa)["actions"].double()
    size = a.norm(dim=2).flatten()
    assert size.min() > 0.2 - 1e-5 and size.max() < 1.8 + 1e-5
    z = torch.tensor(2.0, dtype=torch.float64)  # the bounds, in standard deviations
    tail = torch.special.erfc(z / 2**0.5)  # both tails
    density = torch.exp(-z * z / 2) / (2 * math.pi) ** 0.5
    variance = 0.16 * ((1 - tail - 2 * z * density) + z * z * tail)
    assert abs(size.mean() - 1) < 4 * (variance / len(size)).sqrt()
    assert abs((size < 0.2 + 1e-5).double().mean() - tail / 2) < 4 * (tail / 2 / len(size)).sqrt()
    assert abs(size.var() - variance) < 4 * (2 * variance**2 / len(size)).sqrt()
    # E[cos(φ - ψ)] of two headings of one window is (I1 / I0)²: their mean heading is not known
    unit = a / a.norm(dim=2, keepdim=True)
    ratio = torch.special.i1e(torch.tensor(kappa)) / torch.special.i0e(torch.tensor(kappa))
    product = (unit[:, 0::2] * unit[:, 1::2]).sum(2).mean(1)
    assert abs(product.mean() - ratio.double() ** 2) < 4 * product.std() / n**0.5
    assert (unit.mean(1).mean(0).abs() < 4 * (0.5 / n) ** 0.5).all()  # mean headings lie evenly


@pytest.mark.parametrize("kappa", [0.1, 1.0, 5.0, 300.0])
def test_angles_have_the_moments_of_von_mises(kappa):
    u = (torch.arange(20000, dtype=torch.float64) + 0.5) / 20000  # a midpoint rule, no luck needed
    angle = von_mises(u, kappa)
    k = torch.tensor(kappa, dtype=torch.float64)
    ratio = torch.special.i1e(k) / torch.special.i0e(k)
    assert float(angle.cos().mean()) == pytest.approx(float(ratio), abs=2e-5)
    second = 1 - 2 * ratio / k  # I2 / I0
    assert float((2 * angle).cos().mean()) == pytest.approx(float(second), abs=5e-5)
    assert abs(float(angle.sin().mean())) < 1e-9 and (angle.diff() > 0).all()


def test_a_share_of_the_windows_begins_at_the_door():
    n = 4000

    def share(near_door: float) -> Tensor:
        walks = random_walks(TwoRooms(), n, 1, generator=seeded(2), near_door=near_door)
        away = (walks["position"][:, 0] - torch.stack([walks["wall"], walks["door"]], 1)).abs()
        return (away <= torch.tensor(AROUND_DOOR) + 1e-3).all(1).double()

    assert share(1.0).all()
    base = share(0.0).mean()  # those that happen to be there
    expected = 0.3 + 0.7 * base
    assert abs(share(0.3).mean() - expected) < 4 * (expected * (1 - expected) / n + 0.5 * base / n).sqrt()
    assert base < 0.2


def test_walks_refuse_settings_out_of_range():
    bad: list[dict[str, Any]] = [{"batch": 0}, {"length": 0}, {"concentration": 0.0}, {"near_door": 1.5}]
    for each in bad:
        with pytest.raises(ValueError, match="positive"):
            random_walks(TwoRooms(), **{"batch": 2, **each})


def test_dynamics_that_are_known_have_no_error():
    E = world_energy(KnownDynamics(lambda s, a: s + a, 3), (0, 2, 5))
    moved = torch.cat([OBSERVED[:, :1], OBSERVED[:, :1] + DONE.cumsum(1)], 1)
    assert E(observations=moved[:, [0, 2, 5]], actions=DONE).abs().max() < 1e-25
