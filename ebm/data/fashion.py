"""Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017): 70,000 gray pictures of clothes, 28 x 28, in ten classes.

The set is four files in the IDX format: bytes 0, 0, type (8: unsigned byte), number of dimensions k; then k
big-endian 32-bit sizes; then the values. Each file is checked by the SHA-256 of its IDX bytes, so that it
does not matter who gzipped it, or whether anyone did.
"""

from __future__ import annotations

import struct
from pathlib import Path

import torch
from torch import Tensor

from ebm.data.files import fetch, keep, read, unzip, verified
from ebm.data.labeled import LabeledImages, Split, check_split
from ebm.data.location import cache_folder, find_data, stored

NAME = "fashion-mnist"
CHECKSUMS = {  # SHA-256 of the IDX bytes, unzipped
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
CLASSES = ("top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


def fashion_mnist(
    split: Split = "train", *, folder: str | Path | None = None, dtype: torch.dtype | None = None
) -> LabeledImages:
    """Pictures of clothes, read from files that are already there.

    Args:
        split: "train" (60,000 images) or "test" (10,000 images).
        folder: where the four files lie; if None, `fashion-mnist` in `$EBM_DATA` or in the user's cache.
        dtype: of the images; the default dtype if None.

    Returns:
        images (N, 28, 28) in [0, 1] and labels (N,) into `CLASSES`.

    Raises:
        FileNotFoundError: if the files are nowhere; it says where they were looked for and how to get them.
        ValueError: if a file is damaged or is not the one that was published, or `split` is unknown.

    Example:
        >>> images, labels = fashion_mnist("test")  # doctest: +SKIP
    """
    check_split(split)
    place = Path(folder) if folder is not None else find_data(NAME, list(CHECKSUMS))
    prefix = "train" if split == "train" else "t10k"
    images = _parse(*_read(place, f"{prefix}-images-idx3-ubyte"), sizes=3)
    labels = _parse(*_read(place, f"{prefix}-labels-idx1-ubyte"), sizes=1)
    wanted = dtype or torch.get_default_dtype()
    return LabeledImages(images.to(wanted) / 255, labels.to(torch.int64))


def download_fashion_mnist(base_url: str, *, folder: str | Path | None = None, timeout: float = 60.0) -> Path:
    """Fetch the four gzipped files from a mirror of your choice, check them, and keep them.

    A file reaches its place only whole and with the right checksum; files that are there already are kept.

    Args:
        base_url: what stands before the file's name, such as "https://HOST/fashion-mnist".
        folder: where to put them; if None, `fashion-mnist` in the user's cache.
        timeout: seconds without an answer after which to give up, positive.

    Returns:
        The folder.

    Raises:
        OSError: if a file can't be fetched or written.
        ValueError: if what came is not the published file.

    Example:
        >>> download_fashion_mnist("https://HOST/fashion-mnist")  # doctest: +SKIP
    """
    place = Path(folder) if folder is not None else cache_folder() / NAME
    place.mkdir(parents=True, exist_ok=True)
    for name in CHECKSUMS:
        if stored(place, name) is not None:
            continue
        url = f"{base_url.rstrip('/')}/{name}.gz"
        packed = fetch(url, timeout)
        verified(name, unzip(packed, url), CHECKSUMS[name], url)
        keep(place / f"{name}.gz", packed)
    return place


def _read(place: Path | None, name: str) -> tuple[bytes, Path]:
    """The checked IDX bytes of a file and the path they came from."""
    download = "download_fashion_mnist"
    return read(name, CHECKSUMS[name], place, title="Fashion-MNIST", name=NAME, download=download)


def _parse(content: bytes, path: Path, *, sizes: int) -> Tensor:
    """The array in the IDX bytes, uint8 with `sizes` dimensions."""
    start = 4 + 4 * sizes
    if len(content) < start or content[:4] != bytes((0, 0, 8, sizes)):
        raise ValueError(
            f"{path} is not an IDX file of unsigned bytes in {sizes} dimensions: it starts with "
            f"{content[:4].hex(' ') or 'nothing'}, expected {bytes((0, 0, 8, sizes)).hex(' ')}"
        )
    shape = struct.unpack(f">{sizes}I", content[4:start])
    values = torch.frombuffer(bytearray(content), dtype=torch.uint8)[start:]
    if values.numel() != torch.Size(shape).numel():
        raise ValueError(f"{path} promises {shape} values and holds {values.numel():,}: cut short or padded")
    return values.reshape(shape)
