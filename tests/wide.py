"""Of what goes through very many cases the quick tests take a few; the rest is marked wide."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, groupby
from typing import Any

import pytest


def quick_first(number: int, values: Iterable[Any]) -> list[Any]:
    """Cases of which the first ones are quick: what chance drew, or what was ordered so."""
    return [
        value if position < number else pytest.param(value, marks=pytest.mark.wide)
        for position, value in enumerate(values)
    ]


def mark_crossings(items: Iterable[pytest.Item]) -> None:
    """Leave quick, of each test marked `crossing`, cases that meet each value of each parameter."""
    crossings = [item for item in items if item.get_closest_marker("crossing")]
    for _, group in groupby(crossings, lambda item: item.nodeid.partition("[")[0]):
        cases = list(group)
        quick = meeting_each([values_of(case) for case in cases])
        for number, case in enumerate(cases):
            if number not in quick:
                case.add_marker(pytest.mark.wide)


def values_of(case: pytest.Item) -> dict[str, str]:
    """What tells the values of a case's parameters from others."""
    # It has no public name.
    params: Mapping[str, object] = getattr(case, "callspec").params  # noqa: B009
    return {name: repr(value) for name, value in params.items()}


def meeting_each(cases: Sequence[Mapping[str, str]]) -> set[int]:
    """The numbers of few cases in which each value is met, and as many pairs of them as can be."""
    missing = {value for case in cases for value in case.items()}
    met: set[tuple[tuple[str, str], ...]] = set()

    def worth(number: int) -> tuple[int, int]:
        case = cases[number]
        return len(missing & case.items()), len({*combinations(case.items(), 2)} - met)

    chosen = set()
    while missing:
        best = max(range(len(cases)), key=worth)
        chosen.add(best)
        missing -= cases[best].items()
        met.update(combinations(cases[best].items(), 2))
    return chosen
