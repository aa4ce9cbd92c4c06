"""Score matching, exact, sliced and denoising, against closed forms and derivatives by brute force."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ebm import Energy, energy, marginal_over, min_over
from ebm.contrastive import (
    AnnealedScoreMatching,
    DenoisingScoreMatching,
    EquilibriumMatching,
    ScoreMatching,
    SlicedScoreMatching,
    geometric_levels,
)
from ebm.infer import LBFGS
from ebm.infer.starts import Zeros
from ebm.loss import Loss
from ebm.nodes import Finite
from ebm.regularizers import L2
from ebm.targets import Gaussian, Mixture

DOUBLE = torch.float64
COVARIANCE = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=DOUBLE)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DOUBLE)


def exactly(covariance: Tensor) -> Tensor:
    """2 D rows whose second moments are exactly this matrix."""
    dim = len(covariance)
    half = math.sqrt(dim) * torch.linalg.cholesky(covariance).T
    return torch.cat([half, -half])


class Quadratic(Energy):
    """½ yᵀΛy, Λ a parameter."""

    def __init__(self, matrix: Tensor):
        super().__init__()
        self.matrix = nn.Parameter(matrix.clone())

    def forward(self, y: Tensor) -> Tensor:
        return 0.5 * (y @ self.matrix * y).sum(1)


class Network(Energy):
    """A small smooth network over images of 2 x 2."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 6), nn.SiLU(), nn.Linear(6, 1)
        ).double()

    def forward(self, y: Tensor) -> Tensor:
        value: Tensor = self.layers(y).squeeze(1)
        return value


def brute_force(model: Energy, y: Tensor) -> Tensor:
    """⟨½|∇E|² - tr ∇²E⟩, row by row with the whole Hessian."""
    terms = []
    for row in y:
        slope = torch.func.grad(lambda u: model(y=u[None])[0])(row).flatten()
        hessian = torch.func.jacrev(torch.func.grad(lambda u: model(y=u[None])[0]))(row).reshape(
            len(slope), -1
        )
        terms.append(0.5 * slope.square().sum() - hessian.trace())
    return torch.stack(terms).mean()


def parameters_gradient(value: Tensor, model: Energy) -> list[Tensor]:
    gradients = torch.autograd.grad(value, list(model.parameters()), allow_unused=True)
    return [torch.zeros(()) if g is None else g for g in gradients]


# --- exact --------------------------------------------------------------------------------------------------


def test_of_a_gaussian_it_is_the_closed_form() -> None:
    y, matrix = exactly(COVARIANCE), torch.tensor([[1.0, 0.3], [0.3, 2.0]], dtype=DOUBLE)
    torch.testing.assert_close(y.T @ y / len(y), COVARIANCE)
    model = Quadratic(matrix)
    output = ScoreMatching()(model, y=y)
    torch.testing.assert_close(
        output.loss.detach(), 0.5 * (matrix @ COVARIANCE @ matrix).trace() - matrix.trace()
    )
    torch.testing.assert_close(output.terms["curvature"], matrix.trace())
    precision = torch.linalg.inv(COVARIANCE)
    best = Quadratic(precision)
    lowest = ScoreMatching()(best, y=y).loss
    torch.testing.assert_close(lowest.item(), -0.857142857142857)  # -½ tr S⁻¹
    (slope,) = torch.autograd.grad(lowest, best.matrix)
    torch.testing.assert_close(slope + slope.T, torch.zeros(2, 2, dtype=DOUBLE))


def test_of_a_network_it_is_brute_force_with_its_gradient() -> None:
    model, y = Network(), draw(3, 2, 2)
    came, expected = ScoreMatching()(model, y=y).loss, brute_force(model, y)
    torch.testing.assert_close(came, expected)
    for one, other in zip(
        parameters_gradient(came, model), parameters_gradient(expected, model), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_closed_forms_change_nothing() -> None:
    gaussian = Gaussian(torch.tensor([1.0, -1.0], dtype=DOUBLE), COVARIANCE)
    y, network = draw(5, 2), nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    bent = energy(lambda y: network(y).squeeze(1))
    pure = energy(lambda y: gaussian.forward(y) + 0.7 * y.square().sum(1) + network(y).squeeze(1))
    # a closed-form gradient, a quadratic form, and neither
    mixed = gaussian + 1.4 * L2("y") + bent
    assert hasattr(L2("y"), "quadratic")
    torch.testing.assert_close(L2("y")(y=y), 0.5 * y.square().sum(1))
    for loss in (ScoreMatching(), ScoreMatching("gaussian"), DenoisingScoreMatching(0.3)):
        values = [loss(model, seeded(), y=y).loss for model in (mixed, pure)]
        torch.testing.assert_close(*values)
        weights = list(network.parameters())
        slopes = [torch.autograd.grad(value, weights, allow_unused=True) for value in values]
        for one, other in zip(*slopes, strict=True):
            torch.testing.assert_close(one, other)
    torch.testing.assert_close(ScoreMatching()(0.5 * L2("y"), y=y).terms["curvature"].item(), 1.0)


def test_directions_of_signs_see_a_diagonal_hessian_exactly() -> None:
    y = draw(6, 3)
    model = energy(lambda y: (y**4).sum(1) + y.sum(1))
    exact = ScoreMatching()(model, y=y).loss
    for seed in range(3):
        for loss in (ScoreMatching("rademacher"), SlicedScoreMatching()):
            torch.testing.assert_close(loss(model, seeded(seed), y=y).loss, exact)


# --- random directions --------------------------------------------------------------------------------------

ESTIMATORS: dict[str, Loss] = {
    "rademacher": ScoreMatching("rademacher"),
    "gaussian, 2": ScoreMatching("gaussian", 2),
    **{f"VR, {d}": SlicedScoreMatching(True, d) for d in ("rademacher", "gaussian", "sphere")},
    **{f"{d}": SlicedScoreMatching(False, d, 2) for d in ("rademacher", "gaussian", "sphere")},
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_random_directions_have_the_mean_of_the_exact_loss(name: str) -> None:
    matrix = torch.tensor([[1.0, 0.6, 0.0], [0.6, 1.5, -0.4], [0.0, -0.4, 0.8]], dtype=DOUBLE)
    y, generator = draw(4, 3), seeded(1)
    model = Quadratic(matrix)
    exact = ScoreMatching()(model, y=y).loss
    draws = torch.stack([ESTIMATORS[name](model, generator, y=y).loss.detach() for _ in range(400)])
    assert abs(draws.mean() - exact) < 4 * draws.std() / 20
    assert 0 < draws.std() / 20 < 0.15  # a factor D would show


def test_on_the_sphere_a_round_hessian_is_seen_exactly() -> None:
    y = draw(5, 3)
    model = energy(lambda y: y.square().sum(1))
    exact = ScoreMatching()(model, y=y).loss
    came = SlicedScoreMatching(True, "sphere")(model, seeded(), y=y).loss
    torch.testing.assert_close(came, exact)
    assert abs(SlicedScoreMatching(True, "gaussian")(model, seeded(), y=y).loss - exact) > 1e-3


# --- free energies ------------------------------------------------------------------------------------------


class Spring(Energy):
    """½|y - z|² + ½ a |z|²: min over z is ½ a/(1 + a) |y|²."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.7, dtype=DOUBLE))

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        return 0.5 * (y - z).square().sum(1) + 0.5 * self.a * z.square().sum(1)


@pytest.mark.parametrize("loss", [ScoreMatching(), ScoreMatching("rademacher")], ids=["exact", "signs"])
def test_of_a_minimum_over_z(loss: Loss) -> None:
    y, spring = draw(6, 2), Spring()
    free = min_over(spring, "z", LBFGS(), Zeros(2), tol=1e-12, differentiate="implicit")
    value = loss(free, seeded(), y=y).loss
    a = spring.a.detach().clone().requires_grad_()
    k = a / (1 + a)
    expected = 0.5 * k**2 * y.square().sum(1).mean() - 2 * k
    torch.testing.assert_close(value.detach(), expected.detach())
    torch.testing.assert_close(torch.autograd.grad(value, spring.a), torch.autograd.grad(expected, a))
    detached = min_over(spring, "z", LBFGS(), Zeros(2), tol=1e-12)
    with pytest.raises(RuntimeError, match="implicit"):
        loss(detached, seeded(), y=y)


def test_of_an_energy_marginalized_over_z() -> None:
    means = nn.Parameter(torch.tensor([[-1.0, 0.0], [1.5, 0.5]], dtype=DOUBLE))

    class Component(Energy):
        def __init__(self) -> None:
            super().__init__()
            self.means = means

        def forward(self, y: Tensor, z: Tensor) -> Tensor:
            return 0.5 * (y - self.means[z]).square().sum(1)

    y = draw(7, 2)
    free = marginal_over(Component(), "z", 1.0, Finite(torch.arange(2)))
    value = ScoreMatching()(free, y=y).loss
    half, eye = torch.full((2,), 0.5, dtype=DOUBLE), torch.eye(2, dtype=DOUBLE)
    closed = ScoreMatching()(Mixture(half, means.detach(), eye), y=y).loss
    torch.testing.assert_close(value.detach(), closed)
    gradient = torch.autograd.grad(value, means)[0]
    moved = []
    for step in (1e-5, -1e-5):
        shifted = means.detach().clone()
        shifted[0, 1] += step
        moved.append(ScoreMatching()(Mixture(half, shifted, eye), y=y).loss)
    torch.testing.assert_close(gradient[0, 1], (moved[0] - moved[1]) / 2e-5, rtol=1e-6, atol=1e-8)


# --- denoising ----------------------------------------------------------------------------------------------


def test_denoising_of_a_gaussian_reaches_its_closed_form() -> None:
    sigma, dim, rows = 0.5, 2, 20_000
    y, generator = draw(rows, dim), seeded(7)
    model = energy(lambda y: 0.5 * y.square().sum(1) / (1 + sigma**2))
    lowest = dim / (2 * sigma**2 * (1 + sigma**2))
    assert lowest == dim * 1.6
    loss = DenoisingScoreMatching(sigma)
    draws = torch.stack([loss(model, generator, y=part).loss for part in y.chunk(50)])
    assert abs(draws.mean() - lowest) < 4 * draws.std() / math.sqrt(50)
    assert draws.std() / math.sqrt(50) < 0.02 * lowest


def test_denoising_is_its_formula() -> None:
    model, y, sigma = Network(), draw(4, 2, 2), 0.3
    output = DenoisingScoreMatching(sigma)(model, seeded(2), y=y)
    spoilt = y + sigma * torch.empty_like(y).normal_(generator=seeded(2))
    slope = torch.func.vmap(torch.func.grad(lambda u: model(y=u[None])[0]))(spoilt)
    expected = 0.5 * (-slope + (spoilt - y) / sigma**2).flatten(1).square().sum(1).mean()  # ψ = -∇E
    torch.testing.assert_close(output.loss, expected)
    torch.testing.assert_close(output.terms["energy off data"], model(y=spoilt).mean().detach())
    torch.testing.assert_close(output.terms["energy on data"], model(y=y).mean().detach())


def test_the_gap_may_be_left_out() -> None:
    y, sizes = draw(5, 2), []

    class Seen(Energy):
        def forward(self, y: Tensor, sigma: Tensor | None = None) -> Tensor:
            sizes.append(len(y))
            return y.square().sum(1)

    class Leveled(Seen):
        def forward(self, y: Tensor, sigma: Tensor) -> Tensor:  # type: ignore[override]
            return super().forward(y)

    for loss, model in (
        (DenoisingScoreMatching(0.3, show_gap=False), Seen()),
        (AnnealedScoreMatching([0.3], show_gap=False), Leveled()),
        (EquilibriumMatching(show_gap=False), Seen()),
    ):
        sizes.clear()
        output = loss(model, seeded(), y=y)
        assert sizes == [5] and output.gap is None and list(output.terms) == ["energy off data"]


def test_without_a_graph_the_values_are_the_same() -> None:
    model, y = Network(), draw(4, 2, 2)
    for loss in (ScoreMatching(), SlicedScoreMatching(False), DenoisingScoreMatching(0.3)):
        with torch.no_grad():
            bare = loss(model, seeded(), y=y)
        torch.testing.assert_close(bare.loss, loss(model, seeded(), y=y).loss.detach())


def test_levels_are_drawn_for_each_row_and_weighed() -> None:
    seen: list[Tensor] = []

    class Watched(Energy):
        def forward(self, y: Tensor, sigma: Tensor) -> Tensor:
            seen.append(sigma)
            return 0.0 * y.sum(1) * sigma

    y = draw(4000, 2)
    AnnealedScoreMatching([2.0, 0.5, 0.1])(Watched(), seeded(), y=y)
    counts = torch.stack([(seen[0] == level).double().mean() for level in (2.0, 0.5, 0.1)])
    assert (counts - 1 / 3).abs().max() < 4 * math.sqrt(2 / 9 / 4000)
    # a flat energy: ½ σ^p |ε|²/σ², so ½ D for p = 2 at every level
    for power, expected in ((2.0, 1.0), (0.0, (1 / 4 + 4 + 100) / 3)):
        loss = AnnealedScoreMatching([2.0, 0.5, 0.1], power)
        draws = torch.stack([loss(Watched(), seeded(s), y=y).loss for s in range(10)])
        assert abs(draws.mean() - expected) < 4 * draws.std() / math.sqrt(10)


def test_one_level_is_denoising() -> None:
    sigma = 0.4
    y, at_level = draw(30, 2), energy(lambda y, sigma: (y**2).sum(1) / (1 + sigma))
    annealed = AnnealedScoreMatching([sigma])(at_level, seeded(3), y=y)
    generator = seeded(3)
    torch.randint(1, (30,), generator=generator)  # the draw of the levels
    scales = torch.full((30,), sigma, dtype=DOUBLE)
    plain = DenoisingScoreMatching(sigma)(at_level, generator, y=y, sigma=scales)
    torch.testing.assert_close(annealed.loss, sigma**2 * plain.loss)
    ratios = geometric_levels(1.0, 0.01, 10)
    torch.testing.assert_close((ratios[0] / ratios[-1]).item() ** 2, 1e4)  # α_1/α_L of the sampler
    torch.testing.assert_close(ratios[1:] / ratios[:-1], torch.full((9,), 0.01 ** (1 / 9), dtype=DOUBLE))


# --- errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ScoreMatching("Exact"), "exact, rademacher, gaussian"),
        (lambda: ScoreMatching("gaussian", 0), "probes must be an integer"),
        (lambda: SlicedScoreMatching(directions="unit"), "rademacher, gaussian, sphere"),
        (lambda: DenoisingScoreMatching(0.0), "scale must be finite and positive"),
        (lambda: AnnealedScoreMatching([1.0, 0.0]), "positive standard deviations"),
        (lambda: AnnealedScoreMatching([]), "one at least"),
        (lambda: geometric_levels(0.1, 1.0, 3), "fall from largest"),
    ],
)
def test_settings_out_of_range(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_networks_without_curvature_are_refused() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1)).double()
    bent, y = energy(lambda y: network(y).squeeze(1)), draw(5, 2)
    for loss in (ScoreMatching(), ScoreMatching("gaussian"), SlicedScoreMatching(False)):
        with pytest.raises(ValueError, match=r"no curvature.*SiLU, tanh or softplus.*Denoising"):
            loss(bent, seeded(), y=y)
    DenoisingScoreMatching(0.1)(bent, seeded(), y=y).loss.backward()


def test_annealed_needs_the_level_as_a_variable() -> None:
    plain, leveled = energy(lambda y: y.sum(1)), energy(lambda y, sigma: y.sum(1) * sigma)
    with pytest.raises(TypeError, match=r"scale 'sigma'.*DenoisingScoreMatching\(scale\)"):
        AnnealedScoreMatching([1.0])(plain, y=draw(2, 1))
    with pytest.raises(TypeError, match="draws 'sigma' for each row; leave it out"):
        AnnealedScoreMatching([1.0])(leveled, y=draw(2, 1), sigma=draw(2))
