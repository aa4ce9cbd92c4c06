"""What contrastive and sketching criteria refuse, and that they hold in half precision and under autocast."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ebm.joint import (
    DCL,
    DCLW,
    AlignmentUniformity,
    CosineDistance,
    CramerVonMises,
    Criterion,
    EppsPulley,
    InfoNCE,
    MarginContrastive,
    Moments,
    NTXent,
    SIGReg,
    SquaredDistance,
    SwAV,
    VISReg,
    sinkhorn,
)
from ebm.joint.crowding import crowding
from ebm.joint.sphere import unit
from ebm.joint.swav import Prototypes


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def swav(**settings: bool | float) -> SwAV:
    return SwAV(8, prototypes=5, generator=torch.Generator().manual_seed(0), **settings)


SPHERICAL: dict[str, Callable[..., Criterion]] = {
    "NTXent": NTXent,
    "DCL": DCL,
    "DCLW": DCLW,
    "InfoNCE": InfoNCE,
    "AlignmentUniformity": AlignmentUniformity,
    "SwAV": swav,
}
ALL = SPHERICAL | {
    "MarginContrastive": MarginContrastive,
    "SIGReg": lambda: SIGReg(slices=32),
    "SIGReg by distribution functions": lambda: SIGReg(CramerVonMises(), slices=32),
    "VISReg": lambda: VISReg(slices=32),
}


@pytest.mark.parametrize("name", SPHERICAL)
def test_codes_that_should_have_length_1_and_do_not_are_refused(name: str) -> None:
    make, x = SPHERICAL[name], unit(draw(6, 8))
    y = x.clone()
    y[2] *= 1.5
    with pytest.raises(
        ValueError, match=rf"{name}\(normalize=False\) expects codes of length 1; got lengths from 1 to 1.5"
    ):
        make(normalize=False)(x, y)
    torch.testing.assert_close(make(normalize=False)(x, x).loss, make()(3 * x, 0.2 * x).loss)


@pytest.mark.parametrize("name", SPHERICAL)
def test_codes_of_length_1_to_the_precision_of_bfloat16_are_taken(name: str) -> None:
    x = unit(draw(64, 8)).bfloat16()
    assert SPHERICAL[name](normalize=False)(x, x).loss.dtype == torch.float32


def test_the_energies_that_they_shape() -> None:
    x, y = draw(3, 8), draw(3, 8, seed=1)
    for make in (NTXent, DCL, DCLW, InfoNCE, AlignmentUniformity):
        assert isinstance(make().energy, CosineDistance)
    for make in (MarginContrastive, SIGReg, VISReg):
        assert isinstance(make().energy, SquaredDistance)
    criterion = swav(temperature=0.2, epsilon=0.3)
    scores = [
        torch.stack([torch.cosine_similarity(z, c[None]) for c in criterion.prototypes.directions], 1)
        for z in (x, y)
    ]
    q, p = torch.softmax(scores[1] / 0.3, 1), torch.softmax(scores[0] / 0.2, 1)
    torch.testing.assert_close(criterion.energy(s_x=x, s_y=y), -(q * p.log()).sum(1), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(name: str, dtype: torch.dtype) -> None:
    """Codes of a few hundred, whose squares float16 can't hold: their loss is that of float32."""
    views = [(300 * draw(16, 8, seed=s)).to(dtype) for s in (0, 1)]
    leaves = [z.clone().requires_grad_() for z in views]
    generator = torch.Generator()
    loss = ALL[name]()(*leaves, generator=generator.manual_seed(0)).loss
    exact = ALL[name]()(*(z.float() for z in views), generator=generator.manual_seed(0)).loss
    assert loss.dtype == torch.float32
    assert float(loss.detach()) == float(exact.detach())
    for gradient in torch.autograd.grad(loss, leaves):
        assert gradient.dtype == dtype
        assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("name", ALL)
def test_autocast_changes_nothing(name: str) -> None:
    x, y = (draw(16, 8, seed=s).float().requires_grad_() for s in (0, 1))
    found = []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            loss = ALL[name]()(x, y, generator=torch.Generator().manual_seed(0)).loss
        found.append([loss, *torch.autograd.grad(loss, (x, y))])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("name", ALL)
def test_a_second_derivative_is_right_or_refused(name: str) -> None:
    """Gradients in closed form have no graph: they say so, and are never taken for constants."""
    x, y = draw(6, 8).requires_grad_(), draw(6, 8, seed=1)

    def gradient(x: Tensor) -> Tensor:
        loss = ALL[name]()(x, y, generator=torch.Generator().manual_seed(0)).loss
        return torch.autograd.grad(loss, x, create_graph=True)[0]

    if name not in ("InfoNCE", "MarginContrastive", "SwAV"):
        with pytest.raises(RuntimeError, match="has no second derivatives"):
            gradient(x).sum().backward()
        return
    (second,) = torch.autograd.grad(gradient(x).sum(), x)
    change = (gradient(x + 1e-6) - gradient(x - 1e-6)).detach() / 2e-6
    torch.testing.assert_close(second, change, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("make", [lambda **s: NTXent(**s), DCL, DCLW, InfoNCE, lambda **s: swav(**s)])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_a_temperature_is_positive(make: Callable[..., Criterion], value: float) -> None:
    with pytest.raises(ValueError, match="temperature must be finite and positive; got"):
        make(temperature=value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DCLW(sigma=0), "sigma must be finite and positive; got 0"),
        (lambda: AlignmentUniformity(alpha=0.5), "alpha is a power of the distance, at least 1; got 0.5"),
        (lambda: AlignmentUniformity(t=-1), "t must be finite and positive; got -1"),
        (lambda: AlignmentUniformity(weight=-1), "weight must be finite and at least 0; got -1"),
        (lambda: MarginContrastive(margin=0), "margin must be finite and positive; got 0"),
        (lambda: SIGReg(slices=0), "slices must be an integer of at least 1; got 0"),
        (lambda: SIGReg(weight=1.5), r"weight is between 0 \(only invariance\) and 1 .* got 1.5"),
        (lambda: SIGReg(global_views=0), "global_views must be an integer of at least 1; got 0"),
        (lambda: VISReg(weight=-0.1), r"weight is between 0 \(only invariance\) and 1 .* got -0.1"),
        (lambda: VISReg(shape=-1.0), "shape must be finite and at least 0; got -1.0"),
        (lambda: EppsPulley(knots=1), "knots must be an integer of at least 2; got 1"),
        (lambda: EppsPulley(t_max=0.0), "t_max must be finite and positive; got 0.0"),
        (lambda: Moments(0), "most must be an integer of at least 1; got 0"),
        (lambda: SwAV(8, prototypes=0), "number must be an integer of at least 1; got 0"),
        (lambda: swav(epsilon=0.0), "epsilon must be finite and positive; got 0.0"),
        (
            lambda: swav(assigning=3)(*draw(2, 6, 8)),
            r"SwAV\(assigning=3\) assigns by its first 3 views; got 2",
        ),
        (lambda: SIGReg(global_views=3)(*draw(2, 6, 8)), "global_views=3 views are the center of all; got 2"),
        (lambda: Prototypes(8, 5)(draw(3, 4)), "score codes of dimension 8; got 4"),
        (lambda: sinkhorn(draw(3)), r"sinkhorn takes scores \(B, K\).* got shape \(3,\)"),
        (lambda: sinkhorn(draw(3, 2), iterations=0), "iterations must be an integer of at least 1; got 0"),
        (lambda: crowding(draw(2, 3), 1.0, views=2), "2 or more of them, 2 rows each; got 2 rows"),
    ],
)
def test_a_setting_out_of_its_range_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_sigreg_says_what_a_test_is() -> None:
    with pytest.raises(TypeError, match=r"univariate is a test such as EppsPulley\(\); got 'epps'"):
        SIGReg("epps")  # type: ignore[arg-type]
