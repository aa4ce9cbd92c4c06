"""Free energies against their closed forms.

E(y, z) = ½(y - wz)² + ½z² has z* = wy/(1 + w²) and F_∞ = ½ y²/(1 + w²).
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from ebm import Choices, Energy, marginal_over, min_over, minimize
from ebm.infer import Armijo, CategoricalCEM, Enumerate, GradientDescent
from ebm.infer.starts import Data, Network, Normal, Zeros
from ebm.nodes import AllChoices, Finite, Grid, Importance

W = 1.3
CURVATURE = 1 + W**2


class Spring(Energy):
    """½ (y - w z)² + ½ z²."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(W, dtype=torch.float64))

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        return (0.5 * (y - self.w * z) ** 2 + 0.5 * z**2).sum(1)


def points(rows: int = 5, seed: int = 0) -> Tensor:
    return torch.randn(rows, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def free_energy(y: Tensor, w: Tensor | float) -> Tensor:
    return 0.5 * (y**2)[:, 0] / (1 + w**2)


@pytest.mark.parametrize("mode", ["no", "implicit", "unroll"])
def test_value_and_first_derivatives_of_the_minimum(mode):
    energy, y = Spring(), points().requires_grad_()
    free = min_over(energy, "z", GradientDescent(0.3), Zeros(1), tol=1e-12, differentiate=mode)
    value = free(y=y)
    slope, weight_slope = torch.autograd.grad(value.sum(), [y, energy.w])
    assert torch.allclose(value, free_energy(y, W), atol=1e-12)
    assert torch.allclose(slope, y / CURVATURE, atol=1e-9)
    assert torch.allclose(weight_slope, -(W * y**2).sum() / CURVATURE**2, atol=1e-9)


@pytest.mark.parametrize("wrt", ["y", "w"])
def test_a_second_derivative_of_a_detached_minimum_raises_and_names_the_cure(wrt):
    energy, y = Spring(), points().requires_grad_()
    free = min_over(energy, "z", GradientDescent(0.3), Zeros(1), tol=1e-12)
    (slope,) = torch.autograd.grad(free(y=y).sum(), y, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate='implicit'"):
        torch.autograd.grad((slope**2).sum(), y if wrt == "y" else energy.w)


@pytest.mark.parametrize("mode", ["implicit", "unroll"])
def test_score_matching_of_a_free_energy_has_the_right_gradient(mode):
    energy, y = Spring(), points().requires_grad_()
    free = min_over(energy, "z", GradientDescent(0.3), Zeros(1), tol=1e-13, differentiate=mode)
    (slope,) = torch.autograd.grad(free(y=y).sum(), y, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), y, create_graph=True)
    (found,) = torch.autograd.grad((0.5 * slope**2 - curvature).sum(), energy.w)

    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    exact = (0.5 * (y / (1 + w**2)) ** 2 - 1 / (1 + w**2)).sum()
    assert torch.allclose(found, torch.autograd.grad(exact, w)[0], atol=1e-8)


def test_third_derivative_of_a_quartic_free_energy():
    class Quartic(Energy):
        def forward(self, y: Tensor, z: Tensor) -> Tensor:
            return (0.25 * z**4 + 0.5 * z**2 - y * z).sum(1)  # F'(y) = -z*(y), z³ + z = y

    y = points().requires_grad_()
    free = min_over(
        Quartic(), "z", GradientDescent(0.2), Zeros(1), tol=1e-13, max_steps=5000, differentiate="implicit"
    )
    derivatives = [free(y=y).sum()]
    for _ in range(3):
        derivatives.append(torch.autograd.grad(derivatives[-1].sum(), y, create_graph=True)[0])
    z = free.solve(y=y.detach()).value
    rate = 1 / (3 * z**2 + 1)
    assert torch.allclose(derivatives[1], -z, atol=1e-10)
    assert torch.allclose(derivatives[2], -rate, atol=1e-9)
    assert torch.allclose(derivatives[3], 6 * z * rate**3, atol=1e-8)


class Clusters(Energy):
    """½ (y - c_z)² + b_z: the distance to one of three centers."""

    centers = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64)
    costs = torch.tensor([0.0, 0.3, 0.1], dtype=torch.float64)

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        return (0.5 * (y - self.centers[z]) ** 2 + self.costs[z]).sum(1)


@pytest.mark.parametrize("method", [Enumerate(), CategoricalCEM()], ids=["enumeration", "cross-entropy"])
def test_a_discrete_latent_is_minimized_and_all_derivatives_are_right(method):
    y = points(20).requires_grad_()
    free = min_over(Clusters(), "z", method, Choices(Zeros(1), n=3))
    every = 0.5 * (y - Clusters.centers) ** 2 + Clusters.costs  # (B, 3)
    value = free(y=y)
    torch.testing.assert_close(value, every.amin(1))
    assert torch.equal(free.solve(y=y.detach()).value[:, 0], every.argmin(1))
    (slope,) = torch.autograd.grad(value.sum(), y, create_graph=True)
    torch.testing.assert_close(slope[:, 0], y[:, 0] - Clusters.centers[every.argmin(1)])
    (curvature,) = torch.autograd.grad(slope.sum(), y)  # z* does not move, so nothing is missing here
    assert torch.equal(curvature, torch.ones_like(y))


def test_a_start_object_in_choices_is_checked():
    with pytest.raises(TypeError, match=r"Choices holds indices.*or a start object; got float"):
        Choices(1.0, n=2)
    free = min_over(Clusters(), "z", Enumerate(), Choices(Data("y"), n=3))
    with pytest.raises(ValueError, match=r"choices lie in \[0, 3\); the start has -5"):
        free(y=torch.full((2, 1), -5.0, dtype=torch.float64))
    with pytest.raises(TypeError, match=r"z holds Choices; use Enumerate.*CategoricalCEM"):
        min_over(Clusters(), "z", GradientDescent(0.1), Choices(Zeros(1), n=3))(y=points())
    with pytest.raises(TypeError, match="needs a start object for each of z"):
        min_over(Clusters(), "z", Enumerate(), Choices(torch.zeros(2, 1, dtype=torch.int64), n=3))


def test_nested_and_joint_minimization_agree():
    energy, y = Spring(), points()
    observed = 0.5 * Spring().compose(y=(lambda y, x: y - x, "y", "x")) + energy
    joint = minimize(observed, {"y": y, "z": Zeros(1)}, Armijo(), given={"x": 1 + y}, tol=1e-10)
    free = min_over(observed, "z", GradientDescent(0.2), Zeros(1), tol=1e-12)
    nested = minimize(free, y, Armijo(), given={"x": 1 + y}, tol=1e-9)
    assert joint.converged.all() and nested.converged.all()
    assert torch.allclose(joint.energy, nested.energy, atol=1e-12)
    assert torch.allclose(joint.value["y"], nested.value, atol=1e-7)


def test_starts_reach_the_same_minimum():
    energy, y = Spring(), points()
    encoder = nn.Linear(1, 1).double()
    for start in (Zeros(1), Normal(1, scale=3.0), Data("y"), Network(encoder, "y")):
        free = min_over(energy, "z", GradientDescent(0.3), start, tol=1e-12)
        assert torch.allclose(free(y=y), free_energy(y, W), atol=1e-12)
    perfect = Network(nn.Linear(1, 1, bias=False).double(), "y")
    with torch.no_grad():
        perfect.network.weight.fill_(W / CURVATURE)
    assert min_over(energy, "z", GradientDescent(0.3), perfect, tol=1e-12).solve(y=y).steps.max() == 0


def test_rows_that_finish_early_change_nothing_for_the_others():
    energy = Spring()
    free = min_over(energy, "z", GradientDescent(0.3), Zeros(1), tol=1e-12)
    # the zeros are done at once and dropped
    y = torch.cat([points(), torch.zeros(6, 1, dtype=torch.float64)])
    assert torch.equal(free(y=y)[:5], free(y=points()))


def gaussian_free_energy(y: Tensor, beta: float) -> Tensor:
    """-(1/β) log ∫ exp(-βE) dz = F_∞ - (1/2β) log(2π / (β (1 + w²)))."""
    return free_energy(y, W) - 0.5 / beta * math.log(2 * math.pi / (beta * CURVATURE))


@pytest.mark.parametrize("rule", ["midpoint", "legendre"])
@pytest.mark.parametrize("beta", [0.5, 4.0])
def test_grid_equals_the_gaussian_integral(rule, beta):
    free = marginal_over(Spring(), "z", beta, by=Grid(-15, 15, 200, rule, normalized=False))
    assert torch.allclose(free(y=points()), gaussian_free_energy(points(), beta), atol=1e-10)


def test_two_dimensional_grid_equals_the_gaussian_integral():
    class Bowl(Energy):
        def forward(self, y: Tensor, z: Tensor) -> Tensor:
            return 0.5 * ((z - y) ** 2).sum(1)

    y = torch.zeros(2, 2, dtype=torch.float64)
    free = marginal_over(Bowl(), "z", 2.0, by=Grid([-8, -9], [8, 9], 80, normalized=False))
    assert torch.allclose(
        free(y=y), torch.full((2,), -0.5 * math.log(math.pi), dtype=torch.float64), atol=1e-10
    )


def test_importance_sampling_is_right_within_its_standard_error_and_reports_its_effective_sample_size():
    beta, n, y = 2.0, 4000, points(200)
    one = torch.ones(1, dtype=torch.float64)
    free = marginal_over(Spring(), "z", beta, by=Importance(n, 0 * one, one))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        error = free.bind({"y": y}, generator)() - gaussian_free_energy(y, beta)
        posterior = free.posterior(y=y, generator=generator)
    ess = posterior.effective_sample_size
    # var of log of a mean of weights is (1/ess - 1/n); the error in F is that over β
    deviations = error / ((1 / ess - 1 / n).sqrt() / beta)
    assert abs(float(deviations.mean())) < 4 / math.sqrt(200) + 0.05
    assert 0.8 < float(deviations.std()) < 1.2
    assert ((ess > 1) & (ess <= n)).all()


def test_posterior_mean_and_information_of_a_gaussian():
    beta, y = 2.0, points()
    with torch.no_grad():
        posterior = marginal_over(Spring(), "z", beta, by=Grid(-10, 10, 400)).posterior(y=y)
    assert torch.allclose(posterior.mean, W * y / CURVATURE, atol=1e-10)
    variance = 1 / (beta * CURVATURE)
    exact = math.log(20) - 0.5 * math.log(2 * math.pi * math.e * variance)  # log volume - entropy
    assert torch.allclose(posterior.information, torch.full((5,), exact, dtype=torch.float64), atol=1e-9)
    draws = posterior.sample(4000, torch.Generator().manual_seed(0))
    assert ((draws.mean(1) - posterior.mean).abs() < 4 * math.sqrt(variance / 4000)).all()


def test_beta_selects_the_optimist_the_mean_and_the_worst_case():
    energy, y = Spring(), points()
    values = torch.tensor([[-1.0], [0.0], [2.0]], dtype=torch.float64)
    table = torch.stack([energy(y=y, z=v.expand(5, 1)) for v in values], 1)
    for beta, expected in ((math.inf, table.amin(1)), (0.0, table.mean(1)), (-math.inf, table.amax(1))):
        assert torch.allclose(marginal_over(energy, "z", beta, by=Finite(values))(y=y), expected)
    risky = marginal_over(energy, "z", -1.5, by=Finite(values))(y=y)
    assert torch.allclose(risky, ((1.5 * table).exp().mean(1)).log() / 1.5)
    assert (risky > table.mean(1)).all()


def test_all_choices_sums_over_every_spin_configuration():
    class Ising(Energy):
        def forward(self, field: Tensor, spins: Tensor) -> Tensor:
            return -(field * (2.0 * spins - 1)).sum(1)

    field = torch.randn(3, 4, dtype=torch.float64)
    free = marginal_over(Ising(), "spins", 1.0, by=AllChoices(2, 4, normalized=False))
    assert torch.allclose(free(field=field), -(2 * field.cosh()).log().sum(1))


def test_max_rows_changes_nothing():
    values = torch.linspace(-2, 2, 23, dtype=torch.float64).unsqueeze(1)
    small = marginal_over(Spring(), "z", 2.0, by=Finite(values), max_rows=7)(y=points())
    assert torch.allclose(small, marginal_over(Spring(), "z", 2.0, by=Finite(values))(y=points()), atol=1e-14)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda e: min_over(e, "u", GradientDescent(0.1), Zeros(1)), "it has no 'u'"),
        (lambda e: min_over(e, "z", GradientDescent(0.1), 0.0), "needs a start object"),
        (
            lambda e: min_over(e, "z", GradientDescent(0.1), Zeros(1), differentiate="yes"),
            "'unroll' or 'implicit'",
        ),
        (lambda e: marginal_over(e, "u", 1.0, by=Finite(torch.zeros(1, 1))), "it has no 'u'"),
        (lambda e: marginal_over(e, "z", 1.0, by=48), "how to integrate"),
        (lambda e: marginal_over(e, "z", 0.0, by=Grid(0, 1, 4, normalized=False)), "normalized measure"),
        (lambda e: marginal_over(e, "z", 1.0, by=Grid(1, 0, 4)), "low < high"),
        (lambda e: marginal_over(e, "z", 1.0, by=Grid(0, 1, 4, rule="simpson")), "'midpoint' or 'legendre'"),
        (lambda e: marginal_over(e, "z", 1.0, by=AllChoices(10, 40)), "too many to enumerate"),
        (lambda e: min_over(e, "z", GradientDescent(0.1), Zeros(1))(z=torch.zeros(1, 1)), "'y' is missing"),
    ],
)
def test_errors_teach(build, words):
    with pytest.raises((TypeError, ValueError), match=words):
        build(Spring())
