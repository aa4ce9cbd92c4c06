"""Text as numbers: characters, and a text that every Python brings along.

    "to be"  ->  [4, 3, 0, 1, 2]        each character its place in the alphabet of the text

The text is Python's own reference, as `help()` shows it: some 400,000 characters of technical English.
"""

from __future__ import annotations

import torch
from torch import Tensor

try:
    from pydoc_data import topics as reference
except ImportError:  # a Python cut down to its minimum
    reference = None  # type: ignore[assignment]


class Characters:
    """The alphabet of a text: every character that occurs in it, in their order, and a mask after them.

    Attributes:
        alphabet: the characters, one string.
        mask: the symbol that stands for no character, len(alphabet); there are mask + 1 symbols.

    Args:
        text: from which the alphabet is taken.

    Raises:
        ValueError: if the text is empty; from `encode`, for a character that is not in the alphabet.

    Example:
        >>> letters = Characters("to be")
        >>> letters.encode("to be"), letters.mask
        (tensor([4, 3, 0, 1, 2]), 5)
        >>> letters.decode(torch.tensor([1, 2, 5]))
        'be▢'
    """

    def __init__(self, text: str):
        if not text:
            raise ValueError("an empty text has no alphabet.")
        self.alphabet = "".join(sorted(set(text)))
        self.mask = len(self.alphabet)

    def encode(self, text: str) -> Tensor:
        """The text as symbols, (n,) int64."""
        place = {character: number for number, character in enumerate(self.alphabet)}
        unknown = sorted(set(text) - set(place))
        if unknown:
            raise ValueError(f"not in the alphabet: {''.join(unknown)!r}; it has {self.alphabet!r}.")
        return torch.tensor([place[character] for character in text], dtype=torch.int64)

    def decode(self, symbols: Tensor) -> str:
        """Symbols (n,) as text, the mask as ▢."""
        return "".join((self.alphabet + "▢")[symbol] for symbol in symbols.tolist())


def windows(symbols: Tensor, length: int) -> Tensor:
    """A text cut into pieces, (n,) -> (n // length, length); a shorter rest is left out.

    Raises:
        ValueError: if the text is shorter than a piece.

    Example:
        >>> windows(torch.arange(5), 2)
        tensor([[0, 1],
                [2, 3]])
    """
    if not 1 <= length <= len(symbols):
        raise ValueError(f"pieces have 1 to {len(symbols)} symbols, as many as there are; got {length}.")
    return symbols[: len(symbols) // length * length].view(-1, length)


def python_reference() -> str:
    """The topics of Python's `help()`, in alphabetical order, in small letters, blanks and line ends as one.

    Raises:
        ImportError: if this Python came without its reference (`pydoc_data`).

    Example:
        >>> len(python_reference()) > 300_000
        True
    """
    if reference is None:
        raise ImportError("this Python has no `pydoc_data`, the text of help(); any other long text will do.")
    topics = reference.topics
    text = " ".join(topics[name] for name in sorted(topics)).lower()
    return " ".join("".join(c if c.isascii() else " " for c in text).split())
