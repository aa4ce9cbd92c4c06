"""Targets of joint embeddings: schedules in closed form, averages, gradients that stop, what is saved."""

from __future__ import annotations

import copy
import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ebm import Energy
from ebm.history import History
from ebm.joint import (
    BYOL,
    EMA,
    Shared,
    Siamese,
    SimSiam,
    SquaredDistance,
    StopGradient,
    constant,
    cosine,
    linear,
    ramp,
    update_targets,
)
from ebm.joint.schedules import Schedule
from ebm.loss import AverageEnergy
from ebm.nets import mlp
from ebm.testing import check_energy
from ebm.train import fit

DOUBLE = torch.float64
SGD = partial(torch.optim.SGD, lr=0.1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DOUBLE)


def network(seed: int = 0) -> nn.Sequential:
    return mlp(3, 8, 4, generator=seeded(seed)).double()


def pair_of_views(rows: int = 6) -> dict[str, Tensor]:
    return {"x": draw(rows, 3, seed=1), "y": draw(rows, 3, seed=2)}


def learn(energy: Energy, steps: int, **settings: Any) -> History:
    data = settings.pop("data", pair_of_views())
    return fit(
        energy,
        AverageEnergy(),
        data,
        optimizer=SGD,
        steps=steps,
        batch_size=len(data["x"]),
        generator=seeded(),
        progress=False,
        **settings,
    )


# --- schedules ----------------------------------------------------------------------------------------------


def test_cosine_is_byols_and_dinos() -> None:
    tau = 0.996
    decay = cosine(tau)
    assert [decay(0, 10), decay(10, 10)] == [tau, 1.0]
    assert decay(5, 10) == pytest.approx((1 + tau) / 2, abs=1e-15)
    k = np.arange(101)
    byol = 1 - (1 - tau) * (np.cos(np.pi * k / 100) + 1) / 2
    np.testing.assert_allclose([decay(int(i), 100) for i in k], byol, rtol=0, atol=1e-15)
    dino = 1 + 0.5 * (tau - 1) * (1 + np.cos(np.pi * k / 100))
    np.testing.assert_allclose([decay(int(i), 100) for i in k], dino, rtol=0, atol=1e-15)
    assert cosine(0.1, 0.9)(25, 100) == pytest.approx(0.9 - 0.8 * (1 + math.sqrt(0.5)) / 2)


def test_linear_is_i_jepas_and_v_jepas() -> None:
    steps = 40
    official = [0.996 + i * (1.0 - 0.996) / (steps * 1.0) for i in range(steps + 1)]
    assert [linear(0.996)(k, steps) for k in range(steps + 1)] == pytest.approx(official, abs=1e-15)
    assert linear(0.998, stretch=1.25)(steps, steps) == pytest.approx(0.9996, abs=1e-15)


def test_ramp_is_dinos_temperature_of_epochs() -> None:
    warm, epochs, per_epoch = 5, 9, 7
    official = np.concatenate([np.linspace(0.04, 0.07, warm), np.full(epochs - warm, 0.07)])
    schedule = ramp(0.04, 0.07, over=(warm - 1) * per_epoch, every=per_epoch)
    ours = [schedule(k, epochs * per_epoch) for k in range(epochs * per_epoch)]
    np.testing.assert_allclose(ours, official.repeat(per_epoch), rtol=0, atol=1e-15)
    assert ramp(0.1, 0.2, over=0)(0, 1) == 0.2


@pytest.mark.parametrize("schedule", [constant(0.9), cosine(0.9), linear(0.9), ramp(0.9, 1.0, over=3)])
def test_a_schedule_begins_at_its_start_and_knows_its_end(schedule: Schedule) -> None:
    assert schedule(0, 10) == pytest.approx(0.9, abs=1e-15)
    for done, steps in ((11, 10), (-1, 10), (0, 0)):
        with pytest.raises(ValueError, match=rf"0 <= k <= K and K >= 1; got {done} of {steps}"):
            schedule(done, steps)


def test_schedules_refuse_settings_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match=r"stretch says how many times longer.*1 or more; got 0.5"):
        linear(0.9, stretch=0.5)
    for over, every in ((3, 0), (-1, 1)):
        with pytest.raises(
            ValueError, match=rf"over is 0 or more steps and every 1 .*; got {over} and {every}"
        ):
            ramp(0.1, 0.2, over, every)


# --- averages -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decay", [0.0, 0.7, 1.0, cosine(0.6), linear(0.5), constant(0.3)])
def test_an_average_after_k_steps_is_its_closed_form(decay: float | Schedule) -> None:
    """ξ_K = (Π τ_k) ξ_0 + Σ_k (1 - τ_k) (Π_{j>k} τ_j) θ_k, with τ_k = decay(k - 1, K)."""
    net, steps = network(), 7
    start = [p.detach().clone() for p in net.parameters()]
    target = EMA(net, decay)
    tau = [decay(k, steps) if callable(decay) else decay for k in range(steps)]
    seen: list[list[Tensor]] = []
    for step in range(1, steps + 1):
        with torch.no_grad():
            for i, p in enumerate(net.parameters()):
                p.copy_(draw(*p.shape, seed=100 * step + i))
        seen.append([p.detach().clone() for p in net.parameters()])
        target.update(step, steps)
    for i, came in enumerate(target.target.parameters()):
        expected = math.prod(tau) * start[i]
        for k in range(steps):
            expected = expected + (1 - tau[k]) * math.prod(tau[k + 1 :]) * seen[k][i]
        torch.testing.assert_close(came.detach(), expected, rtol=1e-13, atol=1e-14)


def test_a_cosine_to_one_never_reaches_one_in_training() -> None:
    used: list[float] = []

    def decay(done: int, steps: int) -> float:
        used.append(cosine(0.996)(done, steps))
        return used[-1]

    target = EMA(network(), decay)
    used.clear()
    for step in range(1, 51):
        target.update(step, 50)
    assert used[0] == 0.996 and max(used) == used[-1] < 1
    assert used[-1] == pytest.approx(1 - 0.004 * (1 + math.cos(math.pi * 49 / 50)) / 2, abs=1e-15)


def test_training_updates_the_target_after_the_optimizer() -> None:
    """A loop in plain torch: forward, backward, step of gradient descent, then τ_k with k from 0."""
    steps, views = 6, pair_of_views()
    f = network()
    w = {n: p.detach().clone() for n, p in f.named_parameters()}
    energy = SquaredDistance().compose(s_x=(f, "x"), s_y=(EMA(f, cosine(0.3)), "y"))
    history = learn(energy, steps, callbacks=[update_targets(energy, steps)])

    def code(weights: dict[str, Tensor], v: Tensor) -> Tensor:
        hidden = nn.functional.gelu(v @ weights["0.weight"].T + weights["0.bias"])
        return hidden @ weights["2.weight"].T + weights["2.bias"]

    slow, losses = {n: p.clone() for n, p in w.items()}, []
    for k in range(steps):
        w = {n: p.requires_grad_() for n, p in w.items()}
        loss = (code(w, views["x"]) - code(slow, views["y"])).square().sum(1).mean()
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, list(w.values()))
        w = {n: (p - 0.1 * g).detach() for (n, p), g in zip(w.items(), gradients, strict=True)}
        tau = 1 - 0.7 * (math.cos(math.pi * k / steps) + 1) / 2
        slow = {n: tau * slow[n] + (1 - tau) * w[n] for n in w}
    torch.testing.assert_close(history.column("loss"), torch.tensor(losses, dtype=DOUBLE), rtol=1e-12, atol=0)
    (target,) = [m for m in energy.modules() if isinstance(m, EMA)]
    for name, p in target.target.named_parameters():
        torch.testing.assert_close(p.detach(), slow[name], rtol=1e-11, atol=1e-13)


class Buffered(nn.Module):
    """A network with a constant, a counter and a moving number beside a normalization."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3, dtype=DOUBLE)
        self.register_buffer("fixed", torch.tensor(1 / 3, dtype=DOUBLE))
        self.register_buffer("moving", torch.tensor(0.0, dtype=DOUBLE))
        self.register_buffer("count", torch.tensor(0))

    def forward(self, v: Tensor) -> Tensor:
        return self.norm(v) * self.fixed + self.moving


def test_buffers_are_averaged_and_counters_copied() -> None:
    net = Buffered()
    target = EMA(net, 0.9)
    net.moving.fill_(1.0)
    net.count.fill_(5)
    for step in (1, 2):
        target.update(step, 2)
    assert target.target.moving.item() == pytest.approx(1 - 0.81, abs=1e-15)
    assert target.target.count.item() == 5
    assert torch.equal(target.target.fixed, net.fixed)  # to the bit


def test_in_training_mode_the_target_measures_its_own_statistics() -> None:
    """What BYOL, DINO and MoCo do: a batch normalization beside it, fed alike, has the same."""
    net = Buffered()
    target = EMA(net, 0.5)
    alone = copy.deepcopy(net.norm)
    for step, seed in ((1, 3), (2, 4)):
        net(10 + 5 * draw(8, 3, seed=seed + 10))
        target(draw(8, 3, seed=seed))
        alone(draw(8, 3, seed=seed))
        target.update(step, 2)
    assert torch.equal(target.target.norm.running_mean, alone.running_mean)
    assert torch.equal(target.target.norm.running_var, alone.running_var)
    assert target.target.norm.num_batches_tracked == 2


def test_in_evaluation_mode_statistics_are_averaged() -> None:
    net = Buffered()
    target = EMA(net, 0.75).eval()
    net(10 + 5 * draw(8, 3))
    target.update(1, 1)
    torch.testing.assert_close(target.target.norm.running_mean, 0.25 * net.norm.running_mean)
    torch.testing.assert_close(target.target.norm.running_var, 0.75 + 0.25 * net.norm.running_var)
    assert target.target.norm.num_batches_tracked == 1


# --- gradients ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("branch", ["EMA", "StopGradient"])
def test_no_gradient_reaches_the_target(branch: str) -> None:
    f, views = network(), pair_of_views()
    target = EMA(f, 0.9) if branch == "EMA" else StopGradient(f)
    energy = SquaredDistance().compose(s_x=(f, "x"), s_y=(target, "y"))
    energy.requires_grad_(True)  # somebody thaws everything
    constant_code = f(views["y"]).detach()
    expected = torch.autograd.grad((f(views["x"]) - constant_code).square().sum(), list(f.parameters()))
    energy(**views).sum().backward()
    for p, gradient in zip(f.parameters(), expected, strict=True):
        assert p.grad is not None
        torch.testing.assert_close(p.grad, gradient, rtol=1e-14, atol=1e-15)
    if isinstance(target, EMA):
        assert all(p.grad is None for p in target.target.parameters())
        fresh = SquaredDistance().compose(s_x=(f, "x"), s_y=(EMA(f, 0.9), "y"))
        learned = [p for p in fresh.parameters() if p.requires_grad]  # what an optimizer may decay
        assert {id(p) for p in learned} == {id(p) for p in f.parameters()}
    # alone, it has no gradient at all
    assert not target(views["y"]).requires_grad


def test_a_shared_target_learns_from_both_sides() -> None:
    f, views = network(), pair_of_views()
    energy = SquaredDistance().compose(s_x=(f, "x"), s_y=(Shared(f), "y"))
    expected = torch.autograd.grad((f(views["x"]) - f(views["y"])).square().sum(), list(f.parameters()))
    energy(**views).sum().backward()
    for p, gradient in zip(f.parameters(), expected, strict=True):
        assert p.grad is not None
        torch.testing.assert_close(p.grad, gradient, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("kind", [Shared, StopGradient, partial(EMA, decay=0.9)])
def test_energies_with_targets_keep_the_contract(kind: Any) -> None:
    """Among it: the gradient in y passes through the target, and all is saved and copied."""
    f = network()
    check_energy(SquaredDistance().compose(s_x=(f, "x"), s_y=(kind(f), "y")), pair_of_views())
    for direction in (("x",), ("x", "y")):
        check_energy(Siamese(SquaredDistance(), f, None, kind(f), online=direction), pair_of_views())


def test_the_gradient_in_y_passes_through_a_target() -> None:
    f, views = network(), pair_of_views()
    y = views["y"].clone().requires_grad_()
    code = f(views["x"]).detach()
    (expected,) = torch.autograd.grad((code - f(y)).square().sum(), y)
    for target in (StopGradient(f), EMA(f, 0.9)):
        energy = Siamese(SquaredDistance(), f, None, target, online=("x",), targets=("y",))
        (free,) = torch.autograd.grad(energy.bind({"x": views["x"]}, like={"y": y})(y=y).sum(), y)
        (held,) = torch.autograd.grad(energy(x=views["x"], y=y).sum(), y)
        torch.testing.assert_close(free, expected)
        torch.testing.assert_close(held, expected)


def test_a_stopped_gradient_costs_no_second_pass() -> None:
    """Both views go through the encoder once, so its batch statistics count two batches."""
    f = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).double()
    SimSiam(f, predictor=None)(**pair_of_views())
    assert f[1].num_batches_tracked == 2
    Siamese(SquaredDistance(), f, None, Shared(f))(**pair_of_views())
    assert f[1].num_batches_tracked == 4
    slow = EMA(f, 0.9)
    BYOL(f, None, slow)(**pair_of_views())
    assert f[1].num_batches_tracked == 6 and slow.target[1].num_batches_tracked == 6  # 4 when it was copied


# --- state --------------------------------------------------------------------------------------------------


def test_a_target_is_saved_once_and_found_again() -> None:
    f = network()
    energy = BYOL(f, network(1)[2:], EMA(f, 0.5))
    names = list(energy.state_dict())
    assert sum("target" in n for n in names) == len(list(f.parameters()))  # the copy, and not f a second time
    with torch.no_grad():
        for p in f.parameters():
            p.add_(1.0)
    energy.target.update(1, 1)
    fresh = network(5)
    other = BYOL(fresh, network(6)[2:], EMA(fresh, 0.5))
    other.load_state_dict(energy.state_dict())
    views = pair_of_views()
    assert torch.equal(other.target(views["y"]), energy.target(views["y"]))
    assert not torch.equal(other.target(views["y"]), fresh(views["y"]))


def test_a_copied_energy_follows_its_own_encoder() -> None:
    f = network()
    energy = BYOL(f, None, EMA(f, 0.0))
    other = copy.deepcopy(energy)
    assert other.target.network is other.encoder
    with torch.no_grad():
        f[0].weight.fill_(7.0)
    other.target.update(1, 1)
    assert not (other.target.target[0].weight == 7.0).any()


def test_a_target_follows_to_another_dtype() -> None:
    f = network()
    energy = BYOL(f, None, EMA(f, 0.5)).float()
    energy.target.update(1, 1)
    assert {p.dtype for p in energy.parameters()} == {torch.float32}


# --- the callback -------------------------------------------------------------------------------------------


def test_update_targets_finds_every_target_once() -> None:
    f, g = network(), network(1)
    shared, other = EMA(f, 0.5), EMA(g, 0.5)
    energy = SquaredDistance().compose(s_x=(f, "x"), s_y=(shared, "y")) + 0.5 * SquaredDistance().compose(
        s_x=(shared, "x"), s_y=(other, "y")
    )
    before = f[0].weight.detach().clone()
    with torch.no_grad():
        f[0].weight.add_(1.0)
        g[0].weight.add_(2.0)
    theirs = other.target[0].weight.clone()
    assert update_targets(energy, 1)(1, History()) is None
    torch.testing.assert_close(shared.target[0].weight, before + 0.5)  # not 0.75: once
    torch.testing.assert_close(other.target[0].weight, theirs + 1.0)


def test_update_targets_goes_on_where_an_earlier_training_ended() -> None:
    def trained(parts: list[int]) -> Tensor:
        f = network()
        energy = BYOL(f, None, EMA(f, cosine(0.2)))
        for done, steps in zip([0, *np.cumsum(parts).tolist()], parts, strict=False):
            learn(energy, steps, callbacks=[update_targets(energy, sum(parts), done=done)])
        return energy.target(pair_of_views()["x"])

    torch.testing.assert_close(trained([2, 3]), trained([5]), rtol=1e-12, atol=1e-13)


def test_targets_refuse_what_makes_no_sense() -> None:
    f = network()
    energy = SimSiam(f, None)
    with pytest.raises(ValueError, match=r"no target that moves.*compose it with EMA\(encoder, 0.996\)"):
        update_targets(energy, 5)
    with pytest.raises(ValueError, match=r"a decay lies from 0 to 1; got 1.5"):
        EMA(f, 1.5)
    with pytest.raises(ValueError, match=r"a decay lies from 0 to 1; got -0.5 at step 2 of 2"):
        EMA(f, linear(0.5, -1.5)).update(2, 2)
    for step in (0, 4):
        with pytest.raises(ValueError, match=rf"got step {step} of 3. Tell it how many steps the training"):
            EMA(f, 0.5).update(step, 3)
    slow = BYOL(f, None)
    with pytest.raises(ValueError, match=r"got step 3 of 2"):
        learn(slow, 3, callbacks=[update_targets(slow, 2)])
