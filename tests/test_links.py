"""The documents lead where they say, to each other and to the tests that they name."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import pytest
from documents import DOCUMENTS, PROJECT, anchors, headings, links, section, text_of

GUARANTEES = "docs/guarantees.md"
LIMIT = "**Limit:** "
PROOF = re.compile(
    r"^- Proved (in what both share|for Singer|for Airbyte):\n((?:  .*\n?)+)", re.MULTILINE
)
LINKED = re.compile(r"\[`(test_\w+)`\]\(\.\./tests/([\w/]+\.py)\)")
PROVES_BOTH = {"test_faults.py"}
"""Files of tests that run through each protocol."""


def lead_to(document: str, target: str) -> tuple[str, str]:
    """The path from the project's root, and the anchor, of a link within the project."""
    path, _, anchor = target.partition("#")
    if not path:
        return document, anchor
    parts: list[str] = []
    for part in (PurePosixPath(document).parent / path).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts), anchor


def links_within(document: str) -> list[tuple[str, str]]:
    targets = (target for _, target in links(document))
    return [lead_to(document, target) for target in targets if "://" not in target]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_within_the_project_lead_somewhere(document: str) -> None:
    for path, anchor in links_within(document):
        assert (PROJECT / path).exists(), f"{document} links to {path}"
        if anchor:
            assert anchor in anchors(path), f"{document} links to {path}#{anchor}"


def test_each_document_is_found_from_the_readme() -> None:
    found, new = set(), {"README.md"}
    while new:
        found |= new
        new = {path for document in new for path, _ in links_within(document)} & {*DOCUMENTS}
        new -= found

    assert found == {*DOCUMENTS}


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if name.startswith("docs/")])
def test_each_document_begins_with_whom_it_is_for(document: str) -> None:
    title, _, first = text_of(document).partition("\n\n")

    assert title.startswith("# ")
    assert re.search(r"\b[Ff]or (who|you) ", first.partition("\n\n")[0])


def test_the_readme_is_read_in_five_minutes() -> None:
    assert len(text_of("README.md").splitlines()) <= 180


def test_the_readme_names_ten_promises_and_leads_to_each() -> None:
    promises = [line for line in section("README.md", "What it promises").splitlines() if line]

    assert len(promises) == 10
    for line in promises:
        assert re.search(r"\]\(docs/guarantees\.md#[\w-]+\)", line)


def proofs(promise: str) -> dict[str, list[tuple[str, str]]]:
    """The tests that a promise names, each with its file, by what they prove it for."""
    text = section(GUARANTEES, promise)
    return {
        proved: [(file, test) for test, file in LINKED.findall(tests)]
        for proved, tests in PROOF.findall(text)
    }


@pytest.mark.parametrize("promise", headings(GUARANTEES)[1:])
def test_each_promise_has_its_limit_and_its_tests(promise: str) -> None:
    assert section(GUARANTEES, promise).count(LIMIT) == 1
    by_protocol = proofs(promise)
    assert by_protocol.keys() in ({"in what both share"}, {"for Singer", "for Airbyte"})
    assert all(by_protocol.values())
    for file, _ in by_protocol.get("for Airbyte", ()):
        assert file in PROVES_BOTH or file.startswith("airbyte/")
    for file, _ in by_protocol.get("for Singer", ()):
        assert not file.startswith("airbyte/")


def test_promises_are_many() -> None:
    assert len(headings(GUARANTEES)) > 20


@pytest.mark.parametrize("document", DOCUMENTS)
def test_tests_that_are_named_exist(document: str) -> None:
    named = [
        (target, text)
        for text, target in links(document)
        if re.fullmatch(r"test_\w+", text) and "://" not in target
    ]

    assert len(named) == len(re.findall(r"`test_\w+`", text_of(document)))
    for target, test in named:
        path, _ = lead_to(document, target)
        assert f"def {test}(" in (PROJECT / path).read_text(encoding="utf-8")
