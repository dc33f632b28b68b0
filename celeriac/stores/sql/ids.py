"""Ids and keys as an index holds them.

Workflow ids, start keys and message keys may be 1,000 characters long, which is more than any database
indexes. What is compared is therefore their *index form*: short ones as they are, long ones as a digest.
"""

from __future__ import annotations

import hashlib
from typing import Final

MAX_CHARACTERS: Final = 1_000
MAX_NAME: Final = 255
"""Characters in what is indexed as it stands: run ids, namespaces."""
_SHORT: Final = 64


def index_form(text: str) -> str:
    """Return a text of at most 65 characters that stands for ``text`` and for no other.

    A digest is one character longer than any text that stands for itself, so the two never meet. A text that ends in a
    blank gets a digest too, because MySQL's comparisons overlook trailing blanks, and so does one that no database could
    hold: it is looked for, and not found.
    """
    if len(text) <= _SHORT and text.isprintable() and not text.endswith(" "):
        return text
    return "#" + hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def check_id(what: str, text: str, limit: int = MAX_CHARACTERS) -> str:
    """Return ``text`` if every database can hold it as an id.

    :param what: what it is, for the message.
    :param limit: how many characters it may have.
    :raises ValueError: too long, a NUL character, or half of a surrogate pair.
    """
    if len(text) > limit:
        raise ValueError(f"{what} has {len(text)} characters, more than the {limit:,} that fit: {text[:40]!r}...")
    if "\0" in text:
        raise ValueError(f"{what} {text!r} has a NUL character, which databases can't hold; leave it out")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{what} {text!r} has half of a surrogate pair, which is no character") from None
    return text
