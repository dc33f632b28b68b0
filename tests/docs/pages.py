"""The Markdown of the project: its pages, their code, their links, their headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"

_FENCE: Final = re.compile(r"^( *)(`{3,}|~{3,})([^\n`]*)\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)
_CELL: Final = re.compile(r"^\| *`([^`|]+)`", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    :param info: the words behind the fence, the language first.
    :param line: the number of its first line of text, from 1.
    """

    page: Path
    info: tuple[str, ...]
    text: str
    line: int

    @property
    def language(self) -> str:
        """What it is written in."""
        return self.info[0] if self.info else ""


def pages() -> list[Path]:
    """Return all Markdown files of the project that people read."""
    found = [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
    return sorted(found)


def name(page: Path) -> str:
    """Return a page's path as one types it."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[Block]:
    """Return a page's blocks in one language, in order."""
    text = page.read_text()
    found = [
        Block(page, tuple(each[3].split()), each[4], text.count("\n", 0, each.start(4)) + 1)
        for each in _FENCE.finditer(text)
    ]
    return [each for each in found if each.language == language]


def links(page: Path) -> Iterator[str]:
    """Yield the targets of a page's links that lead to files or headings."""
    for target in _LINK.findall(_FENCE.sub("", page.read_text())):
        if "://" not in target and not target.startswith("mailto:"):
            yield target


def anchors(page: Path) -> set[str]:
    """Return the names by which a page's headings are linked to."""
    headings = _HEADING.findall(_FENCE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", each.lower().replace("`", "")).replace(" ", "-") for each in headings}


def first_cells(page: Path, heading: str | None = None) -> list[str]:
    """Return the code in the first column of a page's tables, of the section below a heading where one is named."""
    text = page.read_text()
    if heading is not None:
        level = heading.partition(" ")[0]
        _, _, text = text.partition(f"\n{heading}\n")
        assert text, f"{name(page)} has no heading {heading!r}"
        text = re.split(rf"^#{{1,{len(level)}}} ", text, maxsplit=1, flags=re.MULTILINE)[0]
    return _CELL.findall(text)
