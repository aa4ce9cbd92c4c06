"""Data sets: shapes, ranges, definitions, and files that are missing, damaged or not what they say."""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_sample_image, make_moons
from torch import Tensor

from ebm.data import (
    PhotoPatches,
    Whitening,
    data_folders,
    digits,
    download_fashion_mnist,
    eight_gaussians,
    fashion,
    fashion_mnist,
    find_data,
    photo_patches,
    photos,
    pinwheel,
    ring,
    spiral,
    two_moons,
)


# --- digits ----------------------------------------------------------------------------------------------
def test_digits_are_the_bundled_ones_split_without_overlap() -> None:
    train, test = digits("train", dtype=torch.float64), digits("test", dtype=torch.float64)
    both = torch.cat([train.images, test.images])
    assert torch.equal(both, torch.from_numpy(load_digits().images.copy()) / 16)
    assert torch.equal(torch.cat([train.labels, test.labels]), torch.from_numpy(load_digits().target.copy()))
    assert both.min() == 0 and both.max() == 1
    assert len(test.images) == 360
    assert test.labels.bincount().min() >= 33  # every digit is tested


def test_digits_are_drawn_alike_each_time_and_in_the_dtype_asked_for() -> None:
    assert torch.equal(digits("test").images, digits("test").images)
    assert digits().images.dtype == torch.get_default_dtype()
    assert digits(dtype=torch.float16).images.dtype == torch.float16


@pytest.mark.parametrize("load", [digits, fashion_mnist])
def test_an_unknown_split_is_refused(load) -> None:
    with pytest.raises(ValueError, match='split must be "train" or "test", got \'valid\''):
        load("valid")


# --- photographs and whitening ---------------------------------------------------------------------------
def test_photos_are_the_luma_of_the_bundled_ones() -> None:
    for gray, name in zip(photos(dtype=torch.float64), ("china.jpg", "flower.jpg"), strict=True):
        red, green, blue = load_sample_image(name).astype(float).transpose(2, 0, 1)
        expected = (0.299 * red + 0.587 * green + 0.114 * blue) / 255
        np.testing.assert_allclose(gray.numpy(), expected, atol=1e-12)


def test_patches_are_pieces_of_the_photos_and_can_be_undone(generator: torch.Generator) -> None:
    patches = photo_patches(40, 5, generator=generator, dtype=torch.float64)
    both = photos(dtype=torch.float64)
    windows = torch.cat([photo.unfold(0, 5, 1).unfold(1, 5, 1).reshape(-1, 25) for photo in both])
    nearest = torch.cdist(patches.pixels(), windows, compute_mode="donot_use_mm_for_euclid_dist").amin(1)
    assert nearest.max() < 1e-12


def test_unwhitened_patches_have_no_mean_and_depend_on_the_generator_alone() -> None:
    def draw(seed: int) -> PhotoPatches:
        seeded = torch.Generator().manual_seed(seed)
        return photo_patches(200, 8, generator=seeded, whiten=False, dtype=torch.float64)

    patches = draw(0)
    assert patches.value.mean(1).abs().max() < 1e-14
    assert torch.equal(patches.pixels(), patches.value + patches.brightness)
    assert torch.equal(patches.value, draw(0).value) and not torch.equal(patches.value, draw(1).value)


@pytest.mark.parametrize("eps", [1e-3, 0.1, 2.0])
def test_whitened_patches_have_the_covariance_of_the_formula(generator: torch.Generator, eps: float) -> None:
    raw = photo_patches(500, 6, generator=generator, whiten=False, dtype=torch.float64).value
    variances, directions = np.linalg.eigh(np.cov(raw.numpy().T))
    expected = directions @ np.diag(variances / (variances + eps * variances.mean())) @ directions.T
    patches = photo_patches(500, 6, generator=generator.manual_seed(0), eps=eps, dtype=torch.float64)
    np.testing.assert_allclose(np.cov(patches.value.numpy().T), expected, atol=1e-10)


@pytest.mark.parametrize("kind", ["zca", "pca"])
def test_whitening_is_what_its_kind_promises(generator: torch.Generator, kind) -> None:
    x = 5 + torch.randn(300, 4, generator=generator).double() * torch.tensor([9.0, 4.0, 1.0, 0.1])
    whitening = Whitening.fit(x, eps=1e-13, kind=kind)
    white = whitening.apply(x)
    torch.testing.assert_close(white.T.cov(), torch.eye(4, dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(whitening.undo(white), x, atol=1e-10, rtol=0)
    if kind == "zca":  # the one whitening whose matrix is symmetric and positive
        assert torch.allclose(whitening.matrix, whitening.matrix.T)
        assert torch.linalg.eigvalsh(whitening.matrix).min() > 0
    else:  # the first coordinate is the direction that varied most
        assert whitening.matrix[0].abs().argmax() == 0 and whitening.matrix[3].abs().argmax() == 3


def test_whitening_keeps_the_dtype_and_the_scale_does_not_matter(generator: torch.Generator) -> None:
    x = torch.randn(100, 3, generator=generator)
    assert Whitening.fit(x).apply(x).dtype == torch.float32
    torch.testing.assert_close(Whitening.fit(1000 * x).apply(1000 * x), Whitening.fit(x).apply(x))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Whitening.fit(torch.randn(1, 3)), r"at least two rows, got shape \(1, 3\)"),
        (lambda: Whitening.fit(torch.randn(4)), r"got shape \(4,\)"),
        (lambda: Whitening.fit(torch.ones(4, 3)), "rows of data are all equal"),
        (lambda: Whitening.fit(torch.full((4, 3), math.nan)), "hold NaN or infinity"),
        (lambda: Whitening.fit(torch.eye(3), eps=0.0), "eps must be positive"),
        (lambda: Whitening.fit(torch.eye(3), kind="lda"), 'kind must be "zca" or "pca", got \'lda\''),
        (lambda: photo_patches(0), "n must be at least 2, got 0"),
        (lambda: photo_patches(5, 428), "size must be between 2 and 427, got 428"),
    ],
)
def test_bad_input_to_whitening_and_patches_is_explained(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# --- toy sets --------------------------------------------------------------------------------------------
TOYS = [two_moons, ring, spiral, pinwheel, eight_gaussians]


@pytest.mark.parametrize("toy", TOYS)
def test_toy_sets_have_their_shape_dtype_and_randomness(toy) -> None:
    seeds = [torch.Generator().manual_seed(seed) for seed in (0, 0, 1)]
    first, same, other = (toy(50, generator=g, dtype=torch.float64) for g in seeds)
    assert first.shape == (50, 2) and first.dtype == torch.float64
    assert torch.equal(first, same) and not torch.equal(first, other)
    assert toy(0).shape == (0, 2) and toy(3).dtype == torch.get_default_dtype()


@pytest.mark.parametrize("toy", TOYS)
def test_a_negative_count_is_refused(toy) -> None:
    with pytest.raises(ValueError, match="n must be at least 0, got -1"):
        toy(-1)


def test_bad_shapes_of_toy_sets_are_refused() -> None:
    with pytest.raises(ValueError, match="noise is a standard deviation and must be at least 0, got -1"):
        two_moons(5, noise=-1)
    for toy in (ring, eight_gaussians):
        with pytest.raises(ValueError, match="radius must be at least 0"):
            toy(5, radius=-2.0)
    for toy in (spiral, pinwheel):
        with pytest.raises(ValueError, match="arms must be at least 1, got 0"):
            toy(5, arms=0)
    with pytest.raises(ValueError, match="turns must be positive"):
        spiral(5, turns=0.0)
    with pytest.raises(ValueError, match="radial and tangential must be at least 0"):
        pinwheel(5, radial=-0.1)


def test_two_moons_lie_on_the_curves_of_scikit_learn(generator: torch.Generator) -> None:
    points = two_moons(2000, noise=0.0, generator=generator, dtype=torch.float64)
    curve = torch.from_numpy(make_moons(20_000, shuffle=False, random_state=0)[0])
    assert torch.cdist(points, curve).amin(1).max() < math.pi / 10_000  # half a gap of the curve's own points
    lower = points[:, 1] < -1e-9
    assert abs(lower.double().mean().item() - 1 / 3) < 4 * math.sqrt(2 / 9 / 2000)  # 2/3 of one moon of two


def test_ring_and_spiral_satisfy_their_equations(generator: torch.Generator) -> None:
    circle = ring(500, radius=3.0, noise=0.0, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(circle.norm(dim=1), torch.full((500,), 3.0, dtype=torch.float64))
    arm = spiral(4000, turns=2.0, arms=3, noise=0.0, generator=generator, dtype=torch.float64)
    t = arm.norm(dim=1)
    turn = torch.atan2(arm[:, 1], arm[:, 0]) / (2 * math.pi) - 2.0 * t  # = a / 3 + an integer
    assert (3 * turn - (3 * turn).round()).abs().max() < 1e-9
    counts = (3 * turn).round().long().remainder(3).bincount(minlength=3).double()
    assert (counts - 4000 / 3).abs().max() < 4 * math.sqrt(4000 * 2 / 9)
    assert abs((t**2).mean().item() - 0.5) < 4 * math.sqrt(1 / 12 / 4000)  # t² is uniform


def test_noise_has_the_standard_deviation_asked_for(generator: torch.Generator) -> None:
    n, sigma = 20_000, 0.3
    points = ring(n, radius=0.0, noise=sigma, generator=generator, dtype=torch.float64)  # noise alone
    standard_error = sigma**2 * math.sqrt(2 / n)
    assert ((points**2).mean(0) - sigma**2).abs().max() < 4 * standard_error
    assert (points.prod(1).mean()).abs() < 4 * sigma**2 / math.sqrt(n)


def test_eight_gaussians_sit_where_they_should_with_equal_weight(generator: torch.Generator) -> None:
    n = 8000
    points = eight_gaussians(n, radius=2.0, noise=0.1, generator=generator, dtype=torch.float64)
    angle = torch.arange(8, dtype=torch.float64) * math.pi / 4
    centers = 2 * torch.stack([angle.cos(), angle.sin()], 1)
    nearest = torch.cdist(points, centers).argmin(1)
    assert (nearest.bincount(minlength=8) - n / 8).abs().max() < 4 * math.sqrt(n * 7 / 64)
    means = torch.stack([points[nearest == k].mean(0) for k in range(8)])
    assert (means - centers).abs().max() < 4 * 0.1 / math.sqrt(800)


def test_pinwheel_unbent_is_gaussian_blades(generator: torch.Generator) -> None:
    def radius_and_offset(points: Tensor, rate: float) -> tuple[Tensor, Tensor]:
        """Undo a turn of rate * exp(r), with the radius standing in for r: exact for blades without width."""
        radius = points.norm(dim=1)
        angle = torch.atan2(points[:, 1], points[:, 0]) - rate * radius.exp()
        return radius, angle * 5 / (2 * math.pi)

    points = pinwheel(3000, radial=0.1, tangential=0.0, rate=0.7, generator=generator, dtype=torch.float64)
    radius, blade = radius_and_offset(points, 0.7)
    assert (blade - blade.round()).abs().max() < 1e-9
    assert set(blade.round().long().remainder(5).tolist()) == set(range(5))
    assert abs(radius.mean().item() - 1) < 4 * 0.1 / math.sqrt(3000)
    straight = {"arms": 1, "radial": 0.0, "rate": 0.0}
    wide = pinwheel(3000, tangential=0.2, generator=generator, dtype=torch.float64, **straight)
    assert torch.equal(wide[:, 0], torch.ones(3000, dtype=torch.float64))
    assert abs(wide[:, 1].std().item() - 0.2) < 4 * 0.2 / math.sqrt(6000)


# --- where data lie --------------------------------------------------------------------------------------
def test_ebm_data_comes_before_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("EBM_DATA", raising=False)
    assert data_folders() == (tmp_path / "cache" / "ebm",)
    monkeypatch.setenv("EBM_DATA", str(tmp_path / "mine"))
    assert data_folders() == (tmp_path / "mine", tmp_path / "cache" / "ebm")
    for root in data_folders():
        (root / "set").mkdir(parents=True)
        (root / "set" / "a").touch()
    assert find_data("set", ["a"]) == tmp_path / "mine" / "set"
    (tmp_path / "cache" / "ebm" / "set" / "b.gz").touch()
    assert find_data("set", ["a", "b"]) == tmp_path / "cache" / "ebm" / "set"  # the first that has all
    assert find_data("set", ["a", "c"]) is None


def test_the_cache_is_in_the_home_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EBM_DATA", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_folders() == (tmp_path / ".cache" / "ebm",)


# --- Fashion-MNIST ---------------------------------------------------------------------------------------
HAVE_FASHION = find_data(fashion.NAME, list(fashion.CHECKSUMS)) is not None


@pytest.mark.skipif(not HAVE_FASHION, reason="no Fashion-MNIST in $EBM_DATA or in the cache")
def test_fashion_mnist_is_the_published_set() -> None:
    test = fashion_mnist("test", dtype=torch.float64)
    assert test.images.shape == (10_000, 28, 28) and test.labels.bincount().tolist() == [1000] * 10
    assert test.images.min() == 0 and test.images.max() == 1
    train = fashion_mnist("train", dtype=torch.float64)
    assert train.images.shape == (60_000, 28, 28) and train.labels.bincount().tolist() == [6000] * 10
    assert abs(train.images.mean().item() - 0.28604) < 1e-5  # as widely published, like the next
    assert abs(train.images.std().item() - 0.35302) < 1e-5


def idx(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def small_set(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Four small IDX files, with the checksums of the package set to theirs."""
    rng = np.random.default_rng(0)
    files = {}
    for name in fashion.CHECKSUMS:
        count = 6 if name.startswith("train") else 3
        shape, top = ((count, 28, 28), 256) if "images" in name else ((count,), 10)
        files[name] = idx(rng.integers(0, top, shape, dtype=np.uint8))
    checksums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(fashion, "CHECKSUMS", checksums)
    return files


def write(folder: Path, files: dict[str, bytes], *, zipped: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / (f"{name}.gz" if zipped else name)
        path.write_bytes(gzip.compress(content) if zipped else content)
    return folder


@pytest.mark.parametrize("zipped", [True, False])
def test_idx_files_are_read_zipped_or_not(tmp_path: Path, small_set: dict[str, bytes], zipped: bool) -> None:
    folder = write(tmp_path, small_set, zipped=zipped)
    images, labels = fashion_mnist("train", folder=folder, dtype=torch.float64)
    pixels = np.frombuffer(small_set["train-images-idx3-ubyte"][16:], np.uint8).reshape(6, 28, 28)
    np.testing.assert_array_equal(images.numpy(), pixels / 255)
    assert labels.tolist() == list(small_set["train-labels-idx1-ubyte"][8:]) and labels.dtype == torch.int64


def test_the_set_is_found_through_ebm_data(
    tmp_path: Path, small_set: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / fashion.NAME, small_set)
    monkeypatch.setenv("EBM_DATA", str(tmp_path))
    assert len(fashion_mnist("test").images) == 3


def test_a_missing_set_says_where_it_was_looked_for_and_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EBM_DATA", str(tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(FileNotFoundError) as caught:
        fashion_mnist()
    message = str(caught.value)
    assert str(tmp_path / "mine" / "fashion-mnist") in message
    assert str(tmp_path / "cache" / "ebm" / "fashion-mnist") in message
    assert "EBM_DATA" in message and "download_fashion_mnist(" in message


def test_a_file_that_is_not_the_published_one_is_refused(tmp_path: Path, small_set: dict[str, bytes]) -> None:
    name = "t10k-labels-idx1-ubyte"
    changed = small_set[name][:-1] + bytes(((small_set[name][-1] + 1) % 10,))  # one label of one image
    folder = write(tmp_path, {**small_set, name: changed})
    with pytest.raises(ValueError, match=rf"{name}\.gz is not the published {name}: SHA-256 .* expected"):
        fashion_mnist("test", folder=folder)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda packed: packed[: len(packed) // 2], id="cut short"),
        pytest.param(lambda packed: b"<html>not found</html>", id="no gzip"),
        pytest.param(lambda packed: b"", id="empty"),
        pytest.param(lambda packed: packed[:40] + bytes(20) + packed[60:], id="overwritten"),
    ],
)
def test_a_damaged_gzip_is_refused(tmp_path: Path, small_set: dict[str, bytes], damage) -> None:
    path = write(tmp_path, small_set) / "train-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"train-images-.*(no whole gzip file|is not the published)"):
        fashion_mnist("train", folder=tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "starts with nothing, expected 00 00 08 01"),
        (bytes((0, 0, 8)), "starts with 00 00 08, expected 00 00 08 01"),
        (idx(np.zeros((3, 2), np.uint8)), "starts with 00 00 08 02"),
        (bytes((0, 0, 13, 1)) + struct.pack(">I", 3) + bytes(12), "starts with 00 00 0d 01"),
        (idx(np.zeros(3, np.uint8))[:-1], r"promises \(3,\) values and holds 2"),
        (idx(np.zeros(3, np.uint8)) + bytes(5), r"promises \(3,\) values and holds 8"),
    ],
)
def test_bytes_that_are_no_idx_file_are_refused(
    tmp_path: Path, small_set: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, content: bytes, message: str
) -> None:
    name = "t10k-labels-idx1-ubyte"
    monkeypatch.setitem(fashion.CHECKSUMS, name, hashlib.sha256(content).hexdigest())  # past the first guard
    folder = write(tmp_path, {**small_set, name: content})
    with pytest.raises(ValueError, match=message):
        fashion_mnist("test", folder=folder)


def test_a_download_is_checked_kept_and_not_repeated(
    tmp_path: Path, small_set: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = write(tmp_path / "mirror", small_set)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("EBM_DATA", raising=False)
    place = download_fashion_mnist(mirror.as_uri() + "/")
    assert place == tmp_path / "cache" / "ebm" / "fashion-mnist"
    assert sorted(path.name for path in place.iterdir()) == sorted(f"{name}.gz" for name in small_set)
    assert len(fashion_mnist("train").images) == 6
    for path in mirror.iterdir():
        path.unlink()
    assert download_fashion_mnist(mirror.as_uri()) == place  # nothing left to fetch


def test_a_bad_download_leaves_nothing_behind(tmp_path: Path, small_set: dict[str, bytes]) -> None:
    mirror = write(tmp_path / "mirror", {name: content + b"!" for name, content in small_set.items()})
    with pytest.raises(ValueError, match=r"file:.*train-images-idx3-ubyte\.gz is not the published"):
        download_fashion_mnist(mirror.as_uri(), folder=tmp_path / "here")
    assert list((tmp_path / "here").iterdir()) == []


def test_an_unreachable_mirror_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"train-images-idx3-ubyte"):
        download_fashion_mnist((tmp_path / "nothing").as_uri(), folder=tmp_path / "here")
