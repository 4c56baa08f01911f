"""The few cases that quick tests take of a crossing meet everything that is crossed."""

from __future__ import annotations

from itertools import combinations, product

from wide import meeting_each

AXES = {"capability": 18, "written": 2, "way": 2, "status": 3}


def test_each_value_is_met_in_as_few_cases_as_can_be() -> None:
    crossed = product(*map(range, AXES.values()))
    cases = [dict(zip(AXES, map(str, values), strict=True)) for values in crossed]

    quick = meeting_each(cases)

    assert len(quick) == max(AXES.values())
    for one, other in combinations(AXES, 2):
        pairs = {(cases[number][one], cases[number][other]) for number in quick}
        assert len(pairs) == min(len(quick), AXES[one] * AXES[other])
