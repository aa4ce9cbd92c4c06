"""Colors against colorsys, pixel by pixel; blur against scipy; the published recipes' settings."""

from __future__ import annotations

import colorsys
import math
from collections import Counter

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from torch import Tensor

from ebm.views import (
    Blur,
    ColorJitter,
    Compose,
    GaussianBlur,
    Grayscale,
    HorizontalFlip,
    Jitter,
    Maybe,
    RandomResizedCrop,
    Solarize,
    Views,
    byol_views,
    multicrop_views,
    simclr_views,
    simsiam_views,
)
from ebm.views.color import luma, turn_hue

F64 = torch.float64


def colors(rows: int, height: int = 4, width: int = 5) -> Tensor:
    """Random colors; among them black, white, gray and pure ones, and colors with two equal channels."""
    x = torch.rand(rows, 3, height, width, generator=torch.Generator().manual_seed(0), dtype=F64)
    x[:, :, 0, 0], x[:, :, 0, 1], x[:, :, 0, 2] = 0.0, 1.0, 0.5
    x[:, :, 1, 0] = torch.tensor([1.0, 0.0, 0.0], dtype=F64)
    x[:, 0, 1, 1] = x[:, 1, 1, 1]
    x[:, 1, 1, 2] = x[:, 2, 1, 2]
    x[:, 0, 1, 3] = x[:, 2, 1, 3]
    return x


def turned(pixel: np.ndarray, turns: float) -> tuple[float, float, float]:
    hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
    return colorsys.hsv_to_rgb((hue + turns) % 1.0, saturation, value)


def test_hues_turn_as_in_colorsys() -> None:
    x, turns = colors(5), torch.tensor([-0.5, -0.1, 0.0, 0.3, 0.5], dtype=F64)
    expected = [
        np.apply_along_axis(turned, 0, row, t) for row, t in zip(x.numpy(), turns.tolist(), strict=True)
    ]
    torch.testing.assert_close(turn_hue(x, turns), torch.tensor(np.array(expected)), rtol=0, atol=1e-14)


def jittered(x: np.ndarray, factors: list[float], hue: float, order: list[int]) -> np.ndarray:
    """One image (3, H, W), step by step as the paper's appendix lists them."""

    def gray(x: np.ndarray) -> np.ndarray:
        return 0.299 * x[0] + 0.587 * x[1] + 0.114 * x[2]

    for step in order:
        if step == 0:
            x = np.clip(factors[0] * x, 0, 1)
        elif step == 1:
            x = np.clip(factors[1] * x + (1 - factors[1]) * gray(x).mean(), 0, 1)
        elif step == 2:
            x = np.clip(factors[2] * x + (1 - factors[2]) * gray(x), 0, 1)
        else:
            x = np.apply_along_axis(turned, 0, x, hue)
    return x


def test_jitter_takes_the_four_steps_in_each_rows_order(generator: torch.Generator) -> None:
    x = colors(60)
    view, jitter = ColorJitter(0.8, 0.9, 1.5, 0.4)(x, generator)
    expected = [
        jittered(
            x[i].numpy(), [f[i].item() for f in jitter[:3]], jitter.hue[i].item(), jitter.order[i].tolist()
        )
        for i in range(60)
    ]
    torch.testing.assert_close(view, torch.tensor(np.array(expected)), rtol=0, atol=1e-12)
    assert len(Counter(map(tuple, jitter.order.tolist()))) > 15


def jitter_of(order: list[int], brightness: float = 1, contrast: float = 1, saturation: float = 1) -> Jitter:
    b, c, s, hue = torch.tensor([[brightness], [contrast], [saturation], [0]], dtype=F64)
    return Jitter(b, c, s, hue, torch.tensor([order]))


def test_factors_of_one_change_nothing_and_of_zero_everything() -> None:
    x, order = colors(1), [3, 1, 0, 2]
    jitter = ColorJitter()
    assert torch.equal(jitter.apply(x, jitter_of(order)), x)
    assert torch.equal(jitter(x).value, x)
    assert not jitter.apply(x, jitter_of(order, brightness=0)).any()
    torch.testing.assert_close(jitter.apply(x, jitter_of(order, saturation=0)), luma(x).expand(-1, 3, -1, -1))
    flat = jitter.apply(x, jitter_of(order, contrast=0))
    torch.testing.assert_close(flat, luma(x).mean().expand_as(x))


def test_jitter_is_distributed_as_said(generator: torch.Generator) -> None:
    jitter = ColorJitter(0.4, 1.5, 0.2, 0.1).draw(torch.empty(1, dtype=F64).expand(20000, 3, 1, 1), generator)
    ranges = ((0.6, 1.4), (0.0, 2.5), (0.8, 1.2), (-0.1, 0.1))
    for values, (low, high) in zip(jitter[:4], ranges, strict=True):
        assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-3
    counts = Counter(map(tuple, jitter.order.tolist()))
    assert len(counts) == 24 and stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_gray_images_have_brightness_and_contrast_only(generator: torch.Generator) -> None:
    x = colors(20)[:, :1]
    view, jitter = ColorJitter(0.4, 0.4)(x, generator)
    for i in range(20):
        y = x[i].numpy()
        for step in jitter.order[i].tolist():
            if step < 2:
                f = jitter[step][i].item()
                y = np.clip(f * y + (1 - f) * (y.mean() if step else 0.0), 0, 1)
        torch.testing.assert_close(view[i], torch.tensor(y), rtol=0, atol=1e-14)
    for bad in (ColorJitter(saturation=0.1), ColorJitter(hue=0.1)):
        with pytest.raises(ValueError, match=r"gray images, .* have neither saturation nor hue"):
            bad(x)
    with pytest.raises(ValueError, match=r"color images \(B, 3, H, W\).*leave it out"):
        Grayscale()(x)
    with pytest.raises(ValueError, match=r"or gray ones .* got shape \(2, 2, 4, 4\)"):
        ColorJitter()(torch.zeros(2, 2, 4, 4))


def test_gray_and_solarized() -> None:
    x = colors(3)
    gray = 0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2]
    torch.testing.assert_close(Grayscale()(x).value, torch.stack([gray] * 3, 1), rtol=0, atol=1e-15)
    white = torch.ones(1, 3, 1, 1, dtype=F64)
    torch.testing.assert_close(Grayscale()(white).value, white, rtol=0, atol=1e-15)
    byte = torch.arange(256, dtype=F64).view(1, 1, 16, 16) / 255
    inverted = [v if v < 128 else 255 - v for v in range(256)]  # of bytes, as image programs do it
    torch.testing.assert_close(Solarize()(byte).value.flatten() * 255, torch.tensor(inverted, dtype=F64))
    edge = torch.tensor([[[[0.2, 0.25, 0.3]]]])
    torch.testing.assert_close(Solarize(0.25)(edge).value, torch.tensor([[[[0.2, 0.75, 0.7]]]]))


# --- blur ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [1, 3, 7])
def test_blur_is_that_of_scipy(radius: int, generator: torch.Generator) -> None:
    x = colors(8, 9, 13)
    view, (sigma,) = GaussianBlur((0.1, 3.0), radius=radius)(x, generator)
    for row in range(8):
        s = sigma[row].item()
        expected = ndimage.gaussian_filter(
            x[row].numpy(), (0, s, s), radius=(0, radius, radius), mode="mirror"
        )
        torch.testing.assert_close(view[row], torch.tensor(expected), rtol=0, atol=1e-13)


def test_blur_of_a_point_is_a_gaussian() -> None:
    x = torch.zeros(2, 1, 41, 41, dtype=F64)
    x[:, :, 20, 20] = 1
    sigma = torch.tensor([0.8, 1.7], dtype=F64)
    view = GaussianBlur(radius=10).apply(x, Blur(sigma))
    j = torch.arange(-10, 11, dtype=F64)
    bell = torch.exp(-(j[:, None] ** 2 + j**2) / (2 * sigma[:, None, None] ** 2))
    bell = bell / bell.sum((1, 2), keepdim=True)
    torch.testing.assert_close(view[:, 0, 10:31, 10:31], bell, rtol=0, atol=1e-15)
    assert math.isclose(view.sum().item(), 2.0)


@pytest.mark.parametrize(("side", "radius"), [(224, 11), (96, 4), (32, 1), (28, 1), (8, 1)])
def test_the_kernel_is_a_tenth_of_the_image(side: int, radius: int) -> None:
    x = torch.zeros(1, 1, side, side, dtype=F64)
    x[:, :, side // 2, side // 2] = 1
    spread = (GaussianBlur((2.0, 2.0))(x).value > 0)[0, 0].any(0)
    assert spread.sum() == 2 * radius + 1
    with pytest.raises(ValueError, match="radius 8 needs images of larger sides"):
        GaussianBlur(radius=8)(torch.zeros(1, 1, 8, 20))


def test_sigma_is_uniform(generator: torch.Generator) -> None:
    (sigma,) = GaussianBlur((0.1, 2.0)).draw(torch.empty(1, dtype=F64).expand(20000, 1, 1, 1), generator)
    assert stats.kstest(sigma, stats.uniform(0.1, 1.9).cdf).pvalue > 1e-3


# --- recipes ------------------------------------------------------------------------------------------------


def settings(views: Views, number: int) -> dict[str, tuple[object, ...]]:
    """The settings of one view, (probability, ...) by the name of the step, in the order of the steps."""
    found: dict[str, tuple[object, ...]] = {}
    view = views.transforms[number]
    assert isinstance(view, Compose)
    for name, step in view.steps.items():
        p, inner = (step.p, step.transform) if isinstance(step, Maybe) else (1.0, step)
        match inner:
            case RandomResizedCrop():
                assert inner.ratio == (3 / 4, 4 / 3) and inner.antialias
                found[name] = (p, inner.size, inner.scale)
            case HorizontalFlip():
                found[name] = (inner.p,)
            case ColorJitter():
                found[name] = (p, inner.brightness, inner.contrast, inner.saturation, inner.hue)
            case GaussianBlur():
                found[name] = (p, inner.sigma, inner.radius)
            case _:
                found[name] = (p,)
    return found


def test_recipes_are_the_published_ones() -> None:
    crop, flip, blur = "random resized crop", "horizontal flip", "gaussian blur"
    soft = (0.1, 2.0), None
    simclr: dict[str, tuple[object, ...]]
    simclr = {crop: (1.0, (224, 224), (0.08, 1.0)), flip: (0.5,), "color jitter": (0.8, 0.8, 0.8, 0.8, 0.2)}
    simclr |= {"grayscale": (0.2,), blur: (0.5, *soft)}
    assert settings(simclr_views(224), 0) == settings(simclr_views(224), 1) == simclr
    assert list(settings(simclr_views(224), 0)) == list(simclr)
    cifar = settings(simclr_views(32, strength=0.5, blur=False), 0)
    assert cifar["color jitter"] == (0.8, 0.4, 0.4, 0.4, 0.1) and blur not in cifar
    byol: dict[str, tuple[object, ...]]
    byol = {crop: (1.0, (224, 224), (0.08, 1.0)), flip: (0.5,), "color jitter": (0.8, 0.4, 0.4, 0.2, 0.1)}
    byol |= {"grayscale": (0.2,)}
    assert settings(byol_views(224), 0) == byol | {blur: (1.0, *soft)}
    assert settings(byol_views(224), 1) == byol | {blur: (0.1, *soft), "solarize": (0.2,)}
    simsiam: dict[str, tuple[object, ...]]
    simsiam = {crop: (1.0, (224, 224), (0.2, 1.0)), "color jitter": (0.8, 0.4, 0.4, 0.4, 0.1)}
    simsiam |= {"grayscale": (0.2,), blur: (0.5, *soft), flip: (0.5,)}
    assert list(settings(simsiam_views(224), 1).items()) == list(simsiam.items())
    dino = multicrop_views()
    assert len(dino.transforms) == 10
    assert settings(dino, 0) == byol | {crop: (1.0, (224, 224), (0.4, 1.0)), blur: (1.0, *soft)}
    assert settings(dino, 9) == byol | {crop: (1.0, (96, 96), (0.05, 0.4)), blur: (0.5, *soft)}


@pytest.mark.parametrize("channels", [1, 3])
def test_recipes_run_on_gray_and_color_images(channels: int, generator: torch.Generator) -> None:
    x = torch.rand(32, channels, 28, 28, generator=generator)  # float32: resized values may round beyond 1
    x[:, :, :14] = 1.0
    for make in (simclr_views, byol_views, simsiam_views, multicrop_views):
        for value, _ in make(28, channels=channels)(x, generator):
            assert value.shape[:2] == x.shape[:2] and value.isfinite().all() and value.dtype == x.dtype
            assert value.min() >= -1e-6 and value.max() <= 1 + 1e-6
    with pytest.raises(ValueError, match="channels is 3 for colors or 1 for gray images; got 2"):
        simclr_views(28, channels=2)
