"""The project's documents, read as what shows them reads Markdown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

PROJECT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    str(path.relative_to(PROJECT))
    for folder in ("*.md", "docs/*.md", "bench/*.md", "examples/*/*.md")
    for path in PROJECT.glob(folder)
)
"""Paths from the project's root."""


@dataclass(frozen=True)
class Block:
    """A block of code that a document shows."""

    document: str
    language: str
    text: str


@cache
def text_of(document: str) -> str:
    """What stands in the file."""
    return (PROJECT / document).read_text(encoding="utf-8")


def parsed(text: str) -> list[Token]:
    """Markdown with tables, in its parts."""
    return MarkdownIt("commonmark").enable("table").parse(text)


@cache
def _tokens(document: str) -> list[Token]:
    return parsed(text_of(document))


def blocks(document: str, language: str | None = None, containing: str = "") -> list[Block]:
    """The blocks of code, all or those in a language that have this text in them."""
    found = [
        Block(document, token.info, token.content)
        for token in _tokens(document)
        if token.type == "fence"
    ]
    return [
        block for block in found if language in {None, block.language} and containing in block.text
    ]


def block(document: str, language: str, containing: str = "") -> str:
    """The text of the only one."""
    (found,) = blocks(document, language, containing)
    return found.text


def headings(document: str) -> list[str]:
    """As they are written."""
    tokens = _tokens(document)
    return [inline.content for token, inline in pairwise(tokens) if token.type == "heading_open"]


def anchors(document: str) -> set[str]:
    """What a link into the document may name: its headings as GitHub writes them."""
    words = [re.sub(r"[^\w -]", "", heading.lower()) for heading in headings(document)]
    slugs = [text.replace(" ", "-") for text in words]
    again: Counter[str] = Counter()
    found = set()
    for slug in slugs:
        found.add(f"{slug}-{again[slug]}" if again[slug] else slug)
        again[slug] += 1
    return found


def section(document: str, title: str) -> str:
    """The text under a heading, up to the next one of its rank or a higher one."""
    text = text_of(document)
    (rank,) = re.findall(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    _, _, rest = text.partition(f"\n{rank} {title}\n")
    end = re.search(rf"^#{{1,{len(rank)}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def links(document: str) -> list[tuple[str, str]]:
    """The text and the target of each link and picture."""
    return [*links_in(_tokens(document))]


def links_in(tokens: Iterable[Token]) -> Iterator[tuple[str, str]]:
    """The same of what was parsed."""
    for token in tokens:
        for target in re.findall(r'(?:src|srcset|href)="([^"]+)"', _html(token)):
            yield "", target
        children = token.children or []
        for number, child in enumerate(children):
            if child.type == "link_open":
                following = (inner.content for inner in children[number + 1 :])
                yield next(following), str(child.attrs["href"])
            elif child.type == "image":
                yield child.content, str(child.attrs["src"])


def _html(token: Token) -> str:
    inline = (child.content for child in token.children or [] if child.type == "html_inline")
    return token.content if token.type == "html_block" else "".join(inline)
