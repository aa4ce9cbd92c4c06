"""Quantizers: assignments by brute force, gradients by matrices, codebooks by hand and by Lloyd."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import sklearn.cluster
import torch
from torch import Tensor

from ebm import Choices, minimize
from ebm.infer import Enumerate
from ebm.infer.starts import Zeros
from ebm.processes import rank, world_size
from ebm.regularized.finite_scalar import FiniteScalarQuantization
from ebm.regularized.quantizer import Usage, rotated, straight_through
from ebm.regularized.residual_quantization import ResidualQuantization
from ebm.regularized.vector_quantization import VectorQuantization
from ebm.testing import check_energy
from ebm.testing.processes import run_processes

DOUBLE = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DOUBLE)


def residual(stages: int = 3, codes: int = 4, size: int = 2) -> ResidualQuantization:
    return ResidualQuantization(
        [VectorQuantization(draw(codes, size, seed=s) / 2**s, "gradient") for s in range(stages)]
    )


# --- the energy and its minimum -----------------------------------------------------------------------------


def test_the_energies_keep_their_contract() -> None:
    h, z = draw(4, 3, 2), torch.arange(12).view(4, 3) % 5
    check_energy(VectorQuantization(draw(5, 2, seed=1)), {"h": h, "z": z})
    check_energy(residual(), {"h": h, "z": torch.arange(36).view(4, 3, 3) % 4})
    check_energy(FiniteScalarQuantization((4, 3)).double(), {"h": h, "z": z})


@pytest.mark.parametrize(
    "quantizer", [VectorQuantization(draw(9, 2, seed=1)), residual(2, 3)], ids=["one", "two"]
)
def test_inference_against_every_code(quantizer: VectorQuantization | ResidualQuantization) -> None:
    h, stages = draw(50, 2), quantizer.stages
    start = Zeros() if stages == 1 else Zeros(stages)
    best = minimize(quantizer, Choices(start, quantizer.choices), Enumerate(), given={"h": h})
    found = quantizer.infer(h) if stages == 1 else quantizer.infer(h, width=3)
    assert isinstance(found.value, Tensor) and found.converged.all() and set(found.reasons) == {"exhausted"}
    torch.testing.assert_close(found.energy, best.energy)
    assert torch.equal(found.value, best.value)
    torch.testing.assert_close(quantizer(h=h, z=found.value), found.energy)


def test_cells_are_assigned_each_on_its_own() -> None:
    quantizer = VectorQuantization(draw(7, 3, seed=1))
    h = draw(4, 5, 6, 3)
    z, code = quantizer.quantize(h).z, quantizer.quantize(h).code
    every = torch.cdist(h.reshape(-1, 3), quantizer.codebook).argmin(1).view(4, 5, 6)
    assert torch.equal(z, every) and torch.equal(code, quantizer.codebook[every])
    torch.testing.assert_close(quantizer.infer(h).energy, (h - code).square().sum((1, 2, 3)))


def test_a_wider_beam_is_no_worse_and_the_first_is_greedy() -> None:
    quantizer, h = residual(3, 4), draw(200, 2)
    energies = [quantizer.infer(h, width).energy for width in (1, 4, 16)]
    assert torch.equal(quantizer.search(h, 1), quantizer.assign(h))
    assert (energies[0] > energies[2] + 1e-9).any() and (energies[1] >= energies[2] - 1e-12).all()
    assert energies[0].mean() > energies[1].mean() > energies[2].mean() - 1e-12
    reasons = [quantizer.infer(h, width).reasons[0] for width in (1, 15, 16)]
    assert reasons == ["stalled", "stalled", "exhausted"]
    deep = draw(3, 5, 2)
    assert torch.equal(quantizer.search(deep, 16), quantizer.search(deep.view(15, 2), 16).view(3, 5, 3))
    codes = torch.stack([level.codebook for level in quantizer.levels])
    sums = torch.stack(
        [sum(codes[s, k] for s, k in enumerate(path)) for path in itertools.product(range(4), repeat=3)]
    )
    torch.testing.assert_close(energies[2], (h.unsqueeze(1) - sums).square().sum(2).amin(1))


# --- gradients ----------------------------------------------------------------------------------------------


def rotation(h: Tensor, c: Tensor) -> Tensor:
    """The rotation in the plane of h and c that turns h/|h| into c/|c|, by the exponential map."""
    a = h / h.norm()
    b = c - (c @ a) * a
    b = b / b.norm()
    angle = torch.atan2(c @ b, c @ a)
    return torch.linalg.matrix_exp(angle * (torch.outer(b, a) - torch.outer(a, b)))


def test_the_rotation_trick_against_the_matrix_exponential() -> None:
    h, code, gradient = draw(6, 4), draw(6, 4, seed=1), draw(6, 4, seed=2)
    h.requires_grad_()
    value = rotated(h, code.requires_grad_())
    value.backward(gradient)
    assert torch.equal(value, code) and code.grad is None
    for i in range(6):
        with torch.no_grad():
            scaled = code[i].norm() / h[i].norm() * rotation(h[i], code[i])
            torch.testing.assert_close(scaled @ h[i], code[i])
            torch.testing.assert_close(h.grad[i], scaled.T @ gradient[i])


def test_the_rotation_trick_where_no_rotation_is_defined() -> None:
    h = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 2.0], [1.0, 2.0]], dtype=DOUBLE, requires_grad=True)
    code = torch.tensor([[1.0, 1.0], [-2.0, 0.0], [0.0, 0.0], [2.0, 4.0]], dtype=DOUBLE)
    rotated(h, code).backward(torch.tensor([[3.0, 4.0]] * 4, dtype=DOUBLE))
    expected = torch.tensor([[3.0, 4.0], [-6.0, 8.0], [0.0, 0.0], [6.0, 8.0]], dtype=DOUBLE)
    torch.testing.assert_close(h.grad, expected)


@pytest.mark.parametrize("estimator", ["straight-through", "rotation"])
def test_what_quantizing_passes_back(estimator: str) -> None:
    codebook = draw(5, 3, seed=1)
    by = straight_through if estimator == "straight-through" else rotated
    for quantizer in (
        VectorQuantization(codebook, "gradient", estimator),  # type: ignore[arg-type]
        ResidualQuantization([VectorQuantization(codebook / s, "gradient", estimator) for s in (1, 2)]),  # type: ignore[arg-type]
    ):
        h, same, gradient = (
            draw(4, 6, 3).requires_grad_(),
            draw(4, 6, 3).requires_grad_(),
            draw(4, 6, 3, seed=2),
        )
        code, z = quantizer.quantize(h)
        assert torch.equal(code, quantizer.decode(z))
        code.backward(gradient)
        by(same, quantizer.decode(z).detach()).backward(gradient)
        torch.testing.assert_close(h.grad, same.grad)
        assert all(p.grad is None for p in quantizer.parameters())


def test_learning_by_gradient_splits_the_energy() -> None:
    """Codes get 2 Σ (c - h), vectors 2 β (h - c)."""
    quantizer, h = (
        VectorQuantization(draw(3, 2, seed=1), "gradient", commitment=0.25),
        draw(8, 2).requires_grad_(),
    )
    z = quantizer.assign(h)
    cost = quantizer.learning_cost(h, z)
    torch.testing.assert_close(cost, 1.25 * quantizer(h=h, z=z))
    cost.sum().backward()
    with torch.no_grad():
        away = h - quantizer.codebook[z]
        torch.testing.assert_close(h.grad, 0.5 * away)
        pulls = torch.stack([-2 * away[z == k].sum(0) for k in range(3)])
        torch.testing.assert_close(quantizer.codebook.grad, pulls)
    by_ema = VectorQuantization(draw(3, 2, seed=1), "ema", commitment=0.25)
    torch.testing.assert_close(by_ema.learning_cost(h, z), 0.25 * by_ema(h=h, z=z))
    assert list(by_ema.parameters()) == []


def test_each_stage_is_committed_to_what_is_left() -> None:
    quantizer, h = residual(3, 4), draw(5, 6, 2)
    z = quantizer.assign(h)
    left, total = h, torch.zeros(5, dtype=DOUBLE)
    for s, level in enumerate(quantizer.levels):
        left = left - level.codebook[z[..., s]]
        total = total + 1.25 * left.square().sum((1, 2))
    torch.testing.assert_close(quantizer.learning_cost(h, z), total)


# --- codes learned without gradients ------------------------------------------------------------------------


def test_without_memory_an_update_is_a_step_of_lloyd() -> None:
    """scikit-learn's k-means, one iteration from the same start."""
    h = draw(300, 3)
    quantizer = VectorQuantization.from_data(h, 8, decay=0.0, generator=seeded(1))
    for _ in range(4):
        step = sklearn.cluster.KMeans(8, init=quantizer.codebook.numpy().copy(), n_init=1, max_iter=1, tol=0)
        quantizer.update(h, quantizer.assign(h))
        expected = step.fit(h.numpy()).cluster_centers_
        np.testing.assert_allclose(quantizer.codebook, expected, rtol=1e-5, atol=1e-6)  # ε smooths


def test_moving_averages_by_hand() -> None:
    """Appendix A.1, row by row in numpy, with Laplace smoothing."""
    decay, codes, size = 0.9, 4, 2
    quantizer = VectorQuantization(draw(codes, size, seed=1), decay=decay)
    counts, sums = np.ones(codes), quantizer.codebook.numpy().copy()
    codebook = sums.copy()
    for step in range(6):
        h = draw(7, 5, size, seed=step + 10)
        quantizer.update(h, quantizer.assign(h))
        n, m = np.zeros(codes), np.zeros((codes, size))
        for row in h.reshape(-1, size).numpy():
            k = int(((row - codebook) ** 2).sum(1).argmin())
            n[k] += 1
            m[k] += row
        counts, sums = decay * counts + (1 - decay) * n, decay * sums + (1 - decay) * m
        total = counts.sum()
        codebook = sums / ((counts + 1e-5) / (total + codes * 1e-5) * total)[:, None]
        np.testing.assert_allclose(quantizer.codebook, codebook, rtol=1e-12)


def test_averages_reach_the_means_of_what_is_assigned() -> None:
    means = 10 * draw(4, 3)
    h = (means.unsqueeze(1) + 0.1 * draw(4, 50, 3, seed=1)).flatten(0, 1)
    quantizer = VectorQuantization(means + 1, decay=0.5)
    for _ in range(60):
        quantizer.update(h, quantizer.assign(h))
    torch.testing.assert_close(quantizer.codebook, h.view(4, 50, 3).mean(1), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("learning", ["ema", "gradient"])
def test_dead_codes_are_replaced_by_vectors_of_the_batch(learning: str) -> None:
    h = draw(40, 2)
    far = torch.tensor([[100.0, 100.0], [200.0, 0.0]], dtype=DOUBLE)
    codebook = torch.cat([h[:3], far])
    again = []
    for _ in range(2):
        quantizer = VectorQuantization(codebook, learning, decay=0.5, expire=1.0)  # type: ignore[arg-type]
        replaced = []
        for _ in range(2):
            replaced.append(float(quantizer.update(h, quantizer.assign(h), seeded(3))["expired"]))
        again.append(quantizer.codebook.detach().clone())
        assert replaced == [0, 2]  # from 2 to 1 and to ½
    assert torch.equal(*again)
    new = quantizer.codebook[3:].detach()
    assert (new.unsqueeze(1) == h).all(2).any(1).all() and not torch.equal(new[0], new[1])
    assert torch.equal(quantizer.counts[3:], torch.full((2,), 2.0, dtype=DOUBLE))
    torch.testing.assert_close(quantizer.sums[3:], 2 * new)
    kept = VectorQuantization(codebook, learning, decay=0.5)  # type: ignore[arg-type]
    assert all(float(kept.update(h, kept.assign(h))["expired"]) == 0 for _ in range(9))


def test_more_dead_codes_than_vectors() -> None:
    quantizer = VectorQuantization(draw(6, 2) + 100, decay=0.0, expire=1.0)
    h = draw(2, 2, seed=1)
    assert float(quantizer.update(h, quantizer.assign(h), seeded())["expired"]) == 2
    assert int((quantizer.codebook.unsqueeze(1) == h).all(2).any(1).sum()) == 2


def test_stages_learn_from_the_same_residuals() -> None:
    quantizer = ResidualQuantization.from_data(draw(90, 2), 4, 2, decay=0.0, generator=seeded())
    h = draw(300, 2, seed=1)
    z = quantizer.assign(h)
    first, _ = (level.codebook.clone() for level in quantizer.levels)
    quantizer.update(h, z)
    left = h - first[z[:, 0]]  # by the first codebook as it was
    for k in range(4):
        torch.testing.assert_close(
            quantizer.levels[0].codebook[k], h[z[:, 0] == k].mean(0), rtol=1e-5, atol=1e-6
        )
        torch.testing.assert_close(
            quantizer.levels[1].codebook[k], left[z[:, 1] == k].mean(0), rtol=1e-5, atol=1e-6
        )


def test_stages_from_data_leave_less_and_less() -> None:
    h = draw(500, 3)
    energies = []
    for stages in (1, 2, 4):
        quantizer = ResidualQuantization.from_data(h, 16, stages, decay=0.0, generator=seeded())
        for _ in range(10):
            quantizer.update(h, quantizer.assign(h))
        energies.append(float(quantizer.infer(h).energy.mean()))
    assert energies[0] > 2 * energies[1] > 4 * energies[2]


def learns(h: Tensor, *thresholds: float) -> list[tuple[Tensor, Tensor, float]]:
    """Two updates with this process's rows of h; codes, their counts and how many were replaced."""
    mine, found = h.chunk(world_size())[rank()], []
    for expire in thresholds:
        quantizer, replaced = VectorQuantization(draw(4, 2, seed=1) + 2, decay=0.5, expire=expire), 0.0
        for _ in range(2):
            z = quantizer.assign(mine)
            replaced += float(quantizer.update(mine, z, seeded(rank()))["expired"])
        found.append((quantizer.codebook, quantizer.counts, replaced))
    return found


def test_several_processes_learn_what_one_does() -> None:
    h = draw(12, 2)
    (alone,), both = learns(h, 0.0), run_processes(learns, 2, h, 0.0, 2.0)
    for (codebook, counts, _), _ in both:
        torch.testing.assert_close(codebook, alone[0])
        torch.testing.assert_close(counts, alone[1])
    (one, many, replaced), (other, again, _) = (expiring for _, expiring in both)
    assert torch.equal(one, other) and torch.equal(many, again)  # whatever each of them drew
    assert replaced > 0 and (one.unsqueeze(1) == h[:6]).all(2).any()


# --- finite scalars -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [(2,), (3,), (4, 3), (5, 2, 4), (8, 5, 5, 5)])
def test_numbers_of_the_grid_are_a_bijection(levels: tuple[int, ...]) -> None:
    quantizer = FiniteScalarQuantization(levels).double()
    z = torch.arange(math.prod(levels))
    steps = quantizer.steps(z)
    assert torch.equal(quantizer.number(steps), z) and quantizer.choices == len(z)
    ranges = [range(-(n // 2), (n + 1) // 2) for n in levels]
    assert sorted(map(tuple, steps.tolist())) == sorted(itertools.product(*ranges))
    assert quantizer.decode(z).abs().max() == 1


@pytest.mark.parametrize("levels", [2, 3, 4, 5, 8])
def test_every_level_can_be_reached_and_the_middle_is_kept(levels: int) -> None:
    quantizer = FiniteScalarQuantization((levels,)).double()
    h = torch.linspace(-30, 30, 60_001, dtype=DOUBLE).unsqueeze(1)
    z = quantizer.assign(h)
    assert torch.equal(z.unique(), torch.arange(levels)) and (z.diff() >= 0).all()
    assert quantizer.bounded(torch.zeros(1, 1, dtype=DOUBLE)).abs() < 1e-6
    assert int(quantizer.assign(torch.zeros(1, 1))) == levels // 2


def test_rounding_is_the_nearest_of_all_grid_points() -> None:
    quantizer, h = FiniteScalarQuantization((5, 4, 3)).double(), 2 * draw(40, 3)
    best = minimize(quantizer, Choices(Zeros(), quantizer.choices), Enumerate(), given={"h": h})
    assert torch.equal(quantizer.assign(h), best.value)
    torch.testing.assert_close(quantizer.infer(h).energy, best.energy)


def test_the_gradient_of_a_grid_is_that_of_the_bound() -> None:
    quantizer, h, gradient = (
        FiniteScalarQuantization((5, 4)).double(),
        draw(6, 2).requires_grad_(),
        draw(6, 2, seed=1),
    )
    code, z = quantizer.quantize(h)
    assert torch.equal(code, quantizer.decode(z))
    code.backward(gradient)
    reach, shift = torch.tensor([2.002, 1.5015], dtype=DOUBLE), torch.tensor([0.0, math.atanh(0.5 / 1.5015)])
    slope = reach / torch.cosh(h.detach() + shift).square() / 2
    torch.testing.assert_close(h.grad, gradient * slope, rtol=1e-6, atol=1e-6)
    assert quantizer.update(h, z) == {} and not quantizer.learning_cost(h, z).any()


# --- usage --------------------------------------------------------------------------------------------------


def test_usage_counts_codes_by_stage() -> None:
    quantizer = residual(2, 4)
    z = torch.tensor([[[0, 1], [0, 2]], [[3, 1], [0, 1]]])  # (B, cells, S)
    usage = quantizer.usage(z)
    assert usage.counts.tolist() == [[3, 0, 0, 1], [0, 3, 1, 0]] and usage.cells == 2 and usage.used == 4
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert usage.perplexity == pytest.approx(math.exp(entropy))
    assert usage.bits == pytest.approx(2 * 2 * entropy / math.log(2)) and usage.fixed_bits == pytest.approx(4)


@pytest.mark.parametrize("codes", [1, 2, 7])
def test_perplexity_of_equally_used_codes_is_their_number(codes: int) -> None:
    usage = Usage(torch.tensor([[5] * codes + [0] * 3]), 1)
    assert usage.perplexity == pytest.approx(codes) and usage.bits == pytest.approx(
        math.log2(codes), abs=1e-12
    )


# --- what is refused ----------------------------------------------------------------------------------------


def test_bad_settings_and_data_are_told() -> None:
    book = draw(3, 2)
    broken = book.clone()
    broken[1, 0] = torch.nan
    for make, words in (
        (lambda: VectorQuantization(draw(3)), r"a codebook is \(K, D\)"),
        (lambda: VectorQuantization(broken), r"the codebook holds NaN or infinity in 1 rows, \[1\]"),
        (lambda: VectorQuantization(book, "lloyd"), "learning is 'ema' or 'gradient'; got 'lloyd'"),  # type: ignore[arg-type]
        (lambda: VectorQuantization(book, estimator="none"), "estimator is 'straight-through' or"),  # type: ignore[arg-type]
        (lambda: VectorQuantization(book, commitment=-1.0), "commitment must be finite and at least 0"),
        (lambda: VectorQuantization(book, decay=1.0), "decay must be at least 0 and below 1"),
        (lambda: VectorQuantization(book, expire=-1.0), "expire must be finite and at least 0"),
        (lambda: VectorQuantization.from_data(book, 4), "4 codes need as many vectors; there are 3"),
        (lambda: VectorQuantization.from_data(broken, 2), r"h holds NaN or infinity in 1 rows, \[1\]"),
        (lambda: VectorQuantization(book).assign(draw(4, 3)), r"h is \(B, \*cells, 2\); got \(4, 3\)"),
        (lambda: VectorQuantization(book).decode(torch.tensor([3])), r"codes lie in \[0, 3\); got 3 to 3"),
        (lambda: VectorQuantization(book).decode(torch.tensor([-1])), r"codes lie in \[0, 3\); got -1 to -1"),
        (lambda: ResidualQuantization([]), "needs at least one stage"),
        (lambda: residual(2).decode(torch.zeros(4, 3, dtype=torch.int64)), r"there are 2 stages, so z is"),
        (lambda: FiniteScalarQuantization((3, 1)), "levels are whole numbers, at least 2"),
        (lambda: FiniteScalarQuantization(()), "levels are whole numbers, at least 2"),
        (lambda: FiniteScalarQuantization((8,) * 21), "codes have no number in an int64"),
        (lambda: FiniteScalarQuantization((3,)).number(torch.tensor([[2]])), "1 lie outside"),
    ):
        with pytest.raises(ValueError, match=words):
            make()
    with pytest.raises(TypeError, match=r"z is int64 \(\.long\(\)\); got torch.float32"):
        VectorQuantization(book).decode(torch.zeros(3))
