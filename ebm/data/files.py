"""Files of published data sets: fetched from a mirror, checked by their SHA-256, kept whole or not at all.

A checksum is that of the unzipped bytes: it does not matter who gzipped a file, or whether anyone did.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tempfile
import urllib.request
import zlib
from http.client import HTTPException
from pathlib import Path

from ebm.data.location import data_folders, stored


def read(
    file: str, checksum: str, place: Path | None, *, title: str, name: str, download: str
) -> tuple[bytes, Path]:
    """The checked bytes of a file that lies in a folder as it is or gzipped.

    Args:
        file: its name, without `.gz`.
        checksum: the SHA-256 that its bytes should have.
        place: the folder; None if it was looked for and not found.
        title: of the data set, for messages.
        name: of the data set's folder, for messages.
        download: the function of `ebm.data` that fetches the set, for messages.

    Returns:
        The bytes, unzipped, and the path they came from.

    Raises:
        FileNotFoundError: if there is no such file; it says where it was looked for and how to get it.
        ValueError: if it is damaged, or not the one that was published.
    """
    path = stored(place, file) if place is not None else None
    if path is None:
        looked = [place] if place is not None else [root / name for root in data_folders()]
        raise FileNotFoundError(
            f"{title}: no {file}(.gz) in {' or in '.join(map(str, looked))}. "
            f"Set EBM_DATA to the folder that holds {name}/, or fetch the files from a mirror you trust: "
            f'ebm.data.{download}("https://HOST/PATH")'
        )
    raw = path.read_bytes()
    content = unzip(raw, str(path)) if path.suffix == ".gz" else raw
    return verified(file, content, checksum, str(path)), path


def fetch(url: str, timeout: float) -> bytes:
    """What lies at an address.

    Raises:
        OSError: if it can't be fetched, or not wholly.
    """
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            content: bytes = answer.read()
            return content
    except HTTPException as error:  # an answer that was cut off is no OSError by itself
        raise OSError(f"{url} could not be fetched wholly ({error!r}); try again.") from error


def unzip(packed: bytes, source: str) -> bytes:
    """The content of a gzip file.

    Raises:
        ValueError: if it is damaged, naming the source.
    """
    try:
        return gzip.decompress(packed)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{source} is no whole gzip file ({error}): delete it, fetch it again") from error


def verified(file: str, content: bytes, checksum: str, source: str) -> bytes:
    """The content, if it has the checksum.

    Raises:
        ValueError: if it has another one.

    Example:
        >>> empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        >>> verified("nothing", b"", empty, "a doctest")
        b''
    """
    found = hashlib.sha256(content).hexdigest()
    if found != checksum:
        raise ValueError(
            f"{source} is not the published {file}: SHA-256 of its {len(content):,} bytes is {found}, "
            f"expected {checksum}. Delete it and fetch it again."
        )
    return content


def keep(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, at any moment.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     keep(Path(folder) / "new", b"content")
        ...     [(each.name, each.read_bytes()) for each in Path(folder).iterdir()]
        [('new', b'content')]
    """
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as partial:
        try:
            partial.write(content)
            partial.flush()
            os.replace(partial.name, path)
        except BaseException:  # Ctrl-C, a full disk: nothing half written stays
            os.unlink(partial.name)
            raise
