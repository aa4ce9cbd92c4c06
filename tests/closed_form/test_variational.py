"""The variational free energy: a bound that the posterior reaches, its parts, and divergences."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, distributions

from ebm import Energy, marginal_over, minimize
from ebm.infer import LBFGS
from ebm.nodes import AllChoices, Finite, Grid
from ebm.regularized.distributions import Categorical, DiagonalGaussian, cubature, gumbel_, sampled_kl
from ebm.regularized.variational import (
    CategoricalAverage,
    GaussianAverage,
    categorical_free_energy,
    gaussian_free_energy,
)
from ebm.testing import check_energy

DOUBLE = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DOUBLE)


class Pulled(Energy):
    """½ zᵀAz - yᵀz + ½|y|²: Gaussian given y, with precision βA."""

    def __init__(self, matrix: Tensor):
        super().__init__()
        self.register_buffer("matrix", matrix)

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        return 0.5 * torch.einsum("bi,ij,bj->b", z, self.matrix, z) - (y * z).sum(1) + 0.5 * (y**2).sum(1)

    def free(self, y: Tensor, beta: float) -> Tensor:
        """-(1/β) log ∫ exp(-βE) dz by hand."""
        best = -0.5 * (y * torch.linalg.solve(self.matrix, y.T).T).sum(1) + 0.5 * (y**2).sum(1)
        size = y.shape[1]
        return best + (torch.logdet(self.matrix) - size * math.log(2 * math.pi / beta)) / (2 * beta)


class Wave(Energy):
    """Neither convex nor quadratic."""

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        return (torch.sin(3 * z) + (y - z) ** 2).sum(1)


class Table(Energy):
    """An energy of y and of a category z, (B,) int64."""

    def __init__(self, values: Tensor):
        super().__init__()
        self.register_buffer("values", values)

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        return (y - self.values[z]).square().sum(1)


DIAGONAL = torch.diag(torch.tensor([0.5, 2.0, 7.0], dtype=DOUBLE))
FULL = torch.tensor([[2.0, 0.8, 0.0], [0.8, 1.0, -0.3], [0.0, -0.3, 3.0]], dtype=DOUBLE)


# --- Gaussian q ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [0.3, 1.0, 4.0])
def test_the_gaussian_posterior_reaches_the_free_energy(beta: float) -> None:
    energy, y = Pulled(DIAGONAL), draw(4, 3)
    free = gaussian_free_energy(energy, beta=beta)
    mean, log_std = y / DIAGONAL.diagonal(), -0.5 * (beta * DIAGONAL.diagonal()).log().expand(4, 3)
    torch.testing.assert_close(
        free(y=y, mean=mean, log_std=log_std), energy.free(y, beta), rtol=0, atol=1e-12
    )
    for seed in range(4):
        other = {"mean": mean + draw(4, 3, seed=seed), "log_std": log_std + draw(4, 3, seed=seed + 9)}
        above = free(y=y, **other) - energy.free(y, beta)
        posterior, q = DiagonalGaussian(mean, log_std), DiagonalGaussian(**other)
        torch.testing.assert_close(above, q.kl(posterior) / beta)
        assert (above > 0).all()


def test_for_a_full_matrix_the_best_q_is_the_mean_field() -> None:
    """μ = A⁻¹y and σ_i² = 1/(β A_ii) (Bishop 2006, sect. 10.1.2): narrower than the marginals."""
    energy, y, beta = Pulled(FULL), draw(4, 3), 2.0
    free = gaussian_free_energy(energy, beta=beta)
    zero = torch.zeros(4, 3, dtype=DOUBLE)
    best = minimize(free, {"mean": zero, "log_std": zero}, LBFGS(), given={"y": y}, tol=1e-10)
    assert isinstance(best.value, dict) and best.converged.all()
    torch.testing.assert_close(best.value["mean"], torch.linalg.solve(FULL, y.T).T)
    torch.testing.assert_close(best.value["log_std"].exp(), (beta * FULL.diagonal()).rsqrt().expand(4, 3))
    gap = (FULL.diagonal().log().sum() - torch.logdet(FULL)) / (2 * beta)
    torch.testing.assert_close(best.energy, energy.free(y, beta) + gap)


def test_it_bounds_a_free_energy_found_on_a_grid() -> None:
    beta, y = 1.5, draw(5, 1)
    exact = marginal_over(Wave(), "z", beta, Grid(-12.0, 12.0, 4000, normalized=False))(y=y)
    q = {"mean": y.clone(), "log_std": torch.full_like(y, -0.5)}
    free = gaussian_free_energy(Wave(), beta=beta, draws=4000)
    bound = free.bind({"y": y, **q}, seeded(1))
    spread = torch.sin(3 * DiagonalGaussian(**q).sample(4000, seeded(2))).std() / math.sqrt(4000)
    assert (bound() > exact - 4 * spread).all() and (bound() - exact < 1).all()


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_the_points_are_exact_up_to_the_third_degree(degree: int) -> None:
    """Against E[ε²] = 1 and odd moments of 0; the fourth moment is not that of a Gaussian."""
    points, a, b = cubature(draw(1, 5))[0], draw(5, seed=1), draw(5, seed=2)
    exact = {0: 1.0, 1: 0.0, 2: float(a @ b), 3: 0.0}[degree]
    product = [1.0, points @ a, (points @ a) * (points @ b), (points @ a) ** 2 * (points @ b)][degree]
    assert float(torch.as_tensor(product).mean()) == pytest.approx(exact, abs=1e-12)
    assert float((points[:, 0] ** 4).mean()) == pytest.approx(5)
    assert cubature(draw(2, 3, 4)).shape == (1, 24, 3, 4)


def test_draws_agree_with_the_points_within_their_error() -> None:
    energy, y, q = Pulled(FULL), draw(2, 3), {"mean": draw(2, 3, seed=1), "log_std": 0.3 * draw(2, 3, seed=2)}
    exact = gaussian_free_energy(energy)(y=y, **q)
    n = 20_000
    drawn = gaussian_free_energy(energy, draws=n).bind({"y": y, **q}, seeded(3))()
    z = DiagonalGaussian(**q).sample(n, seeded(4))
    values = torch.stack([energy(y=y[i].expand(n, 3), z=z[i]) for i in range(2)])
    assert ((drawn - exact).abs() < 4 * values.std(1) / math.sqrt(n)).all() and not torch.equal(drawn, exact)
    later = gaussian_free_energy(energy, draws=n, shape=(3,)).bind({"y": y}, seeded(3))(**q)
    torch.testing.assert_close(later, drawn)  # the same draws, made before the mean was known


def test_average_and_entropy_are_shown_apart() -> None:
    energy, beta = Pulled(FULL), 4.0
    example = {"y": draw(3, 3), "mean": draw(3, 3, seed=1), "log_std": draw(3, 3, seed=2)}
    free = gaussian_free_energy(energy, beta=beta)
    terms = free.terms(**example)
    normal = distributions.Normal(example["mean"], example["log_std"].exp())
    torch.testing.assert_close(terms["negative entropy"], -normal.entropy().sum(1) / beta)
    var = (2 * example["log_std"]).exp()
    expected = energy(y=example["y"], z=example["mean"]) + 0.5 * (var * FULL.diagonal()).sum(1)
    torch.testing.assert_close(terms["average energy"], expected)
    torch.testing.assert_close(sum(terms.values()), free(**example))
    cold = gaussian_free_energy(energy, beta=math.inf)
    torch.testing.assert_close(cold(**{**example}), expected)


# --- categorical q ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("beta", [0.5, 1.0, 3.0])
def test_the_categorical_posterior_reaches_the_exact_sum(beta: float, normalized: bool) -> None:
    energy, y = Table(draw(6, 2, seed=1)), draw(4, 2)
    by = AllChoices(6, normalized=normalized)
    marginal, free = marginal_over(energy, "z", beta, by), categorical_free_energy(energy, by, beta=beta)
    posterior = marginal.posterior(y=y).probability.log()
    torch.testing.assert_close(free(y=y, logits=posterior), marginal(y=y), rtol=0, atol=1e-12)
    for seed in range(4):
        logits = draw(4, 6, seed=seed + 5)
        above = free(y=y, logits=logits) - marginal(y=y)
        p, q = (distributions.Categorical(logits=v) for v in (posterior, logits))
        torch.testing.assert_close(above, distributions.kl_divergence(q, p) / beta)
        assert (above > 0).all()


def test_minimizing_over_categorical_q_finds_the_posterior() -> None:
    energy, y, by = Table(draw(4, 2, seed=1)), draw(3, 2), AllChoices(4, normalized=False)
    best = minimize(
        categorical_free_energy(energy, by),
        torch.zeros(3, 4, dtype=DOUBLE),
        LBFGS(),
        given={"y": y},
        tol=1e-10,
    )
    assert isinstance(best.value, Tensor)
    posterior = marginal_over(energy, "z", 1.0, by).posterior(y=y).probability
    torch.testing.assert_close(best.value.softmax(1), posterior, rtol=1e-6, atol=1e-8)


def test_values_of_z_may_be_vectors() -> None:
    values = draw(5, 3, seed=3)
    free = categorical_free_energy(Pulled(FULL), Finite(values, normalized=False), beta=2.0)
    y, logits = draw(2, 3), draw(2, 5, seed=4)
    p = logits.softmax(1)
    energies = torch.stack([Pulled(FULL)(y=y, z=v.expand(2, 3)) for v in values], 1)
    torch.testing.assert_close(free(y=y, logits=logits), (p * energies).sum(1) + 0.5 * (p * p.log()).sum(1))


def test_the_free_energies_keep_their_contract() -> None:
    q = {"mean": draw(4, 3, seed=1), "log_std": 0.3 * draw(4, 3, seed=2)}
    check_energy(gaussian_free_energy(Pulled(FULL), beta=2.0), {"y": draw(4, 3), **q})
    check_energy(gaussian_free_energy(Wave(), draws=3, shape=(3,)), {"y": draw(4, 3), **q})
    by = AllChoices(6)
    check_energy(
        categorical_free_energy(Table(draw(6, 3, seed=1)), by), {"y": draw(4, 3), "logits": draw(4, 6)}
    )


# --- distributions ------------------------------------------------------------------------------------------


def test_gaussians_against_torch() -> None:
    q, p = (DiagonalGaussian(draw(4, 3, seed=s), 0.5 * draw(4, 3, seed=s + 1)) for s in (0, 5))
    ours, theirs = (distributions.Normal(d.mean, d.log_std.exp()) for d in (q, p))
    torch.testing.assert_close(q.entropy, ours.entropy().sum(1))
    torch.testing.assert_close(q.kl(p), distributions.kl_divergence(ours, theirs).sum(1))
    torch.testing.assert_close(q.cross_entropy(p), q.kl(p) + q.entropy)
    z = draw(4, 7, 3)
    expected = torch.stack([ours.log_prob(z[:, i]).sum(1) for i in range(7)], 1)
    torch.testing.assert_close(q.log_prob(z), expected)


def test_categories_against_torch_and_zeros() -> None:
    q, p = (Categorical(draw(4, 5, seed=s)) for s in (0, 1))
    ours, theirs = (distributions.Categorical(logits=d.logits) for d in (q, p))
    torch.testing.assert_close(q.entropy, ours.entropy())
    torch.testing.assert_close(q.kl(p), distributions.kl_divergence(ours, theirs))
    z = torch.randint(5, (4, 6), generator=seeded())
    torch.testing.assert_close(q.log_prob(z), torch.stack([ours.log_prob(z[:, i]) for i in range(6)], 1))
    sure = torch.tensor([[0.0, -torch.inf]], dtype=DOUBLE, requires_grad=True)
    value = Categorical(sure).kl(Categorical.uniform_like(sure)) + Categorical(sure).entropy
    value.sum().backward()
    assert value.item() == pytest.approx(math.log(2)) and torch.isfinite(sure.grad).all()


def test_the_analytic_divergence_is_the_mean_of_the_sampled_one() -> None:
    n = 20_000
    q, p = (DiagonalGaussian(draw(3, 2, seed=s), 0.4 * draw(3, 2, seed=s + 1)) for s in (0, 5))
    values = sampled_kl(q, p, q.noise(n, seeded(7)))
    assert values.shape == (3, n)
    assert ((values.mean(1) - q.kl(p)).abs() < 4 * values.std(1) / math.sqrt(n)).all()
    assert (q.kl(p) > 10 * values.std(1) / math.sqrt(n)).all()


def test_draws_have_the_moments_of_their_distribution() -> None:
    n = 40_000
    q = DiagonalGaussian(draw(2, 3), 0.5 * draw(2, 3, seed=1))
    z, std = q.sample(n, seeded(2)), q.log_std.exp()
    assert ((z.mean(1) - q.mean).abs() < 4 * std / math.sqrt(n)).all()
    assert ((z.var(1) / std**2 - 1).abs() < 4 * math.sqrt(2 / n)).all()
    c = Categorical(draw(2, 4))
    share = torch.nn.functional.one_hot(c.sample(n, seeded(2)), 4).double().mean(1)
    assert ((share - c.probability).abs() < 4 * (c.probability * (1 - c.probability) / n).sqrt()).all()


def test_relaxed_draws_are_on_the_simplex_and_become_draws() -> None:
    c = Categorical(draw(2, 4))
    noise = c.noise(500, seeded(3))
    warm = c.relaxed(noise, 0.7)
    torch.testing.assert_close(warm.sum(2), torch.ones(2, 500, dtype=DOUBLE))
    assert torch.equal(warm.argmax(2), c.at(noise))
    cold = c.relaxed(noise, 1e-6)
    assert (cold.amax(2) > 0.999).double().mean() > 0.999
    g = gumbel_(torch.empty(40_000, dtype=DOUBLE), seeded(4))
    assert abs(float(g.mean()) - 0.5772156649) < 4 * math.pi / math.sqrt(6) / 200
    assert float(g.std()) == pytest.approx(math.pi / math.sqrt(6), rel=0.03)


# --- what is refused ----------------------------------------------------------------------------------------


def test_what_is_refused_is_told() -> None:
    energy, table = Pulled(FULL), Table(draw(6, 3))
    with pytest.raises(ValueError, match="beta is an inverse temperature, above 0"):
        gaussian_free_energy(energy, beta=0.0)
    with pytest.raises(TypeError, match="is an energy of y, z; it has no 'w'"):
        gaussian_free_energy(energy, "w")
    with pytest.raises(TypeError, match="mean, log_std are to be variables of q"):
        GaussianAverage(GaussianAverage(energy, "z"), "y")
    with pytest.raises(TypeError, match="Finite or AllChoices"):
        CategoricalAverage(table, Grid(0.0, 1.0, 3))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="there are 6 values of z, and logits for 5"):
        categorical_free_energy(table, AllChoices(6))(y=draw(2, 3), logits=draw(2, 5))
    with pytest.raises(ValueError, match="need its shape when the energy is bound"):
        gaussian_free_energy(energy, draws=3).bind({"y": draw(2, 3)})
    with pytest.raises(ValueError, match="a mean and a log_std of one shape"):
        gaussian_free_energy(energy)(y=draw(2, 3), mean=draw(2, 3), log_std=draw(2, 1))
    with pytest.raises(ValueError, match=r"logits are \(B, K\)"):
        Categorical(draw(3))
