"""What holds for every view, and views made of views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from ebm.views import (
    Chosen,
    ColorJitter,
    Compose,
    GaussianBlur,
    GaussianNoise,
    Grayscale,
    HorizontalFlip,
    MaskEntries,
    MaskPatches,
    Maybe,
    RandomResizedCrop,
    Scaling,
    Solarize,
    Transform,
    Views,
    vector,
)
from ebm.views.parameters import tensors

TRANSFORMS: dict[str, Callable[[], Transform[Any]]] = {
    "crop": lambda: RandomResizedCrop((7, 9), scale=(0.2, 0.9)),
    "crop without antialiasing": lambda: RandomResizedCrop((3, 4), antialias=False),
    "flip": HorizontalFlip,
    "jitter": lambda: ColorJitter(0.8, 0.8, 0.8, 0.2),
    "gray": Grayscale,
    "solarize": Solarize,
    "blur": lambda: GaussianBlur(radius=3),
    "noise": lambda: GaussianNoise((0.1, 0.3)),
    "scaling": lambda: Scaling((0.5, 2.0)),
    "entries": lambda: MaskEntries(0.3),
    "patches": lambda: MaskPatches(2, 0.5),
    "maybe": lambda: Maybe(0.5, ColorJitter(0.4, 0.4, 0.2, 0.1)),
    "compose": lambda: Compose(
        RandomResizedCrop(8), Maybe(0.6, HorizontalFlip()), GaussianNoise(0.1), Maybe(0.3, GaussianBlur())
    ),
}
MAKERS = pytest.mark.parametrize("make", TRANSFORMS.values(), ids=TRANSFORMS)


def pictures(rows: int = 6, dtype: torch.dtype = torch.float64) -> Tensor:
    g = torch.Generator().manual_seed(7)
    return torch.rand(rows, 3, 10, 12, generator=g, dtype=torch.float64).to(dtype)


def same(a: Any, b: Any) -> bool:
    pairs = list(zip(tensors(a), tensors(b), strict=True))
    return all(torch.equal(x, y) for x, y in pairs)


@MAKERS
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_shape_and_dtype_are_kept_and_every_row_has_parameters(
    make: Callable[[], Transform[Any]], dtype: torch.dtype, generator: torch.Generator
) -> None:
    x, transform = pictures(dtype=dtype), make()
    before = x.clone()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        view, parameters = transform(x, generator)
    assert view.dtype == dtype and view.shape == transform.shape(x.shape) and view.isfinite().all()
    assert torch.equal(x, before)
    for tensor in tensors(parameters):
        assert len(tensor) == len(x)
        assert not tensor.is_floating_point() or tensor.dtype == torch.promote_types(dtype, torch.float32)
    assert len(transform(x[:0]).value) == 0 and len(transform(x[:1]).value) == 1


@MAKERS
def test_the_same_generator_gives_the_same_view_and_the_global_one_is_left_alone(
    make: Callable[[], Transform[Any]],
) -> None:
    x, transform, state = pictures(), make(), torch.get_rng_state()
    one, two, other = (transform(x, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(one.value, two.value) and same(one.parameters, two.parameters)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(transform.apply(x, one.parameters), one.value)
    if list(tensors(one.parameters)):
        assert not same(one.parameters, other.parameters)


@MAKERS
def test_a_row_depends_on_itself_alone(
    make: Callable[[], Transform[Any]], generator: torch.Generator
) -> None:
    x, transform = pictures(), make()
    view, parameters = transform(x, generator)
    changed = x.clone()
    changed[2] = 1 - 0.5 * x[2]
    again = transform.apply(changed, parameters)
    others = [0, 1, 3, 4, 5]
    assert torch.equal(again[others], view[others]) and not torch.equal(again[2], view[2])
    # nor does the layout in memory matter
    twisted = x.transpose(2, 3).contiguous().transpose(2, 3)
    torch.testing.assert_close(transform.apply(twisted, parameters), view, rtol=0, atol=1e-14)


@MAKERS
def test_gradients_flow_to_the_images(make: Callable[[], Transform[Any]], generator: torch.Generator) -> None:
    x, transform = pictures(3).requires_grad_(), make()
    parameters = transform.draw(x, generator)
    assert torch.autograd.gradcheck(lambda x: transform.apply(x, parameters), x, fast_mode=True)


IMAGES = [name for name in TRANSFORMS if name not in ("noise", "scaling", "entries")]


@pytest.mark.parametrize("name", TRANSFORMS)
def test_bytes_are_refused(name: str) -> None:
    with pytest.raises(TypeError, match=r"floating-point numbers; got torch.uint8. .*divide by 255"):
        TRANSFORMS[name]()(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))


@pytest.mark.parametrize("name", IMAGES)
def test_what_is_no_batch_of_images_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"images \(B, C, H, W\); got shape \(5, 8, 8\).*unsqueeze\(1\)"):
        TRANSFORMS[name]()(torch.zeros(5, 8, 8))
    with pytest.raises(ValueError, match=r"got shape \(5, 3, 0, 8\)"):
        TRANSFORMS[name]()(torch.zeros(5, 3, 0, 8))


@pytest.mark.parametrize("name", ["jitter", "solarize"])
@pytest.mark.parametrize("bad", [255.0, -1.0, float("nan")])
def test_values_outside_of_the_unit_interval_are_refused(name: str, bad: float) -> None:
    x = pictures()
    x[0, 0, 0, 0] = bad
    with pytest.raises(ValueError, match=r"in \[0, 1\]; got values from .* to .*Divide bytes by 255"):
        TRANSFORMS[name]()(x)
    x[0, 0, 0, 0] = 1 + 1e-12  # as the average of values in [0, 1] may round
    TRANSFORMS[name]()(x)


# --- composed -----------------------------------------------------------------------------------------------


def test_compose_is_one_after_the_other_and_names_what_was_drawn(generator: torch.Generator) -> None:
    x = pictures()
    noise = GaussianNoise(0.1)
    view, parameters = Compose(noise, HorizontalFlip(1.0), noise)(x, generator)
    assert list(parameters) == ["gaussian noise", "horizontal flip", "gaussian noise 2"]
    first, second = parameters["gaussian noise"].noise, parameters["gaussian noise 2"].noise
    assert torch.equal(view, (x + 0.1 * first).flip(3) + 0.1 * second) and not torch.equal(first, second)


def test_maybe_changes_the_chosen_rows_and_no_others(generator: torch.Generator) -> None:
    x = torch.rand(4000, 5, dtype=torch.float64)
    maybe = Maybe(0.3, GaussianNoise(1.0))
    view, chosen = maybe(x, generator)
    assert (
        isinstance(chosen, Chosen)
        and abs(chosen.applied.double().mean() - 0.3) < 4 * (0.3 * 0.7 / 4000) ** 0.5
    )
    assert torch.equal(view[~chosen.applied], x[~chosen.applied])
    assert torch.equal(view[chosen.applied], (x + chosen.parameters.noise)[chosen.applied])
    assert not chosen.parameters.noise[~chosen.applied].any()
    assert torch.equal(Maybe(0.0, GaussianNoise(1.0))(x).value, x)
    with pytest.raises(ValueError, match=r"keeps the shape.*random resized crop makes \(6, 3, 4, 4\)"):
        Maybe(0.5, RandomResizedCrop(4))(pictures())


def test_views_are_drawn_each_on_its_own(generator: torch.Generator) -> None:
    x = pictures()
    noise = GaussianNoise(0.1)
    (a, p), (b, q), (c, _) = Views(noise, noise, HorizontalFlip(1.0))(x, generator)
    assert not torch.equal(p.noise, q.noise) and not torch.equal(a, b) and torch.equal(c, x.flip(3))


def test_vector_holds_all_parameters_of_a_row(generator: torch.Generator) -> None:
    x = pictures(4)
    _, parameters = Compose(Maybe(0.5, Scaling((0.5, 2.0))), HorizontalFlip(), MaskPatches(2, 0.5))(
        x, generator
    )
    told = vector(parameters[name] for name in ("scaling", "horizontal flip"))
    applied, (factor,) = parameters["scaling"]
    flipped = parameters["horizontal flip"].flipped
    assert torch.equal(told, torch.stack([applied.double(), factor * applied, flipped.double()], 1))
    with pytest.raises(ValueError, match="nothing was drawn"):
        vector(Grayscale().draw(x))


SETTINGS: dict[str, Callable[[], object]] = {
    r"scale=\(low, high\)": lambda: RandomResizedCrop(8, scale=(0.5, 1.5)),
    r"ratio=\(low, high\)": lambda: RandomResizedCrop(8, ratio=(2.0, 1.0)),
    "start above 0": lambda: RandomResizedCrop(8, scale=(0.0, 1.0)),
    "size in pixels": lambda: RandomResizedCrop(0),
    r"p in \[0, 1\]; got 1.5": lambda: HorizontalFlip(1.5),
    r"p in \[0, 1\]; got -1": lambda: Maybe(-1.0, HorizontalFlip()),
    r"hue is in \[0, 0.5\]": lambda: ColorJitter(hue=1.0),
    "at least 0; got -0.1": lambda: ColorJitter(-0.1),
    "threshold in": lambda: Solarize(128),
    "positive sigma": lambda: GaussianBlur((0.0, 1.0)),
    r"scale=\(low, high\) with": lambda: GaussianNoise(-1.0),
    "positive factors": lambda: Scaling((0.0, 1.0)),
    "share in": lambda: MaskEntries(2.0),
    "at least 1 pixel": lambda: MaskPatches(0, 0.5),
    "at least one transform": Compose,
    "one for each view": Views,
}


@pytest.mark.parametrize("match", SETTINGS)
def test_bad_settings_are_refused(match: str) -> None:
    with pytest.raises(ValueError, match=match):
        SETTINGS[match]()


def test_what_is_no_transform_is_refused() -> None:
    with pytest.raises(TypeError, match=r"expected a Transform, such as HorizontalFlip\(\); got"):
        Compose(HorizontalFlip(), torch.flip)  # type: ignore[arg-type]
