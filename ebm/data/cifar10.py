"""CIFAR-10 (Krizhevsky, 2009): 60,000 small color pictures, 32 x 32, of ten kinds of things.

The set's binary version is six files of 10,000 records each. A record is one byte, the class, and then 3,072
bytes: the red values of the picture row by row, then the green ones, then the blue ones. Each file, and the
archive in which they are published, is checked by its SHA-256.

Reference: Krizhevsky (2009), "Learning Multiple Layers of Features from Tiny Images", sect. 3.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from pathlib import Path

import torch
from torch import Tensor

from ebm.data.files import fetch, keep, read, verified
from ebm.data.labeled import LabeledImages, Split, check_split
from ebm.data.location import cache_folder, find_data, stored

NAME = "cifar-10"
ARCHIVE, INSIDE = "cifar-10-binary.tar.gz", "cifar-10-batches-bin"
CHECKSUMS = {  # SHA-256, of the archive as it is packed, of the files unzipped
    ARCHIVE: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
TRAIN, TEST = tuple(f"data_batch_{i}.bin" for i in range(1, 6)), ("test_batch.bin",)
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32  # bytes


def cifar10(
    split: Split = "train", *, folder: str | Path | None = None, dtype: torch.dtype | None = None
) -> LabeledImages:
    """Color pictures of animals and vehicles, read from files that are already there.

    Args:
        split: "train" (50,000 images) or "test" (10,000 images).
        folder: where the six files lie; if None, `cifar-10` in `$EBM_DATA` or in the user's cache.
        dtype: of the images; the default dtype if None.

    Returns:
        images (N, 3, 32, 32), red, green and blue in [0, 1], and labels (N,) into `CLASSES`.

    Raises:
        FileNotFoundError: if the files are nowhere; it says where they were looked for and how to get them.
        ValueError: if a file is damaged or is not the one that was published, or `split` is unknown.

    Example:
        >>> images, labels = cifar10("test")  # doctest: +SKIP
    """
    check_split(split)
    place = Path(folder) if folder is not None else find_data(NAME, [*TRAIN, *TEST])
    told = {"title": "CIFAR-10", "name": NAME, "download": "download_cifar10"}
    files = TRAIN if split == "train" else TEST
    records = torch.cat([_parse(*read(file, CHECKSUMS[file], place, **told)) for file in files])
    images = records[:, 1:].to(dtype or torch.get_default_dtype()).div_(255)
    return LabeledImages(images.view(-1, *SHAPE), records[:, 0].to(torch.int64))


def download_cifar10(base_url: str, *, folder: str | Path | None = None, timeout: float = 60.0) -> Path:
    """Fetch the archive of the binary version (162 MiB) from a mirror of your choice, check and unpack it.

    Only the six files are taken out of the archive, each by its name; a file reaches its place only whole.
    Nothing is fetched if all of them are there already.

    Args:
        base_url: what stands before the archive's name, such as "https://HOST/cifar".
        folder: where to put the files; if None, `cifar-10` in the user's cache.
        timeout: seconds without an answer after which to give up, positive.

    Returns:
        The folder.

    Raises:
        OSError: if the archive can't be fetched, or a file not be written.
        ValueError: if what came is not the published archive.

    Example:
        >>> download_cifar10("https://HOST/cifar")  # doctest: +SKIP
    """
    place = Path(folder) if folder is not None else cache_folder() / NAME
    missing = [file for file in (*TRAIN, *TEST) if stored(place, file) is None]
    if missing:
        url = f"{base_url.rstrip('/')}/{ARCHIVE}"
        content = _unpacked(verified(ARCHIVE, fetch(url, timeout), CHECKSUMS[ARCHIVE], url), missing, url)
        place.mkdir(parents=True, exist_ok=True)
        for file in missing:
            keep(place / file, content[file])
    return place


def _unpacked(archive: bytes, files: list[str], source: str) -> dict[str, bytes]:
    """These files of the archive, checked; what else is in it is not looked at, and nothing is written."""
    content = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as packed:
            for file in files:
                member = packed.getmember(f"{INSIDE}/{file}")
                opened = packed.extractfile(member) if member.isreg() else None
                if opened is None:
                    raise ValueError(f"{source}: {member.name} is no regular file; take another mirror.")
                content[file] = verified(file, opened.read(), CHECKSUMS[file], f"{source}: {member.name}")
    except (KeyError, OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise ValueError(
            f"{source} is no archive of the six files ({error}); take another mirror."
        ) from error
    return content


def _parse(content: bytes, path: Path) -> Tensor:
    """The records in a file, (N, 3073) uint8."""
    if not content or len(content) % RECORD:
        raise ValueError(
            f"{path} holds {len(content):,} bytes, no whole number of records of {RECORD:,}: cut short or "
            f"padded, or not the binary version."
        )
    records = torch.frombuffer(bytearray(content), dtype=torch.uint8).view(-1, RECORD)
    if (most := int(records[:, 0].max())) >= len(CLASSES):
        raise ValueError(f"{path} has a record of class {most}, and classes are 0 to {len(CLASSES) - 1}.")
    return records
