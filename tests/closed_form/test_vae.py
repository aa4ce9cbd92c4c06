"""Variational auto-encoders against probabilistic PCA, grids and exact sums; bounds, losses and training."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

from ebm import marginal_over
from ebm.loss import AverageEnergy
from ebm.measure.collapse import BOX, SHUFFLED, collapse_report
from ebm.nets import mlp
from ebm.nodes import AllChoices, Grid
from ebm.regularized.amortized import ELBO, VariationalBound
from ebm.regularized.distributions import Categorical, DiagonalGaussian
from ebm.regularized.likelihood import BernoulliLikelihood, GaussianLikelihood
from ebm.regularized.vae import VAE, CategoricalVAE
from ebm.testing import check_energy
from ebm.train import fit

DOUBLE = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=DOUBLE)


def network(*sizes: int, seed: int = 1) -> nn.Module:
    return mlp(*sizes, activation=nn.Tanh, generator=seeded(seed)).double()


def curved(size: int = 1, draws: int = 1) -> VAE:
    """A decoder that bends the line of codes, so that q is not the posterior."""
    decoder = network(size, 12, 3, seed=2)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(1.7)
    return VAE(network(3, 12, 2 * size), decoder, size, GaussianLikelihood(0.7).double(), draws)


def categorical(temperature: float | None = None, draws: int = 1) -> CategoricalVAE:
    return CategoricalVAE(network(3, 8, 4), network(4, 8, 3, seed=2), 4, None, temperature, draws).double()


# --- the linear model is probabilistic PCA ------------------------------------------------------------------

SIZE, WIDTH = 2, 5


def data() -> Tensor:
    return (
        draw(200, WIDTH)
        @ torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.6, 0.4], dtype=DOUBLE))
        @ draw(WIDTH, WIDTH, seed=1)
    )


def principal(y: Tensor, turn: Tensor | None = None, draws: int | None = None) -> VAE:
    """Maximum likelihood (Tipping & Bishop 1999, eq. 7-8) with the linear encoder of its posterior.

    W = U (Λ - σ²)^½ R, M = WᵀW + σ² I, q = N(M⁻¹Wᵀ(y - μ), σ² diag(M)⁻¹).
    """
    center = y.mean(0)
    values, vectors = torch.linalg.eigh((y - center).T @ (y - center) / len(y))
    values, vectors = values.flip(0), vectors.flip(1)
    noise = values[SIZE:].mean()
    weight = vectors[:, :SIZE] * (values[:SIZE] - noise).sqrt()
    weight = weight if turn is None else weight @ turn
    matrix = weight.T @ weight + noise * torch.eye(SIZE, dtype=DOUBLE)
    inverse = torch.linalg.solve(matrix, weight.T)
    encoder, decoder = nn.Linear(WIDTH, 2 * SIZE).double(), nn.Linear(SIZE, WIDTH).double()
    with torch.no_grad():
        encoder.weight.copy_(torch.cat([inverse, torch.zeros_like(inverse)]))
        encoder.bias.copy_(torch.cat([-inverse @ center, 0.5 * (noise / matrix.diagonal()).log()]))
        decoder.weight.copy_(weight)
        decoder.bias.copy_(center)
    likelihood = GaussianLikelihood(1.0, learned=True).double()
    with torch.no_grad():
        likelihood.log_noise.copy_(0.5 * noise.log())
    return VAE(encoder, decoder, SIZE, likelihood, draws)


def log_evidence(y: Tensor) -> np.ndarray:
    """scikit-learn's probabilistic PCA; its covariance is over N - 1, ours over N."""
    pca = PCA(SIZE).fit(y.numpy())
    covariance = pca.get_covariance() * (len(y) - 1) / len(y)
    return np.asarray(scipy.stats.multivariate_normal(pca.mean_, covariance).logpdf(y.numpy()))


def test_the_bound_of_the_linear_model_is_the_likelihood_of_ppca() -> None:
    y = data()
    model = principal(y)
    expected = torch.from_numpy(-log_evidence(y))
    torch.testing.assert_close(model.free_energy(y=y), expected, rtol=0, atol=1e-8)
    for draws in (1, 7):  # where q is the posterior, every draw says the same
        torch.testing.assert_close(model.evidence(draws)(y=y), expected, rtol=0, atol=1e-8)


def test_there_all_gradients_vanish() -> None:
    """Lucas et al. (2019): the maximum of the likelihood is a stationary point of the bound."""
    y = data()
    model = principal(y)
    ELBO()(model, y=y).loss.backward()
    assert len(list(model.parameters())) == 5
    assert all(p.grad is not None and p.grad.abs().max() < 1e-8 for p in model.parameters())
    with torch.no_grad():
        best, scale = float(ELBO()(model, y=y).loss), [p.abs().max() for p in model.parameters()]
        for seed in range(6):
            other = principal(y)
            for i, (p, s) in enumerate(zip(other.parameters(), scale, strict=True)):
                p.add_(0.03 * s * draw(*p.shape, seed=10 * seed + i))
            assert float(ELBO()(other, y=y).loss) > best + 1e-4
    ELBO(2.0)(model, y=y).loss.backward()  # with another β it is not
    assert max(p.grad.abs().max() for p in model.parameters()) > 0.1


def test_turned_columns_leave_a_gap_that_is_known() -> None:
    """An independent q misses ½ (Σ log M_ii - log |M|)."""
    y, c, s = data(), math.cos(0.5), math.sin(0.5)
    turn = torch.tensor([[c, -s], [s, c]], dtype=DOUBLE)
    model = principal(y, turn)
    weight, noise = model.decoder.weight.detach(), (2 * model.likelihood.log_noise).exp().detach()
    matrix = weight.T @ weight + noise * torch.eye(SIZE, dtype=DOUBLE)
    gap = 0.5 * (matrix.diagonal().log().sum() - torch.logdet(matrix))
    assert gap > 0.05
    torch.testing.assert_close(
        model.free_energy(y=y), gap - torch.from_numpy(log_evidence(y)), rtol=0, atol=1e-8
    )


def test_minimizing_the_bound_finds_ppca() -> None:
    y = data()
    target, model = -float(log_evidence(y).mean()), principal(y)
    with torch.no_grad():
        for i, p in enumerate(model.parameters()):
            p.add_(0.3 * draw(*p.shape, seed=i))
        assert float(model.free_energy(y=y).mean()) > target + 1
    lbfgs = torch.optim.LBFGS(
        model.parameters(), max_iter=1000, tolerance_change=1e-13, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        lbfgs.zero_grad()
        loss = ELBO()(model, y=y).loss
        loss.backward()
        return loss

    lbfgs.step(closure)  # type: ignore[arg-type]
    with torch.no_grad():
        free = float(model.free_energy(y=y).mean())
    assert target - 1e-9 < free < target + 1e-6


# --- bounds -------------------------------------------------------------------------------------------------


class Constant(nn.Module):
    """An encoder that guesses the same q for all."""

    def __init__(self, mean: Tensor, std: Tensor):
        super().__init__()
        self.register_buffer("numbers", torch.cat([mean, std.log()]))

    def forward(self, y: Tensor) -> Tensor:
        return self.get_buffer("numbers").expand(len(y), -1)


def guessed(y: Tensor) -> tuple[VAE, float]:
    """A model whose q is half a deviation off and too wide by half; and -log p(y), found on a grid."""
    model = curved()
    with torch.no_grad():
        exact = marginal_over(model, "z", 1.0, Grid(-9.0, 9.0, 3000, normalized=False))
        posterior = exact.posterior(y=y)
        second = (posterior.probability.unsqueeze(2) * posterior.nodes.square()).sum(1)
        std = (second - posterior.mean.square()).sqrt()[0]
        model.encoder = Constant(posterior.mean[0] + 0.5 * std, 1.5 * std)
        return model, float(exact(y=y))


def test_the_weighted_bound_falls_towards_the_evidence() -> None:
    """⟨F_1⟩ > ⟨F_5⟩ > ⟨F_50⟩ > -log p(y), and less than 1/K above it."""
    y, repeats = draw(1, 3), 20_000
    model, exact = guessed(y)
    means, errors = [], []
    with torch.no_grad():
        for draws in (1, 3, 9):
            values = model.evidence(draws).bind({"y": y.expand(repeats, 3)}, seeded(draws))()
            means.append(float(values.mean()))
            errors.append(float(values.std()) / math.sqrt(repeats))
        many = float(model.evidence(200_000).bind({"y": y}, seeded(9))())
    assert means[0] - means[1] > 4 * math.hypot(*errors[:2]) and means[1] - means[2] > 4 * math.hypot(
        *errors[1:]
    )
    assert means[2] - exact > 4 * errors[2]
    assert many == pytest.approx(exact, abs=0.01)


def test_one_draw_of_the_weighted_bound_is_the_free_energy_in_the_mean() -> None:
    y, n = draw(1, 3), 20_000
    model, exact = guessed(y)
    with torch.no_grad():
        given = {"y": y.expand(n, 3)}
        free = model.free_energy.bind(given, seeded(1))()
        weighted = model.evidence(1).bind(given, seeded(2))()
    error = math.sqrt(float(free.var() + weighted.var()) / n)
    assert abs(float(free.mean() - weighted.mean())) < 4 * error < 0.1
    assert float(free.mean()) > exact + 4 * error and not torch.allclose(free, weighted)


def test_the_parts_by_hand() -> None:
    model, y = curved(size=2, draws=3), draw(5, 3)
    noise = model.noise(y, 3, seeded(4))
    parts, q = model.parts(y, noise), model.posterior(y)
    z = q.mean.unsqueeze(1) + q.log_std.exp().unsqueeze(1) * noise
    costs = torch.stack([model.likelihood.cost(y, model.decoder(z[:, s])) for s in range(3)])
    torch.testing.assert_close(parts.distortion, costs.mean(0))
    normal = torch.distributions.Normal(q.mean, q.log_std.exp())
    prior = torch.distributions.Normal(torch.zeros_like(q.mean), 1.0)
    torch.testing.assert_close(parts.divergence, torch.distributions.kl_divergence(normal, prior).sum(1))
    torch.testing.assert_close(parts.entropy, normal.entropy().sum(1))
    n = 50_000
    with torch.no_grad():
        many = q.sample(n, seeded(5))
        energies = torch.stack([model(y=y[i].expand(n, 3), z=many[i]) for i in range(5)])
        average = model.parts(y, model.noise(y, n, seeded(6))).energy
    assert ((energies.mean(1) - average).abs() < 6 * energies.std(1) / math.sqrt(n)).all()


def test_the_loss_shows_its_parts() -> None:
    model, y = curved(size=2), draw(6, 3)
    noise = model.noise(y, 1, seeded(3))
    parts = model.parts(y, noise)
    for beta in (0.0, 1.0, 4.0):
        output = ELBO(beta)(model, seeded(3), y=y)
        torch.testing.assert_close(output.loss, (parts.distortion + beta * parts.divergence).mean())
        terms = output.terms
        torch.testing.assert_close(terms["free energy"], terms["distortion"] + terms["KL"])
        torch.testing.assert_close(terms["free energy"], terms["energy on data"] - terms["entropy"])
        assert float(terms["bits"]) == pytest.approx(float(terms["KL"]) / math.log(2))
    average = AverageEnergy()(model.free_energy, seeded(3), y=y)
    torch.testing.assert_close(average.loss, ELBO()(model, seeded(3), y=y).loss)


# --- categories ---------------------------------------------------------------------------------------------


def test_the_categorical_bound_is_reached_by_the_posterior() -> None:
    model, y = categorical(), draw(6, 3)
    exact = marginal_over(model, "z", 1.0, AllChoices(4, normalized=False))
    q, p = model.posterior(y), exact.posterior(y=y).probability
    gap = model.free_energy(y=y) - exact(y=y)
    torch.testing.assert_close(gap, q.kl(Categorical(p.log())))
    assert (gap > 1e-3).all()

    class Right(nn.Module):
        def forward(self, y: Tensor) -> Tensor:
            return exact.posterior(y=y).probability.log()

    sharp = CategoricalVAE(Right(), model.decoder, 4, model.likelihood)
    torch.testing.assert_close(sharp.free_energy(y=y), exact(y=y))
    with torch.no_grad():
        many = model.evidence(20_000).bind({"y": y}, seeded(2))()
    torch.testing.assert_close(many, exact(y=y), rtol=0, atol=0.05)


def test_cold_relaxed_codes_average_to_the_exact_sum() -> None:
    n, y = 20_000, draw(3, 3)
    exact, drawn = categorical().parts(y), categorical(temperature=1e-4, draws=n)
    with torch.no_grad():
        found = drawn.parts(y, drawn.noise(y, n, seeded(5)))
        q = drawn.posterior(y).probability
        cost = torch.stack(
            [drawn.likelihood.cost(y, drawn.decoder(row.expand(3, 4))) for row in torch.eye(4, dtype=DOUBLE)],
            1,
        )
        spread = ((q * cost.square()).sum(1) - (q * cost).sum(1).square()).sqrt()
    assert ((found.distortion - exact.distortion).abs() < 4 * spread / math.sqrt(n) + 1e-4).all()
    torch.testing.assert_close(found.divergence, exact.divergence)
    warm = categorical(temperature=0.5)
    loss = ELBO()(warm, seeded(1), y=y).loss
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in warm.parameters())


def test_inference_of_codes() -> None:
    model, y = categorical(), draw(6, 3)
    energies = torch.stack([model(y=y, z=torch.full((6,), k)) for k in range(4)], 1)
    best = model.infer(y)
    assert torch.equal(best.value, energies.argmin(1))
    torch.testing.assert_close(best.energy, energies.amin(1))
    bent, grid = curved(), torch.linspace(-5, 5, 2001, dtype=DOUBLE).unsqueeze(1)
    found = bent.infer(y, tol=1e-8)
    start = bent(y=y, z=bent.posterior(y).mean)
    lowest = torch.stack([bent(y=row.expand(2001, 3), z=grid).amin() for row in y])
    assert found.converged.all() and (found.energy <= start).all()
    assert ((found.energy - lowest).abs() < 1e-4).double().mean() > 0.5  # the others are local minima
    linear, seen = principal(data()), data()[:5]
    torch.testing.assert_close(linear.infer(seen, tol=1e-9).value, linear.posterior(seen).mean)


# --- likelihoods and samples --------------------------------------------------------------------------------


def test_likelihoods_against_torch() -> None:
    y, output = draw(4, 2, 3), draw(4, 2, 3, seed=1)
    normal = torch.distributions.Normal(output, 0.7)
    gaussian = GaussianLikelihood(0.7).double()
    torch.testing.assert_close(
        gaussian.cost(y, output), -normal.log_prob(y).sum((1, 2)), rtol=1e-6, atol=1e-6
    )
    bits = (y > 0).double()
    expected = -torch.distributions.Bernoulli(logits=output).log_prob(bits).sum((1, 2))
    torch.testing.assert_close(BernoulliLikelihood().cost(bits, output), expected)
    many = output[:1].expand(20_000, 2, 3)
    drawn, p = BernoulliLikelihood().sample(many, seeded()), output[0].sigmoid()
    assert ((drawn.mean(0) - p).abs() < 4 * (p * (1 - p) / 20_000).sqrt()).all() and set(
        drawn.unique().tolist()
    ) == {0, 1}
    noisy = gaussian.sample(many, seeded())
    assert ((noisy.mean(0) - output[0]).abs() < 4 * 0.7 / math.sqrt(20_000)).all()
    assert ((noisy.var(0) / 0.49 - 1).abs() < 4 * math.sqrt(2 / 20_000)).all()


def test_samples_of_the_linear_model_have_the_moments_of_the_data() -> None:
    y, n = data(), 50_000
    model = principal(y)
    drawn = model.sample(n, seeded(3))
    weight, noise = model.decoder.weight.detach(), (2 * model.likelihood.log_noise).exp().detach()
    covariance = weight @ weight.T + noise * torch.eye(WIDTH, dtype=DOUBLE)
    variance = covariance.diagonal()
    assert ((drawn.mean(0) - y.mean(0)).abs() < 4 * (variance / n).sqrt()).all()
    error = ((variance[:, None] * variance + covariance.square()) / n).sqrt()
    assert ((drawn.T.cov() - covariance).abs() < 4 * error).all()
    assert torch.linalg.matrix_rank(model.sample(20, seeded(), noisy=False) - y.mean(0), atol=1e-8) == SIZE
    assert torch.equal(model.sample(4, seeded(1)), model.sample(4, seeded(1)))
    means = categorical().sample(2000, seeded(1), noisy=False)
    assert len(torch.unique(means.round(decimals=6), dim=0)) == 4


# --- contract, training, refusals ---------------------------------------------------------------------------


def test_the_energies_keep_their_contract() -> None:
    y = draw(4, 3)
    check_energy(curved(2), {"y": y, "z": draw(4, 2, seed=1)})
    check_energy(categorical(), {"y": y, "z": torch.tensor([0, 3, 1, 1])})
    for bound in (
        curved(2).free_energy,
        curved(2).evidence(3),
        categorical().free_energy,
        VariationalBound(curved(2), None),
    ):
        check_energy(bound, {"y": y})


def parities(rows: int, seed: int) -> Tensor:
    """Four free signs and two products of them, a bit blurred: 16 clusters that span all 6 dimensions."""
    g = seeded(seed)
    signs = 2.0 * torch.randint(2, (rows, 4), generator=g, dtype=DOUBLE) - 1
    products = signs.view(rows, 2, 2).prod(2)
    return torch.cat([signs, products], 1) + 0.3 * torch.randn(rows, 6, generator=g, dtype=DOUBLE)


def test_trained_it_is_alive_and_where_codes_cost_nothing_it_takes_other_points_for_data() -> None:
    bits, reports = [], []
    for beta in (1.0, 0.0):
        encoder, decoder = (mlp(*sizes, generator=seeded(1)).double() for sizes in ((6, 64, 16), (8, 64, 6)))
        model = VAE(encoder, decoder, 8, GaussianLikelihood(0.3).double())
        adam = partial(torch.optim.Adam, lr=1e-2)
        fit(
            model,
            ELBO(beta),
            {"y": parities(2000, 0)},
            optimizer=adam,
            steps=300,
            batch_size=100,
            generator=seeded(3),
            progress=False,
        )
        with torch.no_grad():
            bits.append(float(ELBO()(model, seeded(4), y=parities(1000, 9)).terms["bits"]))
        reports.append(collapse_report(model.evidence(16), parities(500, 9), generator=seeded(4)))
    assert 4 < bits[0] < 12 < bits[1]  # the clusters alone take 4
    assert reports[0].verdict == "alive", reports[0]
    for name in (BOX, SHUFFLED):
        assert reports[0].off_data[name].auroc > 0.8 > 0.6 > reports[1].off_data[name].auroc


def test_half_precision_trains_it_too() -> None:
    for model in (curved(2).float(), categorical(0.5).float()):
        adam, y = partial(torch.optim.Adam, lr=1e-2), draw(64, 3).float()
        settings = {"steps": 30, "batch_size": 32, "generator": seeded(), "progress": False}
        history = fit(model, ELBO(), {"y": y}, optimizer=adam, autocast=torch.bfloat16, **settings)  # type: ignore[arg-type]
        assert history.rows[-1]["loss"] < history.rows[0]["loss"]
        assert all(p.dtype == torch.float32 for p in model.parameters())


def test_bad_settings_are_told() -> None:
    y = draw(4, 3)
    for kind, make, words in (
        (ValueError, lambda: VAE(nn.Identity(), nn.Identity(), 0), "size must be an integer of at least 1"),
        (ValueError, lambda: VAE(nn.Identity(), nn.Identity(), 1, draws=0), "draws must be an integer"),
        (
            ValueError,
            lambda: VAE(nn.Identity(), nn.Identity(), 2).posterior(y),
            r"\(B, 4\); it gave \(4, 3\)",
        ),
        (ValueError, lambda: curved(2)(y=y, z=draw(4, 3)), r"z is \(B, 2\); got \(4, 3\)"),
        (ValueError, lambda: GaussianLikelihood(0.0), "noise must be finite and positive"),
        (ValueError, lambda: BernoulliLikelihood().cost(y, y), r"is of y in \[0, 1\]; got"),
        (ValueError, lambda: ELBO(-1.0), "beta must be finite and at least 0"),
        (ValueError, lambda: VariationalBound(curved(), None, weighted=True), "needs draws"),
        (ValueError, lambda: categorical(temperature=0.0), "temperature must be finite and positive"),
        (
            ValueError,
            lambda: CategoricalVAE(nn.Identity(), nn.Identity(), 4).posterior(y),
            r"\(B, 4\); it gave",
        ),
        (
            TypeError,
            lambda: categorical()(y=y, z=draw(4)),
            r"\(B,\) int64; got torch.float64 of shape \(4,\)",
        ),
        (TypeError, lambda: ELBO()(curved().free_energy, y=y), "ELBO needs an encoder"),
        (TypeError, lambda: ELBO()(curved(), x=y), "ELBO takes y"),
        (TypeError, lambda: ELBO()(curved(), y=y[:0]), "ELBO takes y, at least one row"),
    ):
        with pytest.raises(kind, match=words):
            make()
    assert isinstance(curved().posterior(y), DiagonalGaussian)
