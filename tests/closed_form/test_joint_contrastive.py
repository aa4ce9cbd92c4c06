"""NT-Xent, InfoNCE and DCL against their equations, one pair of codes at a time, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ebm.joint import DCL, DCLW, AlignmentUniformity, Criterion, InfoNCE, NTXent, crowding
from ebm.joint.crowding import crowding as crowded
from ebm.measure.codes import CollapseWarning

DOUBLE = torch.float64
TEMPERATURES = (0.05, 0.5, 2.0)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def views(rows: int = 6, dims: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    x = draw(rows, dims, seed=seed)
    return x, x + 0.7 * draw(rows, dims, seed=seed + 100)


def cosine(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum() / (x.square().sum().sqrt() * y.square().sum().sqrt())


def log_sum_exp(numbers: Sequence[Tensor]) -> Tensor:
    return sum((number.exp() for number in numbers), torch.zeros((), dtype=DOUBLE)).log()


# --- the equations, as the papers have them -----------------------------------------------------------------


def nt_xent(x: Tensor, y: Tensor, tau: float) -> Tensor:
    """Chen et al. (2020), algorithm 1: ℓ(2k-1, 2k) + ℓ(2k, 2k-1), averaged over 2N."""
    z = [code for pair in zip(x, y, strict=True) for code in pair]
    total = torch.zeros((), dtype=DOUBLE)
    for i in range(len(z)):
        j = i ^ 1  # the other of a pair
        others = [cosine(z[i], z[k]) / tau for k in range(len(z)) if k != i]
        total = total + log_sum_exp(others) - cosine(z[i], z[j]) / tau
    return total / len(z)


def decoupled(x: Tensor, y: Tensor, tau: float, weights: Tensor | None = None) -> Tensor:
    """Yeh et al. (2021), eq. 6: the mean over examples and over the two views."""
    total = torch.zeros((), dtype=DOUBLE)
    for i, (mine, other) in product(range(len(x)), ((x, y), (y, x))):
        negatives = [cosine(mine[i], z[k]) / tau for z in (mine, other) for k in range(len(x)) if k != i]
        weight = 1.0 if weights is None else weights[i]
        total = total + log_sum_exp(negatives) - weight * cosine(mine[i], other[i]) / tau
    return total / (2 * len(x))


def weighted(x: Tensor, y: Tensor, tau: float, sigma: float = 0.5) -> Tensor:
    scores = torch.stack([(cosine(a, b) / sigma).exp() for a, b in zip(x, y, strict=True)])
    return decoupled(x, y, tau, 2 - scores / scores.mean())


def info_nce(x: Tensor, y: Tensor, tau: float) -> Tensor:
    """Van den Oord et al. (2018), eq. 4."""
    rows = [log_sum_exp([cosine(a, b) / tau for b in y]) - cosine(a, y[i]) / tau for i, a in enumerate(x)]
    return torch.stack(rows).mean()


def two_way(x: Tensor, y: Tensor, tau: float) -> Tensor:
    return (info_nce(x, y, tau) + info_nce(y, x, tau)) / 2


def align_and_spread(x: Tensor, y: Tensor, t: float, alpha: float = 2.0, weight: float = 1.0) -> Tensor:
    """Wang & Isola (2020), sect. 4.1."""
    a, b = ([code / code.square().sum().sqrt() for code in z] for z in (x, y))
    apart = [(p - q).square().sum() ** (alpha / 2) for p, q in zip(a, b, strict=True)]
    loss = torch.stack(apart).mean()
    for z in (a, b):
        pairs = [-t * (z[i] - z[j]).square().sum() for i in range(len(z)) for j in range(i)]
        loss = loss + weight * (log_sum_exp(pairs) - math.log(len(pairs))) / 2
    return loss


CASES: dict[str, tuple[Callable[[float], Criterion], Callable[[Tensor, Tensor, float], Tensor]]] = {
    "NTXent": (NTXent, nt_xent),
    "DCL": (DCL, decoupled),
    "DCLW": (DCLW, weighted),
    "InfoNCE one way": (lambda tau: InfoNCE(tau, two_way=False), info_nce),
    "InfoNCE two ways": (InfoNCE, two_way),
    "alignment and uniformity": (lambda t: AlignmentUniformity(t=t), align_and_spread),
    "alignment with a power": (
        lambda t: AlignmentUniformity(weight=0.3, alpha=1.0, t=t),
        lambda x, y, t: align_and_spread(x, y, t, alpha=1.0, weight=0.3),
    ),
}


def value_and_gradients(function: Callable[[Tensor, Tensor], Tensor], *codes: Tensor) -> list[Tensor]:
    leaves = [z.clone().requires_grad_() for z in codes]
    loss = function(*leaves)
    return [loss.detach(), *torch.autograd.grad(loss, leaves)]


@pytest.mark.parametrize("number", TEMPERATURES)
@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient_are_those_of_the_equation(name: str, number: float) -> None:
    make, reference = CASES[name]
    expected = value_and_gradients(lambda x, y: reference(x, y, number), *views())
    came = value_and_gradients(lambda x, y: make(number)(x, y).loss, *views())
    for a, b in zip(came, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("rows", [1, 2, 5, 100])
def test_the_blocks_of_the_crowding_fit_together(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the number of rows that are worked on at a time: c_i and its gradient are those of the sum."""
    z, mine = draw(21, 4), draw(21, seed=1)

    def plainly(z: Tensor) -> Tensor:
        own = torch.eye(7, dtype=torch.bool).repeat(3, 3)  # three views of seven examples
        return (((z @ z.T) / 0.3).masked_fill(own, -torch.inf).logsumexp(1) * mine).sum()

    monkeypatch.setattr(crowding, "ROWS", rows)
    came = value_and_gradients(lambda z: (crowded(z, 0.3, views=3) * mine).sum(), z)
    for a, b in zip(came, value_and_gradients(plainly, z), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("tau", TEMPERATURES)
@pytest.mark.parametrize(
    ("make", "inside"), [(NTXent, 2 * 6 - 1), (DCL, 2 * 6 - 2), (DCLW, 2 * 6 - 2), (InfoNCE, 6)]
)
def test_collapse_costs_the_log_of_what_is_compared(
    make: Callable[[float], Criterion], inside: int, tau: float
) -> None:
    """All codes alike: every comparison is a tie, at every temperature."""
    z = draw(1, 4).expand(6, 4)
    with pytest.warns(CollapseWarning, match="complete collapse"):
        loss = make(tau)(z, z).loss
    assert float(loss) == pytest.approx(math.log(inside), abs=1e-12)


def test_uniformity_of_collapsed_codes_is_zero() -> None:
    z = draw(1, 4).expand(6, 4)
    with pytest.warns(CollapseWarning):
        assert float(AlignmentUniformity()(z, z).terms["uniformity"]) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("dims", "limit"), [(2, -1.5750272), (3, -2.0797771)])
def test_uniformity_of_the_uniform_distribution(dims: int, limit: float) -> None:
    """log(e⁻⁴ I₀(4)) on the circle, log((1 - e⁻⁸) / 8) on the sphere, t = 2. Pairs are uncorrelated here, so
    the variance of their mean is that of one of them over their number."""
    z = draw(4000, dims)
    potential = float(AlignmentUniformity()(z, z).terms["uniformity"])
    mean, square = math.exp(limit), {2: 0.1434317, 3: 1 / 16}[dims]  # E e^(-2d²), E e^(-4d²)
    error = math.sqrt(square - mean**2) / mean / math.sqrt(4000 * 3999 / 2)
    assert abs(potential - limit) < 4 * error < 0.0025


@pytest.mark.parametrize("tau", TEMPERATURES)
def test_nt_xent_is_the_softplus_of_dcl_for_each_code(tau: float) -> None:
    """With two examples whose codes are mirror images, all four codes have one loss, so also its mean."""
    x = torch.tensor([[1.0, 0.2], [-1.0, 0.2]], dtype=DOUBLE)
    y = x.flip(0) * torch.tensor([-1.0, 1.0], dtype=DOUBLE)
    one, other = DCL(tau)(x, y).loss, NTXent(tau)(x, y).loss
    torch.testing.assert_close(other, torch.nn.functional.softplus(one), rtol=1e-12, atol=0)


def test_orthogonal_examples_have_closed_forms() -> None:
    z, tau = torch.eye(5, dtype=DOUBLE), 0.4
    assert float(NTXent(tau)(z, z).loss) == pytest.approx(math.log(1 + 8 * math.exp(-1 / tau)), rel=1e-12)
    assert float(InfoNCE(tau)(z, z).loss) == pytest.approx(math.log(1 + 4 * math.exp(-1 / tau)), rel=1e-12)
    assert float(DCL(tau)(z, z).loss) == pytest.approx(math.log(8) - 1 / tau, rel=1e-12)
    uniformity = AlignmentUniformity(t=1.5)(z, z).terms["uniformity"]
    assert float(uniformity) == pytest.approx(-3.0, rel=1e-12)  # every pair at |z_i - z_j|² = 2


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("DCLW", "alignment with a power")])
def test_the_terms_add_up_to_the_loss(name: str) -> None:
    output = CASES[name][0](0.3)(*views())
    terms = output.terms
    assert list(terms) in (["invariance", "repulsion"], ["invariance", "uniformity"])
    scale, other = (1, terms["uniformity"]) if "uniformity" in terms else (1 / 0.3, terms["repulsion"])
    assert float(output.loss) == pytest.approx(float(scale * terms["invariance"] + other), rel=1e-12)
    apart = torch.stack([1 - cosine(a, b) for a, b in zip(*views(), strict=True)]).mean()
    expected = 2 * apart if "uniformity" in terms else apart  # |x - y|² = 2 - 2 cos
    torch.testing.assert_close(terms["invariance"], expected, rtol=1e-12, atol=0)
    assert not any(value.requires_grad for value in terms.values())


@pytest.mark.parametrize("detach", [True, False])
def test_the_gradient_through_the_weights_of_dclw(detach: bool) -> None:
    x, y = views()

    def reference(x: Tensor, y: Tensor) -> Tensor:
        scores = torch.stack([(cosine(a, b) / 0.5).exp() for a, b in zip(x, y, strict=True)])
        weights = 2 - scores / scores.mean()
        return decoupled(x, y, 0.1, weights.detach() if detach else weights)

    came = value_and_gradients(lambda a, b: DCLW(0.1, detach=detach)(a, b).loss, x, y)
    for a, b in zip(came, value_and_gradients(reference, x, y), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


@given(seed=st.integers(0, 10**6), name=st.sampled_from(sorted(CASES)), tau=st.floats(0.05, 5.0))
def test_what_changes_nothing(seed: int, name: str, tau: float) -> None:
    """The order of the examples, a rotation of all codes, and the lengths of codes."""
    criterion, (x, y) = CASES[name][0](tau), views(seed=seed)
    expected = criterion(x, y).loss
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    rotation = torch.linalg.qr(draw(4, 4, seed=seed + 1)).Q
    lengths = draw(6, 1, seed=seed + 2).exp()
    for a, b in ((x[order], y[order]), (x @ rotation, y @ rotation), (x * lengths, y / lengths)):
        torch.testing.assert_close(criterion(a, b).loss, expected, rtol=1e-10, atol=1e-10)
    if name != "InfoNCE one way":
        torch.testing.assert_close(criterion(y, x).loss, expected, rtol=1e-10, atol=1e-10)


def test_minus_info_nce_bounds_the_mutual_information() -> None:
    """x and y are one of 4 directions, the same one: I = log 4, and log N - L may show no more of it."""
    which = torch.randint(4, (512,), generator=torch.Generator().manual_seed(0))
    z = torch.eye(4, dtype=DOUBLE)[which]
    for tau in (0.02, 0.1, 1.0):
        bound = math.log(512) - float(InfoNCE(tau)(z, z).loss)
        assert bound < math.log(4) + 0.01
    assert math.log(512) - float(InfoNCE(0.02)(z, z).loss) > math.log(4) - 0.05
