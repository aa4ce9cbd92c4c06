"""CIFAR-10: its records against numpy, and files and archives that are missing, damaged or hostile."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from ebm.data import cifar10, download_cifar10, files, find_data

MODULE = sys.modules["ebm.data.cifar10"]  # the name `ebm.data.cifar10` is the function's
HAVE = find_data(MODULE.NAME, [*MODULE.TRAIN, *MODULE.TEST]) is not None


@pytest.mark.skipif(not HAVE, reason="no CIFAR-10 in $EBM_DATA or in the cache")
def test_cifar10_is_the_published_set() -> None:
    test, train = cifar10("test", dtype=torch.float64), cifar10("train", dtype=torch.float64)
    assert test.images.shape == (10_000, 3, 32, 32) and test.labels.bincount().tolist() == [1000] * 10
    assert train.images.shape == (50_000, 3, 32, 32) and train.labels.bincount().tolist() == [5000] * 10
    assert test.images.min() == 0 and test.images.max() == 1
    published = torch.tensor([0.4914, 0.4822, 0.4465], dtype=torch.float64)  # means, as widely quoted
    assert (train.images.mean((0, 2, 3)) - published).abs().max() < 1e-4


def of(*pairs: tuple[str, bytes]) -> bytes:
    """A tar archive, gzipped, of members by name; a content of b"->x" makes a link to x."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in pairs:
            member = tarfile.TarInfo(name)
            if content.startswith(b"->"):
                member.type, member.linkname = tarfile.SYMTYPE, content[2:].decode()
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Six files of a few records, with the checksums of the package set to theirs."""
    rng = np.random.default_rng(0)
    made = {}
    for number, file in enumerate((*MODULE.TRAIN, *MODULE.TEST), 2):
        labels = rng.integers(0, 10, (number, 1), dtype=np.uint8)
        made[file] = np.hstack([labels, rng.integers(0, 256, (number, 3072), dtype=np.uint8)]).tobytes()
    trust(monkeypatch, made)
    return made


def trust(monkeypatch: pytest.MonkeyPatch, contents: dict[str, bytes]) -> None:
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(MODULE, "CHECKSUMS", {**MODULE.CHECKSUMS, **sums})


def write(folder: Path, contents: dict[str, bytes], zipped: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}{'.gz' if zipped else ''}").write_bytes(
            gzip.compress(content) if zipped else content
        )
    return folder


def mirror(folder: Path, monkeypatch: pytest.MonkeyPatch, *pairs: tuple[str, bytes]) -> str:
    """A mirror with an archive of these members, which the package takes for the published one."""
    archive = of(*pairs)
    trust(monkeypatch, {MODULE.ARCHIVE: archive})
    return write(folder, {MODULE.ARCHIVE: archive}).as_uri()


def inside(contents: dict[str, bytes]) -> list[tuple[str, bytes]]:
    return [(f"cifar-10-batches-bin/{name}", content) for name, content in contents.items()]


@pytest.mark.parametrize("zipped", [True, False])
def test_records_are_read_zipped_or_not(tmp_path: Path, small: dict[str, bytes], zipped: bool) -> None:
    folder = write(tmp_path, small, zipped)
    train, test = cifar10(folder=folder, dtype=torch.float64), cifar10("test", folder=folder)
    records = np.frombuffer(b"".join(small[f"data_batch_{i}.bin"] for i in range(1, 6)), np.uint8)
    records = records.reshape(20, 3073)  # 2 + 3 + 4 + 5 + 6 of them
    assert train.labels.tolist() == records[:, 0].tolist() and train.labels.dtype == torch.int64
    for channel, row, column in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (2, 31, 31)]:
        byte = 1 + 1024 * channel + 32 * row + column
        np.testing.assert_array_equal(train.images[:, channel, row, column].numpy(), records[:, byte] / 255)
    assert train.images.shape == (20, 3, 32, 32) and test.images.shape == (7, 3, 32, 32)
    assert test.images.dtype == torch.get_default_dtype()
    assert train.images.min() >= 0 and train.images.max() == 1


def test_the_set_is_found_through_ebm_data(
    tmp_path: Path, small: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "cifar-10", small)
    monkeypatch.setenv("EBM_DATA", str(tmp_path))
    assert len(cifar10("test").images) == 7


def test_a_missing_set_says_where_it_was_looked_for_and_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EBM_DATA", str(tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(FileNotFoundError) as caught:
        cifar10()
    message = str(caught.value)
    assert str(tmp_path / "mine" / "cifar-10") in message
    assert str(tmp_path / "cache" / "ebm" / "cifar-10") in message
    assert "EBM_DATA" in message and "download_cifar10(" in message and "data_batch_1.bin" in message


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match='split must be "train" or "test", got \'valid\''):
        cifar10("valid")  # type: ignore[arg-type]


def test_a_file_with_one_byte_changed_is_refused(tmp_path: Path, small: dict[str, bytes]) -> None:
    changed = small["data_batch_3.bin"][:-1] + bytes((small["data_batch_3.bin"][-1] ^ 1,))
    folder = write(tmp_path, {**small, "data_batch_3.bin": changed})
    with pytest.raises(ValueError, match=r"is not the published data_batch_3\.bin: SHA-256 .* expected"):
        cifar10(folder=folder)
    assert len(cifar10("test", folder=folder).images) == 7  # the other split is whole


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds 0 bytes, no whole number of records of 3,073"),
        (bytes(3073 + 1), "holds 3,074 bytes"),
        (bytes(2 * 3073 - 1), "holds 6,145 bytes"),
        (bytes(3073) + bytes((10,)) + bytes(3072), "a record of class 10, and classes are 0 to 9"),
    ],
)
def test_bytes_that_are_no_records_are_refused(
    tmp_path: Path, small: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, content: bytes, message: str
) -> None:
    trust(monkeypatch, {"test_batch.bin": content})  # past the first guard
    folder = write(tmp_path, {**small, "test_batch.bin": content})
    with pytest.raises(ValueError, match=message):
        cifar10("test", folder=folder)


def test_a_download_is_checked_kept_and_not_repeated(
    tmp_path: Path, small: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = mirror(tmp_path / "mirror", monkeypatch, *inside(small))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("EBM_DATA", raising=False)
    place = download_cifar10(url + "/")
    assert place == tmp_path / "cache" / "ebm" / "cifar-10"
    assert {path.name: path.read_bytes() for path in place.iterdir()} == small
    assert len(cifar10().images) == 20
    (tmp_path / "mirror" / MODULE.ARCHIVE).unlink()
    assert download_cifar10(url) == place  # nothing left to fetch


def test_members_that_lead_elsewhere_are_left_alone(
    tmp_path: Path, small: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = [("../evil", b"x"), ("cifar-10-batches-bin/../../evil", b"x"), (str(tmp_path / "evil"), b"x")]
    url = mirror(tmp_path / "mirror", monkeypatch, *hostile, *inside(small))
    place = download_cifar10(url, folder=tmp_path / "a" / "here")
    assert sorted(path.name for path in place.iterdir()) == sorted(small)
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda members: members[1:], "no archive of the six files"),
        (
            lambda members: [(members[0][0], b"->../../secret"), *members[1:]],
            "data_batch_1.bin is no regular",
        ),
        (lambda members: [(members[0][0], members[1][1]), *members[1:]], "is not the published data_batch_1"),
    ],
    ids=["a file missing", "a link", "another file"],
)
def test_an_archive_of_other_files_leaves_nothing_behind(
    tmp_path: Path, small: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, spoil, message: str
) -> None:
    url = mirror(tmp_path / "mirror", monkeypatch, *spoil(inside(small)))
    with pytest.raises(ValueError, match=message):
        download_cifar10(url, folder=tmp_path / "here")
    assert not list(tmp_path.glob("here/*"))


def test_an_archive_that_is_not_the_published_one_is_refused(tmp_path: Path, small: dict[str, bytes]) -> None:
    folder = write(tmp_path / "mirror", {MODULE.ARCHIVE: of(*inside(small))})  # its checksum isn't trusted
    with pytest.raises(ValueError, match=r"file:.*tar\.gz is not the published cifar-10-binary\.tar\.gz"):
        download_cifar10(folder.as_uri(), folder=tmp_path / "here")
    assert not list(tmp_path.glob("here/*"))


class CutOff(io.BytesIO):
    """An answer that ends too early, as http.client tells it."""

    def read(self, *_: object) -> bytes:
        raise http.client.IncompleteRead(b"half")


def test_a_download_that_is_cut_off_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.urllib.request, "urlopen", lambda url, timeout: CutOff())
    with pytest.raises(OSError, match=r"https://mirror/cifar-10-binary\.tar\.gz could not be fetched wholly"):
        download_cifar10("https://mirror", folder=tmp_path / "here")
    assert not list(tmp_path.glob("here/*"))


def test_what_is_interrupted_while_it_is_written_is_not_there(
    tmp_path: Path, small: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = mirror(tmp_path / "mirror", monkeypatch, *inside(small))
    replaced = []

    def interrupted(source: str, target: Path) -> None:
        replaced.append(Path(source).read_bytes())
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            download_cifar10(url, folder=tmp_path / "here")
    assert replaced == [small["data_batch_1.bin"]]  # all of it was written beside its place ...
    assert list((tmp_path / "here").iterdir()) == []  # ... and taken away
    assert len(cifar10(folder=download_cifar10(url, folder=tmp_path / "here")).images) == 20
