"""BYOL, SimSiam, MoCo and DINO against plain loops written from the papers, and the collapses they avoid."""

from __future__ import annotations

import copy
import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ebm import Energy
from ebm.checkpoint import Checkpoint
from ebm.data import digits
from ebm.joint import (
    BYOL,
    DINO,
    EMA,
    AgainstQueue,
    Branch,
    CenteredCrossEntropy,
    DINOHead,
    MoCo,
    Shared,
    Siamese,
    SimSiam,
    SquaredDistance,
    StopGradient,
    constant,
    cosine,
    ramp,
    update_targets,
)
from ebm.loss import ON_DATA, AverageEnergy, Loss
from ebm.nets import mlp
from ebm.processes import rank, world_size
from ebm.testing import check_energy
from ebm.testing.processes import run_processes
from ebm.train import fit

DOUBLE = torch.float64
ROWS, WIDTH = 6, 4  # of a batch; of a code


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DOUBLE)


def network(seed: int = 0, inputs: int = 3) -> nn.Sequential:
    return mlp(inputs, 8, WIDTH, generator=seeded(seed)).double()


def views(rows: int = ROWS) -> dict[str, Tensor]:
    return {"x": draw(rows, 3, seed=11), "y": draw(rows, 3, seed=12)}


def gradients(loss: Tensor, *modules: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(loss, [p for m in modules for p in m.parameters()]))


def require_close(came: Any, expected: Any, rtol: float = 1e-12) -> None:
    torch.testing.assert_close(came, expected, rtol=rtol, atol=1e-13)


def cosines(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(1) / (a.square().sum(1).sqrt() * b.square().sum(1).sqrt())


# --- BYOL and SimSiam ---------------------------------------------------------------------------------------


def test_byol_is_the_papers_loss() -> None:
    f, h, slow = network(), network(1, WIDTH), network(2)
    target = EMA(f, 0.9)
    target.target.load_state_dict(slow.state_dict())
    v = views()
    output = AverageEnergy()(BYOL(f, h, target), **v)

    def unit(a: Tensor) -> Tensor:
        return a / a.square().sum(1, keepdim=True).sqrt()

    def direction(a: Tensor, b: Tensor) -> Tensor:
        return (unit(h(f(a))) - unit(slow(b).detach())).square().sum(1)

    expected = (direction(v["x"], v["y"]) + direction(v["y"], v["x"])).mean()
    require_close(output.loss, expected)
    require_close(gradients(output.loss, f, h), gradients(expected, f, h))


def test_byol_lies_between_0_and_8() -> None:
    f = nn.Linear(3, 3, bias=False).double()
    energy, x = BYOL(f, nn.Identity()), draw(5, 3)
    require_close(energy(x=x, y=3 * x), torch.zeros(5, dtype=DOUBLE))
    require_close(energy(x=x, y=-x), torch.full((5,), 8.0, dtype=DOUBLE))


@pytest.mark.parametrize("predictor", [True, False])
def test_simsiam_is_the_papers_loss_plus_one(predictor: bool) -> None:
    f, h, v = network(), network(1, WIDTH) if predictor else None, views()
    output = AverageEnergy()(SimSiam(f, h), **v)
    z = {name: f(view) for name, view in v.items()}
    p = {name: code if h is None else h(code) for name, code in z.items()}
    paper = -0.5 * (cosines(p["x"], z["y"].detach()) + cosines(p["y"], z["x"].detach())).mean()
    require_close(output.loss, paper + 1)
    learned = [f] if h is None else [f, h]
    require_close(gradients(output.loss, *learned), gradients(paper, *learned))


def test_simsiam_has_its_minimum_where_predictions_are_right() -> None:
    f, x = nn.Identity(), draw(5, 3)
    require_close(SimSiam(f, None)(x=x, y=2 * x), torch.zeros(5, dtype=DOUBLE))


def test_without_a_stop_gradient_both_sides_learn() -> None:
    f, h, v = network(), network(1, WIDTH), views()
    output = AverageEnergy()(SimSiam(f, h, Shared(f)), **v)
    z = {name: f(view) for name, view in v.items()}
    expected = 1 - 0.5 * (cosines(h(z["x"]), z["y"]) + cosines(h(z["y"]), z["x"])).mean()
    require_close(gradients(output.loss, f, h), gradients(expected, f, h))


def test_simsiam_with_batch_statistics_is_the_official_order() -> None:
    """z1, z2, then p1, p2: the running statistics see each view once, and both modules x before y."""
    f = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, WIDTH)).double()
    h = nn.Sequential(nn.Linear(WIDTH, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, WIDTH)).double()
    g, q, v = copy.deepcopy(f), copy.deepcopy(h), views()
    output = AverageEnergy()(SimSiam(f, h), **v)
    z1, z2 = g(v["x"]), g(v["y"])
    p1, p2 = q(z1), q(z2)
    expected = 1 - 0.5 * (cosines(p1, z2.detach()) + cosines(p2, z1.detach())).mean()
    require_close(gradients(output.loss, f, h), gradients(expected, g, q), rtol=1e-10)
    require_close([*f.buffers(), *h.buffers()], [*g.buffers(), *q.buffers()])


# --- MoCo ---------------------------------------------------------------------------------------------------


def info_nce(q: Tensor, k: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Logits of the key and of the queue, the key's first; each row's cross entropy with the label 0."""
    q, k = (a / a.square().sum(1, keepdim=True).sqrt() for a in (q, k))
    logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.T], 1) / temperature
    return -logits.log_softmax(1)[:, 0]


def test_moco_is_the_cross_entropy_of_key_and_queue() -> None:
    f, h, v = network(), network(1, WIDTH), views()
    for predictor in (None, h):
        energy = MoCo(
            f, WIDTH, queue_size=10, temperature=0.2, predictor=predictor, generator=seeded()
        ).double()
        p = f(v["x"]) if predictor is None else h(f(v["x"]))
        expected = info_nce(p, f(v["y"]).detach(), energy.queue, 0.2)
        came = energy(**v)
        require_close(came, expected)
        learned = [f] if predictor is None else [f, h]
        require_close(gradients(came.mean(), *learned), gradients(expected.mean(), *learned))


def test_moco_can_ask_in_both_directions() -> None:
    f, v = network(), views()
    energy = MoCo(f, WIDTH, queue_size=20, symmetric=True, generator=seeded()).double()
    queue = energy.queue.clone()
    ways = [info_nce(f(v[a]), f(v[b]).detach(), queue, 0.07) for a, b in (("x", "y"), ("y", "x"))]
    require_close(AverageEnergy()(energy, **v).loss, (ways[0] + ways[1]).mean() / 2)
    keys = nn.functional.normalize(torch.cat([f(v["x"]), f(v["y"])]).detach(), dim=1)
    require_close(energy.queue, torch.cat([queue[2 * ROWS :], keys]))  # each key once


def test_a_key_of_several_queries_is_remembered_once() -> None:
    f, pair = network(), AgainstQueue(WIDTH, 20, generator=seeded()).double()
    energy = Siamese(pair, f, None, StopGradient(f), online=("x", "crop"), targets=("y",))
    queue, v = pair.queue.clone(), views() | {"crop": draw(ROWS, 3, seed=13)}
    ways = [info_nce(f(v[a]), f(v["y"]).detach(), queue, 0.07) for a in ("x", "crop")]
    require_close(AverageEnergy()(energy, **v).loss, (ways[0] + ways[1]).mean() / 2)
    keys = nn.functional.normalize(f(v["y"]).detach(), dim=1)
    require_close(pair.queue, torch.cat([queue[ROWS:], keys]))


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_moco_of_a_right_key_and_an_orthogonal_queue(temperature: float) -> None:
    """log(1 + K e^(-1/T))."""
    size, width = 5, 8
    energy = AgainstQueue(width, size, temperature).double()
    energy.queue.copy_(torch.eye(width, dtype=DOUBLE)[1 : size + 1])
    code = 3 * torch.eye(width, dtype=DOUBLE)[:1]
    expected = torch.tensor([math.log1p(size * math.exp(-1 / temperature))], dtype=DOUBLE)
    torch.testing.assert_close(energy(s_x=code, s_y=2 * code), expected, rtol=1e-12, atol=0)


def test_moco_at_a_high_temperature_knows_nothing() -> None:
    energy = AgainstQueue(WIDTH, 30, 1e9, generator=seeded()).double()
    expected = torch.full((ROWS,), math.log(31), dtype=DOUBLE)
    codes = draw(ROWS, WIDTH), draw(ROWS, WIDTH, seed=1)
    torch.testing.assert_close(energy(s_x=codes[0], s_y=codes[1]), expected, rtol=1e-8, atol=0)


def test_the_first_queue_is_random_directions() -> None:
    energy = AgainstQueue(3, 20_000, generator=seeded())
    queue = energy.queue.double()
    require_close(queue.norm(dim=1), torch.ones(len(queue), dtype=DOUBLE), rtol=1e-6)
    # uniform on the sphere: mean 0 and second moments 1/3, variances 1/3 and 4/45 (diagonal), 1/15 (others)
    assert bool((queue.mean(0).abs() < 4 * math.sqrt(1 / 3 / len(queue))).all())
    moments = queue.T @ queue / len(queue) - torch.eye(3) / 3
    spread = torch.full((3, 3), 1 / 15).fill_diagonal_(4 / 45)
    assert bool((moments.abs() < 4 * (spread / len(queue)).sqrt()).all())
    assert torch.equal(energy.queue, AgainstQueue(3, 20_000, generator=seeded()).queue)


def test_the_queue_is_the_official_ring() -> None:
    """Where the size is a multiple of the batch: the same keys at every step, here the oldest first."""
    size, batch = 12, 4
    energy = AgainstQueue(WIDTH, size, generator=seeded()).double()
    ring, pointer = energy.queue.clone(), 0
    for step in range(8):
        keys = draw(batch, WIDTH, seed=step)
        energy.remember(keys)
        ring[pointer : pointer + batch] = nn.functional.normalize(keys, dim=1)
        pointer = (pointer + batch) % size
        require_close(energy.queue, torch.cat([ring[pointer:], ring[:pointer]]))


def test_a_queue_takes_batches_of_any_size() -> None:
    energy = AgainstQueue(WIDTH, 5, generator=seeded()).double()
    seen = energy.queue.clone()
    for step, batch in enumerate((2, 4, 9, 1, 5)):
        keys = draw(batch, WIDTH, seed=step)
        energy.remember(keys)
        seen = torch.cat([seen, nn.functional.normalize(keys, dim=1)])[-5:]
        require_close(energy.queue, seen)


def test_moco_learns_as_the_official_loop_does() -> None:
    """Average before keys, loss with the old queue, keys into the ring; batches of 4, a queue of 8."""
    steps, momentum, batch, size = 7, 0.6, 4, 8
    v = views(batch)
    f = network()
    query, key = copy.deepcopy(f), copy.deepcopy(f)
    energy = MoCo(f, WIDTH, EMA(f, momentum), size, 0.2, generator=seeded()).double()
    ring, pointer, losses = energy.queue.clone(), 0, []
    optimizer = torch.optim.SGD(query.parameters(), lr=0.3, momentum=0.9)
    for _ in range(steps):
        with torch.no_grad():
            for slow, p in zip(key.parameters(), query.parameters(), strict=True):
                slow.copy_(momentum * slow + (1 - momentum) * p)
        k = key(v["y"]).detach()
        loss = info_nce(query(v["x"]), k, ring.clone(), 0.2).mean()
        ring[pointer : pointer + batch] = nn.functional.normalize(k, dim=1)
        pointer = (pointer + batch) % size
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    came = learn(energy, AverageEnergy(), v, steps)
    # fit shuffles the rows, so keys of a step come in another order, and the sums in another one
    require_close(came, torch.tensor(losses, dtype=DOUBLE), rtol=1e-10)
    require_close(list(f.parameters()), list(query.parameters()), rtol=1e-9)


def learn(energy: Energy, loss: Loss, data: dict[str, Tensor], steps: int) -> Tensor:
    optimizer = partial(torch.optim.SGD, lr=0.3, momentum=0.9)
    history = fit(
        energy,
        loss,
        data,
        optimizer=optimizer,
        steps=steps,
        batch_size=len(data["x"]),
        callbacks=[update_targets(energy, steps)],
        generator=seeded(),
        progress=False,
    )
    return history.column("loss")


# --- DINO ---------------------------------------------------------------------------------------------------


def dino_loss(
    student: list[Tensor], teacher: list[Tensor], center: Tensor, cold: float, hot: float
) -> Tensor:
    total, terms = torch.zeros((), dtype=DOUBLE), 0
    for i, t in enumerate(teacher):
        e = ((t - center) / cold).exp()
        q = (e / e.sum(1, keepdim=True)).detach()
        for j, s in enumerate(student):
            if i != j:
                log_p = s / hot - (s / hot).exp().sum(1, keepdim=True).log()
                total, terms = total - (q * log_p).sum(1).mean(), terms + 1
    return total / terms


@pytest.mark.parametrize("local", [0, 3])
def test_dino_learns_as_the_official_loop_does(local: int) -> None:
    steps, hot, cold, m = 6, 0.5, [0.25, 0.3125, 0.375, 0.375, 0.375, 0.375], 0.8
    names = tuple(f"crop_{i}" for i in range(local))
    v = views() | {name: draw(ROWS, 3, seed=20 + i) for i, name in enumerate(names)}
    f = network()
    student, teacher = copy.deepcopy(f), copy.deepcopy(f)
    energy = DINO(
        f, WIDTH, EMA(f, cosine(0.5)), hot, ramp(0.25, 0.375, over=2), center_momentum=m, local=names
    ).double()
    center, losses, entropies = torch.zeros(WIDTH, dtype=DOUBLE), [], []
    optimizer = torch.optim.SGD(student.parameters(), lr=0.3, momentum=0.9)
    for k in range(steps):
        targets = [teacher(v[name]).detach() for name in ("x", "y")]
        loss = dino_loss([student(view) for view in v.values()], targets, center, cold[k], hot)
        q = torch.softmax((torch.cat(targets) - center) / cold[k], 1)
        entropies.append(-(q * q.log()).sum(1).mean().item())
        center = m * center + (1 - m) * torch.cat(targets).mean(0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        tau = 1 - 0.5 * (math.cos(math.pi * k / steps) + 1) / 2
        with torch.no_grad():
            for slow, p in zip(teacher.parameters(), student.parameters(), strict=True):
                slow.copy_(tau * slow + (1 - tau) * p)
        losses.append(loss.item())
    history = fit(
        energy,
        AverageEnergy(),
        v,
        optimizer=partial(torch.optim.SGD, lr=0.3, momentum=0.9),
        steps=steps,
        batch_size=ROWS,
        callbacks=[update_targets(energy, steps)],
        generator=seeded(),
        progress=False,
    )
    require_close(history.column("loss"), torch.tensor(losses, dtype=DOUBLE), rtol=1e-10)
    require_close(history.column("target entropy"), torch.tensor(entropies, dtype=DOUBLE), rtol=1e-10)
    require_close(energy.center, center, rtol=1e-9)
    require_close(list(energy.target.parameters()), list(teacher.parameters()), rtol=1e-9)


def test_dino_pairs_global_targets_with_all_other_views() -> None:
    energy = DINO(nn.Identity(), WIDTH, local=("a", "b"))
    expected = {(s, t) for t in "xy" for s in "xyab" if s != t}
    assert set(energy.pairs) == expected and len(energy.pairs) == 6  # 2 global views, 4 in all: 2·4 - 2


def test_a_gradient_of_dinos_loss_is_the_students_alone() -> None:
    f, v = network(), views()
    output = AverageEnergy()(DINO(f, WIDTH, StopGradient(f)).double(), **v)
    codes = [f(view) for view in v.values()]
    expected = dino_loss(codes, [c.detach() for c in codes], torch.zeros(WIDTH, dtype=DOUBLE), 0.04, 0.1)
    require_close(output.loss, expected)
    require_close(gradients(output.loss, f), gradients(expected, f), rtol=1e-11)


def test_dino_of_constant_logits_is_log_k() -> None:
    codes = torch.full((2, 7), 3.0, dtype=DOUBLE)
    energy = CenteredCrossEntropy(7).double()
    require_close(energy(s_x=codes, s_y=codes), torch.full((2,), math.log(7), dtype=DOUBLE))
    require_close(energy.report(codes)["target entropy"], torch.tensor(math.log(7), dtype=DOUBLE))


def test_the_center_is_an_average_of_batch_means() -> None:
    """c_n = (1 - m) Σ_k m^(n-k) mean_k."""
    energy = CenteredCrossEntropy(WIDTH, momentum=0.7).double()
    means = [draw(5, WIDTH, seed=k).mean(0) for k in range(6)]
    for k in range(6):
        energy.remember(draw(5, WIDTH, seed=k))
    expected = sum((0.3 * 0.7 ** (5 - k) * mean for k, mean in enumerate(means)), torch.zeros(WIDTH))
    require_close(energy.center, expected)


def test_centering_can_be_taken_away() -> None:
    f, v = network(), views()
    energy = DINO(f, WIDTH, centering=False).double()
    AverageEnergy()(energy, **v)
    assert torch.equal(energy.center, torch.zeros(WIDTH, dtype=DOUBLE))


def test_the_head_is_a_weight_normed_layer_on_normed_features() -> None:
    head = DINOHead(5, 7, hidden=6, bottleneck=4, learn_scale=True, generator=seeded()).double()
    with torch.no_grad():
        head.scale.copy_(draw(7).abs())
    h = draw(3, 5, seed=1)
    last = nn.utils.parametrizations.weight_norm(nn.Linear(4, 7, bias=False, dtype=DOUBLE))
    with torch.no_grad():
        last.parametrizations.weight.original0.copy_(head.scale[:, None])
        last.parametrizations.weight.original1.copy_(head.prototypes)
    u = head.mlp(h)
    require_close(head(h), last(u / u.square().sum(1, keepdim=True).sqrt()))
    paper = DINOHead(5, 7, generator=seeded())
    assert not paper.scale.requires_grad and bool((paper.scale == 1).all())
    weights = torch.cat([p.detach().flatten() for p in paper.mlp.parameters() if p.ndim == 2])
    error = 0.02 / math.sqrt(2 * len(weights))  # of an estimated deviation
    assert abs(float(weights.std()) - 0.02) < 4 * error


# --- the settings -------------------------------------------------------------------------------------------


def test_what_is_not_told_is_the_papers() -> None:
    f, v = network(), views()
    moco, dino, byol = MoCo(f, WIDTH), DINO(f, WIDTH).double(), BYOL(f, None)
    ends = [[e.target.decay(k, 10) for k in (0, 10)] for e in (moco, dino, byol)]
    assert ends == [[0.999, 0.999], [0.996, 1.0], [0.996, 1.0]]
    assert moco.queue.shape == (65536, WIDTH) and moco.variables == ("x", "y")
    AverageEnergy()(dino, **v)
    require_close(dino.center, 0.1 * f(torch.cat([v["x"], v["y"]])).mean(0).detach())


# --- the loss -----------------------------------------------------------------------------------------------


def test_nothing_is_remembered_in_evaluation_mode() -> None:
    v, loss = views(), AverageEnergy().eval()
    for energy in (DINO(network(), WIDTH).double(), MoCo(network(), WIDTH, queue_size=8).double()):
        before = copy.deepcopy(energy.state_dict())
        output = loss(energy, **v)
        assert all(torch.equal(t, before[n]) for n, t in energy.state_dict().items())
        assert torch.equal(output.terms[ON_DATA], output.loss.detach())
        AverageEnergy()(energy, **v)
        assert not all(torch.equal(t, before[n]) for n, t in energy.state_dict().items())


def test_memories_are_saved() -> None:
    for make in (partial(DINO, categories=WIDTH), partial(MoCo, dim=WIDTH, queue_size=8)):
        energy, other = make(network()).double(), make(network(3)).double()
        AverageEnergy()(energy, **views())
        other.load_state_dict(energy.state_dict())
        assert torch.equal(other(**views()), energy(**views()))
        check_energy(energy, views())


def test_a_composed_energy_is_remembered_too() -> None:
    f = network()
    energy = CenteredCrossEntropy(WIDTH).double().compose(s_x=(f, "x"), s_y=(StopGradient(f), "y"))
    AverageEnergy()(2.0 * energy, **views())
    require_close(energy.part.center, 0.1 * f(views()["y"]).mean(0).detach())


def test_half_precision_is_computed_in_single() -> None:
    codes = [draw(64, 32, seed=s).float() for s in (1, 2)]
    half = [c.bfloat16() for c in codes]
    for energy in (AgainstQueue(32, 100, generator=seeded()), CenteredCrossEntropy(32)):
        single = [c.float() for c in half]
        exact = energy(s_x=single[0], s_y=single[1])
        if isinstance(energy, AgainstQueue):
            torch.testing.assert_close(exact, info_nce(*single, energy.queue, 0.07), rtol=1e-4, atol=1e-4)
        came = energy(s_x=half[0], s_y=half[1])
        assert came.dtype == torch.float32
        torch.testing.assert_close(came, exact, rtol=1e-6, atol=1e-6)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            torch.testing.assert_close(energy(s_x=half[0], s_y=half[1]), exact, rtol=1e-6, atol=1e-6)
        energy.remember(half[1])
        assert {b.dtype for b in energy.buffers()} == {torch.float32}


def in_processes(codes: Tensor) -> dict[str, list[Tensor]]:
    """Queue and center after two batches, and all that is saved of energies after five steps of training."""
    queue = AgainstQueue(WIDTH, 10, generator=seeded()).double()
    center = CenteredCrossEntropy(WIDTH, momentum=0.5).double()
    for batch in codes:
        mine = batch.chunk(world_size())[rank()]
        queue.remember(mine)
        center.remember(mine)
    found = {"memories": [queue.queue, center.center]}
    moco = MoCo(network(), WIDTH, queue_size=9, generator=seeded()).double()
    for energy in (moco, DINO(network(), WIDTH).double()):
        learn(energy, AverageEnergy(), views(), 5)
        found[energy.label] = [tensor.detach() for tensor in energy.state_dict().values()]
    return found


def test_two_processes_find_what_one_finds() -> None:
    codes = draw(2, 4, WIDTH)
    alone = in_processes(codes)
    for came in run_processes(in_processes, 2, codes):
        require_close(came, alone, rtol=1e-9)


def test_a_training_that_was_cut_goes_on_as_if_it_were_not(tmp_path: Path) -> None:
    """Targets, center, queue and the teacher's temperature are where they were, and so is k of K."""

    def run(parts: list[int], file: str) -> dict[str, Tensor]:
        state: dict[str, Tensor] = {}
        for end in parts:
            f = network()
            target = EMA(f, cosine(0.5))
            energy = DINO(f, WIDTH, target, target_temperature=ramp(0.25, 0.75, over=4)).double()
            energy = energy + MoCo(f, WIDTH, target, queue_size=9, generator=seeded()).double()
            fit(
                energy,
                AverageEnergy(),
                views(),
                optimizer=partial(torch.optim.SGD, lr=0.3, momentum=0.9),
                steps=end,
                batch_size=ROWS,
                callbacks=[update_targets(energy, 6)],
                generator=seeded(),
                progress=False,
                checkpoint=Checkpoint(tmp_path / file),
            )
            state = energy.state_dict()
        return state

    cut, whole = run([3, 6], "cut"), run([6], "whole")
    assert "parts.DINO.pair.target_temperature" in cut
    assert all(torch.equal(tensor, cut[name]) for name, tensor in whole.items())


# --- errors -------------------------------------------------------------------------------------------------


def test_errors_teach() -> None:
    f = network()
    with pytest.raises(TypeError, match=r"compares two codes by an energy of s_x and s_y; got Identity"):
        Siamese(nn.Identity(), f, None, Shared(f))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"needs a target such as StopGradient\(encoder\).*; got Sequential"):
        Siamese(SquaredDistance(), f, None, f)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"predicts one view from another; got \('x',\) → \('x',\)"):
        Siamese(SquaredDistance(), f, None, Shared(f), online=("x",), targets=("x",))
    with pytest.raises(ValueError, match=r"holds 1 key or more.*got size=0, dim=4, temperature=0.07"):
        MoCo(f, WIDTH, queue_size=0)
    with pytest.raises(ValueError, match=r"temperature is positive.*temperature=0"):
        MoCo(f, WIDTH, temperature=0)
    with pytest.raises(ValueError, match=r"momentum lies from 0 to 1; got categories=4 and momentum=1.5"):
        DINO(f, WIDTH, center_momentum=1.5)
    with pytest.raises(ValueError, match=r"at least 1 category, .*; got categories=0 and momentum=0.9"):
        DINO(f, 0)
    with pytest.raises(ValueError, match=r"target_temperature must be finite and positive; got 0.0"):
        DINO(f, WIDTH, target_temperature=0.0)
    with pytest.raises(ValueError, match=r"keys of 5 numbers, so s_x must be \(N, 5\).*\(6, 4\).*the dim of"):
        MoCo(f, 5)(**views())
    with pytest.raises(ValueError, match=r"are 5 categories, so s_x must be \(N, 5\); got shape \(6, 4\)"):
        DINO(f, 5)(**views())
    for pair in (AgainstQueue(WIDTH, 3).double(), CenteredCrossEntropy(WIDTH).double()):
        with pytest.raises(ValueError, match=r"s_y must be \(N, 4\); got shape \(6, 1\)"):  # not broadcast
            pair(s_x=draw(6, WIDTH), s_y=draw(6, 1))
    with pytest.raises(TypeError, match=r"DINO is an energy of x, y, crop; got x, y, so 'crop' is missing"):
        AverageEnergy()(DINO(f, WIDTH, local=("crop",)), **views())
    with pytest.raises(ValueError, match=r"the data has 0 rows"):
        AverageEnergy()(SimSiam(f, None), **views(0))


# --- collapses ----------------------------------------------------------------------------------------------

CODES = 16
ALIVE = 0.5 / math.sqrt(CODES)  # of the deviation 1/√D that codes spread over the sphere have
COLLAPSED = 0.1 / math.sqrt(CODES)


def two_views(rows: int = 512, noise: float = 0.3) -> dict[str, Tensor]:
    images = digits().images[:rows].float().flatten(1)
    return {n: images + noise * torch.randn(images.shape, generator=seeded(s)) for s, n in enumerate("xy")}


def train(energy: Energy, steps: int, seed: int, **settings: Any) -> None:
    moving = not isinstance(energy.target, Shared | StopGradient)
    fit(
        energy,
        AverageEnergy(),
        two_views(),
        steps=steps,
        batch_size=128,
        callbacks=[update_targets(energy, steps)] if moving else [],
        generator=seeded(seed),
        progress=False,
        **settings,
    )


@torch.no_grad()
def deviation(encoder: nn.Module) -> float:
    """The standard deviation of codes on the unit sphere, mean over dimensions (SimSiam, fig. 2)."""
    return float(nn.functional.normalize(encoder(two_views()["x"]), dim=1).std(0).mean())


def with_normalization(*sizes: int) -> nn.Sequential:
    first, hidden, last = sizes
    return nn.Sequential(
        nn.Linear(first, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, last)
    )


def slow(encoder: nn.Module) -> Branch:
    return EMA(encoder, constant(0.8))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("method", "branch", "predicts", "alive"),
    [
        (SimSiam, StopGradient, True, True),
        (SimSiam, Shared, True, False),
        (SimSiam, StopGradient, False, False),
        (BYOL, slow, True, True),
        (BYOL, slow, False, False),
    ],
    ids=["SimSiam", "no stop-gradient", "SimSiam, no predictor", "BYOL", "BYOL, no predictor"],
)
def test_what_keeps_codes_alive(method: Any, branch: Any, predicts: bool, alive: bool, seed: int) -> None:
    torch.manual_seed(seed)
    encoder, predictor = with_normalization(64, 64, CODES), with_normalization(CODES, 32, CODES)
    energy = method(encoder, predictor if predicts else None, branch(encoder))
    train(energy, 200, seed, optimizer=partial(torch.optim.SGD, lr=0.2, momentum=0.9, weight_decay=1e-4))
    came = deviation(encoder)
    assert came > ALIVE if alive else came < COLLAPSED, came


@pytest.mark.parametrize("part", ["both", "no centering", "no sharpening"])
def test_dino_needs_centering_and_sharpening(part: str) -> None:
    """Entropies in parts of log K: of a target, and of the mean target. One category for all: 0 and 0; all
    categories alike: 1 and 1; each example its own: small and large."""
    torch.manual_seed(0)
    categories = 32
    student = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, categories))
    sharp = 0.1 if part == "no sharpening" else 0.04
    energy = DINO(
        student,
        categories,
        EMA(student, cosine(0.9)),
        target_temperature=sharp,
        centering=part != "no centering",
    )
    train(energy, 300, 0, optimizer=partial(torch.optim.AdamW, lr=1e-3))
    with torch.no_grad():
        q = torch.softmax((energy.target(two_views()["x"]) - energy.center) / sharp, 1)
    own = torch.special.entr(q).sum(1).mean().item() / math.log(categories)
    mean = torch.special.entr(q.mean(0)).sum().item() / math.log(categories)
    if part == "both":
        assert own < 0.35 and mean > 0.6, (own, mean)
    elif part == "no centering":
        assert own < 0.01 and mean < 0.05, (own, mean)
    else:
        assert own > 0.98, (own, mean)
