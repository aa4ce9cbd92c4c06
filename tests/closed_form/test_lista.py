"""LISTA: it begins as ISTA, learns to be better than FISTA at its depth, and is a good start."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR

from ebm import minimize
from ebm.infer import ProximalGradient
from ebm.infer.starts import Network, Zeros
from ebm.loss import AverageEnergy
from ebm.regularized import LISTA, SparseCoding
from ebm.regularized.lista import Curves, error_against_depth, largest_curvature
from ebm.regularizers import L1, GroupL1, NonNegativeL1, Regularizer
from ebm.testing import check_energy
from ebm.train import fit

DOUBLE = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DOUBLE)


def unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True)


def problem(regularizer: Regularizer | None = None) -> SparseCoding:
    return SparseCoding(unit(draw(20, 10)), 0.1, regularizer)


def data(rows: int, seed: int) -> Tensor:
    """Sums of a few atoms with Gaussian weights, a bit blurred."""
    active = torch.rand(rows, 20, generator=seeded(seed), dtype=DOUBLE) < 0.15
    codes = torch.where(active, draw(rows, 20, seed=seed + 1), 0.0)
    return codes @ unit(draw(20, 10)) + 0.05 * draw(rows, 10, seed=seed + 2)


def ista(model: SparseCoding, y: Tensor, steps: int) -> Tensor:
    """As its papers write it, in a loop of its own."""
    atoms, length = model.dictionary, torch.linalg.eigvalsh(model.dictionary @ model.dictionary.T)[-1]
    z = torch.zeros(len(y), len(atoms), dtype=DOUBLE)
    for _ in range(steps):
        v = z - (z @ atoms - y) @ atoms.T / length
        z = v.sign() * (v.abs() - 0.1 / length).clamp(min=0)
        z = z.clamp(min=0) if isinstance(model.regularizer, NonNegativeL1) else z
    return z


@pytest.mark.parametrize("regularizer", [L1("z"), NonNegativeL1("z")], ids=repr)
@pytest.mark.parametrize("tied", [True, False])
def test_untrained_it_is_ista(regularizer: Regularizer, tied: bool) -> None:
    model, y = problem(regularizer), data(30, 3)
    # sign(v) max(|v| - θ, 0), then clipped at 0, is max(v - θ, 0)
    for steps in (1, 2, 5, 9):
        lista = LISTA(model, steps, tied=tied)
        torch.testing.assert_close(lista(y), ista(model, y, steps), rtol=1e-12, atol=1e-13)
        assert len(lista.encoder) == (1 if tied else steps)
        method = ProximalGradient(1 / largest_curvature(model), backtracking=False)
        solution = minimize(model, Zeros(20), method, given={"y": y}, max_steps=steps, tol=0.0)
        torch.testing.assert_close(lista(y).detach(), solution.value)


def trained(model: SparseCoding, layers: int, y: Tensor, tied: bool = True) -> LISTA:
    lista, steps = LISTA(model, layers, tied=tied), 300
    codes = model.infer(y, tol=1e-6).value
    assert isinstance(codes, Tensor)
    fit(
        lista.code_error,
        AverageEnergy(),
        {"y": y, "z": codes},
        optimizer=partial(torch.optim.Adam, lr=5e-3),
        steps=steps,
        batch_size=200,
        schedule=partial(CosineAnnealingLR, T_max=steps),
        generator=seeded(5),
        progress=False,
    )
    return lista


@pytest.fixture(scope="module")
def learned() -> tuple[SparseCoding, Tensor, list[LISTA], Curves]:
    model, held_out = problem(), data(200, 50)
    networks = [trained(model, layers, data(1500, 10)) for layers in (3, 5, 8)]
    return model, held_out, networks, error_against_depth(model, held_out, networks)


def test_trained_it_is_nearer_than_fista_at_equal_depth(
    learned: tuple[SparseCoding, Tensor, list[LISTA], Curves],
) -> None:
    *_, curves = learned
    assert curves.depth.tolist() == [3, 5, 8]
    assert (curves.lista < 0.8 * torch.minimum(curves.ista, curves.fista)).all()
    assert (curves.lista.diff() < 0).all()


def test_the_curves_of_ista_are_those_of_its_loop(
    learned: tuple[SparseCoding, Tensor, list[LISTA], Curves],
) -> None:
    model, y, _, curves = learned
    exact = ista(model, y, 10_000)
    for i, steps in enumerate((3, 5, 8)):
        error = (ista(model, y, steps) - exact).square().sum() / exact.square().sum()
        torch.testing.assert_close(curves.ista[i], error, rtol=1e-6, atol=0)
    atoms, length = model.dictionary, largest_curvature(model)
    z = before = torch.zeros_like(exact)
    momentum = 1.0
    for steps in range(1, 81):  # Beck & Teboulle (2009), eq. 4.1-4.3
        grown = 0.5 * (1 + (1 + 4 * momentum**2) ** 0.5)
        if steps == 1:
            v = z
        else:
            v = z + (momentum - 1) / grown * (z - before)
            momentum = grown
        v = v - (v @ atoms - y) @ atoms.T / length
        before, z = z, v.sign() * (v.abs() - 0.1 / length).clamp(min=0)
        if steps == 8:
            error = (z - exact).square().sum() / exact.square().sum()
            torch.testing.assert_close(curves.fista[2], error, rtol=1e-6, atol=0)
    error = (z - exact)[:50].square().sum() / exact[:50].square().sum()
    came = error_against_depth(model, y[:50], [LISTA(model, 80)]).fista[0]
    torch.testing.assert_close(came, error, rtol=1e-4, atol=0)  # in 80 steps a momentum set to 0 would show


def test_a_learned_start_spares_steps_and_finds_the_same_codes(
    learned: tuple[SparseCoding, Tensor, list[LISTA], Curves],
) -> None:
    model, y, networks, _ = learned
    method = ProximalGradient(1 / largest_curvature(model), backtracking=False)
    cold = minimize(model, Zeros(20), method, given={"y": y}, max_steps=5000, tol=1e-4)
    warm = minimize(model, Network(networks[-1], "y"), method, given={"y": y}, max_steps=5000, tol=1e-4)
    assert cold.converged.all() and warm.converged.all()
    torch.testing.assert_close(warm.energy, cold.energy, atol=1e-5, rtol=0)
    assert float(warm.steps.double().mean()) < 0.9 * float(cold.steps.double().mean())
    inferred = model.infer(y, start=Network(networks[-1], "y"), tol=1e-4)
    from_zero = model.infer(y, tol=1e-4)
    assert float(inferred.steps.double().mean()) < 0.9 * float(from_zero.steps.double().mean())


def test_trained_on_the_energy_itself_it_needs_no_codes() -> None:
    model, y, held_out = problem(), data(2000, 10), data(300, 50)
    lista = LISTA(model, 3)
    energy = model.compose(z=(lista, "y"))
    before = float(energy(y=held_out).detach().mean())
    adam = partial(torch.optim.Adam, lr=3e-3)
    fit(
        energy,
        AverageEnergy(),
        y,
        optimizer=adam,
        steps=200,
        batch_size=200,
        generator=seeded(),
        progress=False,
    )
    best = float(model.infer(held_out).energy.mean())
    after = float(energy(y=held_out).detach().mean())
    assert best < after < best + 0.5 * (before - best)
    torch.testing.assert_close(model.dictionary, problem().dictionary)  # which no step has touched


def test_the_code_error_keeps_its_contract() -> None:
    error = LISTA(problem(), 2).code_error
    check_energy(error, {"y": draw(4, 10), "z": draw(4, 20, seed=1)})


def test_bad_input_is_told() -> None:
    with pytest.raises(TypeError, match="GroupL1 has no `shrinkage`"):
        LISTA(problem(GroupL1("z", 5)), 2)
    with pytest.raises(ValueError, match="layers must be an integer of at least 1; got 0"):
        LISTA(problem(), 0)
    with pytest.raises(ValueError, match=r"reads data \(B, 10\), as its dictionary has; got shape \(4, 9\)"):
        LISTA(problem(), 1)(draw(4, 9))
    with pytest.raises(ValueError, match=r"its \|D\|² is 0"):
        LISTA(SparseCoding(torch.zeros(2, 3)), 1)
    with pytest.raises(ValueError, match="no depth to look at"):
        error_against_depth(problem(), draw(4, 10), [])
    with pytest.raises(ValueError, match="every code is 0"):
        error_against_depth(problem(), 0 * draw(4, 10), [LISTA(problem(), 1)])
