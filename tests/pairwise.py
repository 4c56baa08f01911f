"""Combinations of options in which each value of one meets each value of every other."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

CANDIDATES = 30
"""Drawn for each combination, of which the one that brings most is taken."""

Pair = frozenset[tuple[str, int]]


def pairwise(options: Mapping[str, Sequence[Any]], seed: int) -> list[dict[str, Any]]:
    """Few combinations of values by name, the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - chance, no secret
    missing = sorted(_all_pairs(options), key=sorted)
    found = []
    while missing:
        drawn = [_draw(options, missing[0], chance) for _ in range(CANDIDATES)]
        best = max(drawn, key=lambda choice: len(_pairs_of(choice).intersection(missing)))
        covered = _pairs_of(best)
        missing = [pair for pair in missing if pair not in covered]
        found.append({name: options[name][index] for name, index in best.items()})
    return found


def _draw(
    options: Mapping[str, Sequence[Any]], pair: Pair, chance: random.Random
) -> dict[str, int]:
    """A choice with the pair in it, of values by their number."""
    choice = {name: chance.randrange(len(values)) for name, values in options.items()}
    return {**choice, **dict(pair)}


def _pairs_of(choice: Mapping[str, int]) -> set[Pair]:
    return {frozenset(pair) for pair in combinations(choice.items(), 2)}


def _all_pairs(options: Mapping[str, Sequence[Any]]) -> set[Pair]:
    return {
        frozenset({(one, i), (other, j)})
        for one, other in combinations(options, 2)
        for i in range(len(options[one]))
        for j in range(len(options[other]))
    }
