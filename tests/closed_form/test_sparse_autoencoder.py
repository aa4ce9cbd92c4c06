"""Sparse auto-encoders: each activation by its paper's formula, guesses and inference, dead latents."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import combinations

import pytest
import torch
from sklearn.linear_model import Lasso
from torch import Tensor

from ebm.loss import AverageEnergy, Loss
from ebm.regularized import SparseAutoEncoder
from ebm.regularized.sparse_activations import (
    BatchTopK,
    Gated,
    JumpReLU,
    Rectified,
    SparseActivation,
    TopK,
)
from ebm.regularized.sparse_autoencoder_loss import DeadReconstruction, GateReconstruction, Revive
from ebm.regularizers.nonnegative_counts import KSparse, NonNegativeL0
from ebm.testing import check_derivatives, check_energy, check_prox
from ebm.train import fit

DOUBLE = torch.float64
LATENTS, SIZE = 12, 6


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DOUBLE)


def unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True)


MAKERS: dict[str, Callable[[], SparseActivation]] = {
    "rectified": lambda: Rectified(0.3),
    "top-k": lambda: TopK(3),
    "batch top-k": lambda: BatchTopK(3),
    "jump": lambda: JumpReLU(LATENTS, 0.3, threshold=0.4, bandwidth=0.2),
    "gated": lambda: Gated(LATENTS, 0.3),
}


def model_of(name: str) -> SparseAutoEncoder:
    """A model in evaluation mode, every parameter away from where it begins."""
    model = SparseAutoEncoder.from_data(draw(50, SIZE), LATENTS, MAKERS[name](), generator=seeded(1))
    with torch.no_grad():
        for seed, parameter in enumerate(model.parameters()):
            parameter += 0.2 * draw(*parameter.shape, seed=100 + seed)
    if isinstance(model.activation, BatchTopK):
        model.activation.threshold.fill_(0.7)
    return model.eval()


# --- regularizers that count --------------------------------------------------------------------------------


def test_the_counting_proxes_minimize_what_they_say() -> None:
    v = draw(6, 5)
    for regularizer in (NonNegativeL0("z"), KSparse("z", 2)):
        check_prox(regularizer, {"z": v})
    for row in v:  # by every support
        step = torch.tensor([0.3], dtype=DOUBLE)
        candidates = []
        for size in range(6):
            for support in combinations(range(5), size):
                u = torch.zeros(5, dtype=DOUBLE)
                u[list(support)] = row[list(support)].clamp(min=0)
                candidates.append(u)
        points = torch.stack(candidates)
        near = 0.5 * (points - row).square().sum(1)
        for regularizer in (NonNegativeL0("z"), KSparse("z", 2)):
            value = near + step * regularizer(z=points)
            torch.testing.assert_close(regularizer.prox(row[None], step)[0], points[value.argmin()])


# --- the activations ----------------------------------------------------------------------------------------


def test_top_k_is_the_nearest_code_of_its_set_and_jump_relu_that_of_its_cost() -> None:
    a = draw(7, LATENTS)
    z = TopK(3)(a)
    assert ((z > 0).sum(1) == (a > 0).sum(1).clamp(max=3)).all()
    torch.testing.assert_close(z, KSparse("z", 3).prox(a, torch.ones(7)))
    jump = JumpReLU(LATENTS, 0.3, threshold=0.4).double()
    step = torch.full((7,), 0.5 * 0.4**2, dtype=DOUBLE)
    torch.testing.assert_close(jump(a).detach(), NonNegativeL0("z").prox(a, step))
    torch.testing.assert_close(jump.charge(a).detach(), 0.3 * (a > 0.4).sum(1).double())


def test_batch_top_k_takes_k_a_row_on_average_and_a_threshold_later() -> None:
    activation, a = BatchTopK(3).double(), draw(40, LATENTS).abs() * torch.arange(40)[:, None]
    z = activation(a)
    assert int((z > 0).sum()) == 3 * 40 and len(set((z > 0).sum(1).tolist())) > 3
    assert (z[z > 0].min() >= a[z == 0].max()) and torch.equal(z[z > 0], a[z > 0])
    least = float(z[z > 0].min())
    assert float(activation.threshold) == pytest.approx(least)
    activation(2 * a)
    assert float(activation.threshold) == pytest.approx(0.99 * least + 0.01 * 2 * least)
    with torch.no_grad():
        activation(100 * a)  # a look in passing changes nothing
    assert float(activation.threshold) == pytest.approx(1.01 * least)
    activation.eval()
    torch.testing.assert_close(activation(a), torch.where(a >= activation.threshold, a, 0.0))
    torch.testing.assert_close(activation(a)[3:5], activation(a[3:5]))


def test_the_straight_through_derivatives_are_those_of_the_expected_loss() -> None:
    """With a ~ N(0, 1): d⟨H(a - θ)⟩/dθ = -p(θ), d⟨a H(a - θ)⟩/dθ = -θ p(θ); the kernel's bias is O(ε²)."""
    draws, theta, bandwidth = 400_000, 0.5, 0.1
    jump = JumpReLU(1, sparsity=1.0, threshold=theta, bandwidth=bandwidth).double()
    a = draw(draws, 1)
    density = math.exp(-0.5 * theta**2) / math.sqrt(2 * math.pi)
    error = math.sqrt(density / bandwidth / draws)  # of a share p·ε of hits, each worth 1/ε
    for value, expected in ((jump.charge(a), -density), (jump(a)[:, 0], -theta * density)):
        jump.zero_grad()
        value.mean().backward()
        slope = float(jump.log_threshold.grad) / theta  # d/dθ = (d/d log θ) / θ
        scale = 1.0 if expected == -density else theta
        assert abs(slope - expected) < scale * (4 * error + density * bandwidth**2 / 24)
    a = a[:5].requires_grad_()
    jump.charge(a).sum().backward()
    assert a.grad is None or not a.grad.any()  # the count asks nothing of a
    (slope,) = torch.autograd.grad(jump(a).sum(), a)
    assert torch.equal(slope, (a > theta).double())


def test_a_gated_code_is_the_papers() -> None:
    """Gate W x + b_gate > 0, magnitude relu(e^r W x + b_mag): eq. 6 and 7 with c = b_mag - e^r b_gate."""
    model = model_of("gated")
    gated = model.activation
    assert isinstance(gated, Gated)
    y, gain = draw(20, SIZE, seed=7), gated.log_gain.exp()
    projected = (y - model.reconstruction.bias) @ model.encoder
    magnitude_bias = gated.offset + gain * model.encoder_bias
    on = projected + model.encoder_bias > 0
    expected = torch.where(on, (projected * gain + magnitude_bias).relu(), 0.0)
    torch.testing.assert_close(model.encode(y), expected)
    assert (on & (expected == 0)).any() and (expected > 0).any()


# --- the energies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAKERS)
def test_the_free_energy_keeps_its_contract_and_is_the_energy_of_the_guess(name: str) -> None:
    model, y = model_of(name), draw(9, SIZE, seed=7)
    check_energy(model.free_energy.eval(), {"y": y})
    z, free = model.encode(y), model.free_energy.eval()(y=y)
    plain = (y - model.reconstruction.bias - z @ unit(model.reconstruction.atoms)).square().sum(1)
    if name == "gated":
        free = free - 0.3 * model.preactivations(y).relu().sum(1) + 0.3 * z.sum(1)
    cost = {"rectified": 0.3 * z.sum(1), "gated": 0.3 * z.sum(1), "jump": 0.3 * (z > 0).sum(1)}
    torch.testing.assert_close(free, plain + cost.get(name, 0.0))
    torch.testing.assert_close(model(y=y, z=z), free)


@pytest.mark.parametrize("name", ["rectified", "gated", "jump", "batch top-k"])
def test_the_joint_energy_keeps_its_contract(name: str) -> None:
    example = {"y": draw(5, SIZE), "z": draw(5, LATENTS, seed=1).abs() + 0.1}
    check_energy(model_of(name), example)
    check_derivatives(model_of(name).reconstruction, example)


def test_inference_from_the_guess_is_exact_where_it_is_convex() -> None:
    model, y = model_of("rectified"), draw(8, SIZE, seed=7)
    found = model.infer(y, tol=1e-9)
    assert found.converged.all()
    atoms = model.dictionary.detach().numpy()
    centered = (y - model.reconstruction.bias).detach().numpy()
    for i in range(8):  # |y - zD|² + λ|z|₁ is 2P times scikit-learn's ½/P |y - zD|² + λ/(2P) |z|₁
        lasso = Lasso(0.3 / (2 * SIZE), fit_intercept=False, positive=True, tol=1e-12, max_iter=100_000)
        z = torch.from_numpy(lasso.fit(atoms.T, centered[i]).coef_)
        torch.testing.assert_close(found.energy[i], model(y=y[i : i + 1], z=z[None])[0].detach())
    assert (found.energy < model.free_energy(y=y)).all()


@pytest.mark.parametrize("name", ["top-k", "jump", "batch top-k"])
def test_inference_is_never_above_the_guess_and_best_on_its_support(name: str) -> None:
    model, y = model_of(name), draw(30, SIZE, seed=7)
    found = model.infer(y, tol=1e-8, max_steps=5000)
    z = found.value
    assert isinstance(z, Tensor) and found.converged.all()
    free = model.free_energy.eval()(y=y).detach()
    assert (found.energy <= free).all() and (found.energy < free - 0.01).sum() > 15
    if name == "top-k":
        assert ((z > 0).sum(1) <= 3).all()
    slope = -2 * (y - model.decode(z)) @ model.dictionary.T
    assert slope[z > 0].abs().max() < 1e-6


# --- learning -----------------------------------------------------------------------------------------------


def sparse_data(rows: int, seed: int) -> Tensor:
    """Sums of three of 24 directions in the space of 16, with weights in [1, 2], about (1, ..., 1)."""
    order = torch.rand(rows, 24, generator=seeded(seed)).argsort(1)[:, :3]
    weights = 1 + torch.rand(rows, 3, generator=seeded(seed + 1), dtype=DOUBLE)
    codes = torch.zeros(rows, 24, dtype=DOUBLE).scatter(1, order, weights)
    return 1 + codes @ truth() + 0.01 * draw(rows, 16, seed=seed + 2)


def truth() -> Tensor:
    return unit(draw(24, 16, seed=40))


def learn(
    activation: SparseActivation, loss: Loss, steps: int = 800, revive: bool = False
) -> SparseAutoEncoder:
    y = sparse_data(3000, 1)
    model = SparseAutoEncoder.from_data(y, 32, activation, generator=seeded(3))
    callbacks = [Revive(model, y[:1000], every=50, until=steps // 2)] if revive else []
    fit(
        model.free_energy,
        loss,
        y,
        optimizer=partial(torch.optim.Adam, lr=1e-2),
        steps=steps,
        batch_size=200,
        callbacks=callbacks,
        generator=seeded(4),
        progress=False,
    )
    return model


LEARNED: dict[str, Callable[[], tuple[SparseActivation, Loss]]] = {
    "rectified": lambda: (Rectified(0.6), AverageEnergy()),
    "top-k": lambda: (TopK(3), AverageEnergy() + (1 / 32) * DeadReconstruction(32, 8, patience=2000)),
    "batch top-k": lambda: (BatchTopK(3), AverageEnergy()),
    "jump": lambda: (JumpReLU(32, 0.1, threshold=0.3, bandwidth=0.3), AverageEnergy()),
    "gated": lambda: (Gated(32, 1.0), AverageEnergy() + GateReconstruction()),
}


@pytest.mark.parametrize("name", LEARNED)
def test_each_finds_the_directions_that_made_the_data(name: str) -> None:
    model = learn(*LEARNED[name](), revive=name != "top-k")
    report = model.latents(sparse_data(1000, 60))
    cosines = (truth() @ model.dictionary.detach().T).amax(1)
    assert cosines.mean() > 0.9
    assert report.explained > 0.85 and 2 < report.active < 6
    torch.testing.assert_close(model.dictionary.norm(dim=1), torch.ones(32, dtype=DOUBLE))


def test_dead_latents_are_reported_and_revived_towards_what_is_explained_worst() -> None:
    y = sparse_data(300, 1)
    model = SparseAutoEncoder.from_data(y, 20, TopK(3), generator=seeded(3))
    with torch.no_grad():
        model.encoder_bias[[4, 9]] = -1e3
    before = model.latents(y)
    assert before.dead[[4, 9]].all()
    assert before.frequency.sum().item() == pytest.approx(before.active) and before.active <= 3
    gone, energy = before.dead.nonzero().flatten(), model.free_energy(y=y).detach()
    worst = energy.argsort(descending=True)[: len(gone)]
    assert model.revive(y) == len(gone)
    directions = unit(y[worst] - model.reconstruction.bias.detach())
    torch.testing.assert_close(model.dictionary[gone].detach(), directions)
    alive = model.encoder[:, ~before.dead].norm(dim=0).mean()
    torch.testing.assert_close(model.encoder[:, gone].T.detach(), (alive * directions).detach())
    after = model.latents(y)
    assert not after.dead[gone].any()
    assert (model.encode(y[worst])[range(len(gone)), gone] > 0).all()


def test_only_dead_latents_learn_from_what_is_left() -> None:
    y = sparse_data(50, 1)
    model = SparseAutoEncoder.from_data(y, 20, TopK(3), generator=seeded(3))
    with torch.no_grad():
        model.encoder_bias[[4, 9, 11]] = -1e3
    loss = DeadReconstruction(20, 2, patience=50)
    assert float(loss(model.free_energy, y=y).loss.detach()) == 0.0  # nothing was dead so far
    on = (model.encode(y) > 0).any(0)
    assert torch.equal(loss.dead, ~on) and not on[[4, 9, 11]].any()
    with torch.no_grad():
        model.encoder_bias[[4, 9, 11]] = 0.0  # idle for long, and yet not beyond learning
    output = loss(model.free_energy, y=y)
    assert int(output.terms["dead latents"]) == int((~on).sum())
    a = model.preactivations(y).masked_fill(on, -torch.inf)
    values, index = a.topk(2, 1)
    z = torch.zeros_like(a).scatter(1, index, values.relu())
    left = y - model.decode(model.encode(y))
    torch.testing.assert_close(output.loss, (left - z @ model.dictionary).square().sum(1).mean())
    output.loss.backward()
    assert model.encoder.grad is not None and model.reconstruction.atoms.grad is not None
    assert not model.encoder.grad[:, on].any() and not model.reconstruction.atoms.grad[on].any()
    assert model.encoder.grad[:, ~on].any() and model.reconstruction.atoms.grad[~on].any()
    counted = loss.idle.clone()
    loss.eval()(model.free_energy, y=y)
    assert torch.equal(loss.idle, counted)


def test_the_gate_learns_by_its_own_reconstruction_and_leaves_the_decoder_alone() -> None:
    model, y = model_of("gated"), draw(20, SIZE, seed=7)
    a = model.preactivations(y)
    expected = (y - model.reconstruction.bias - a.relu() @ model.dictionary).square().sum(1).mean()
    output = GateReconstruction()(model.free_energy, y=y)
    torch.testing.assert_close(output.loss, expected)
    output.loss.backward()
    assert model.reconstruction.atoms.grad is None and model.encoder.grad is not None
    total = (AverageEnergy() + GateReconstruction())(model.free_energy, y=y)
    z = model.encode(y)
    published = (y - model.decode(z)).square().sum(1) + 0.3 * a.relu().sum(1)
    torch.testing.assert_close(total.loss, published.mean() + expected)


def test_bad_input_is_told() -> None:
    y, model = draw(4, SIZE), model_of("top-k")
    with pytest.raises(ValueError, match="none of them 0; got "):
        SparseAutoEncoder(torch.zeros(3, 2), TopK(1))
    with pytest.raises(ValueError, match=r"b is \(2,\), as an atom; got shape \(3,\)"):
        SparseAutoEncoder(torch.eye(2), TopK(1), torch.zeros(3))
    with pytest.raises(ValueError, match=r"NaN or infinity in 1 of 3 rows, \[2\]"):
        SparseAutoEncoder.from_data(torch.tensor([[0.0], [1.0], [torch.inf]]), 2, TopK(1))
    with pytest.raises(ValueError, match="at least 1 rows of data are needed"):
        SparseAutoEncoder.from_data(torch.zeros(0, 2), 2, TopK(1))
    with pytest.raises(ValueError, match=r"data is \(B, 6\), codes \(B, 12\); got \(4, 6\) and \(4, 11\)"):
        model(y=y, z=torch.zeros(4, 11))
    with pytest.raises(ValueError, match="k must be an integer of at least 1; got 0"):
        TopK(0)
    with pytest.raises(ValueError, match="sparsity must be finite and positive; got -1"):
        Rectified(-1)
    with pytest.raises(ValueError, match="bandwidth must be finite and positive"):
        JumpReLU(3, 0.1, bandwidth=0.0)
    with pytest.raises(TypeError, match="of the `free_energy` of a SparseAutoEncoder; got SparseAutoEncoder"):
        GateReconstruction()(model, y=y)
    with pytest.raises(ValueError, match="watches 5 latents; the model has 12"):
        DeadReconstruction(5, 2)(model.free_energy, y=y)
