"""Random portable models of every shape, and rows that come close to their thresholds."""

from __future__ import annotations

import math
import random
import struct
from array import array
from collections.abc import Sequence
from typing import Literal

from app.modelling.portable.binary_format import FORMAT
from app.modelling.portable.model import ALL, CATEGORY, LEAF, MISSING_RIGHT, Forest, Model, Precision, doubles
from app.modelling.portable.operations import (
    Arithmetic,
    Clip,
    Impute,
    Indicate,
    OneHot,
    Ordinal,
    Select,
    Step,
    widths,
)

ARITHMETIC: tuple[Literal["add", "subtract", "multiply", "divide"], ...] = (
    *("add", "subtract", "multiply", "divide"),
)
NODES = {"single": struct.Struct("<IIf"), "double": struct.Struct("<IId")}
WORDS = 2
NUMBERS = [0.0, -0.0, 1.0, -1.0, 2.0, 3.0, 0.1, 127.0, 128.0, 5e-324, 1e-45, 1.7e308, -1.7e308, 1e39, 1e300]
ODD = [*NUMBERS, math.nan, math.inf, -math.inf]


def random_model(chance: random.Random) -> Model:
    """Return a model: linear or of trees, with or without steps, of one score or several."""
    features, scores = chance.randint(1, 6), chance.choice((1, 1, 3))
    steps = tuple(random_steps(chance, features)) if chance.random() < 0.6 else ()
    width = widths(steps, features)[-1]
    linear = chance.random() < 0.3
    weights = doubles([chance.choice((0.0, chance.gauss(0, 1))) for _ in range(scores * width)])
    return Model(
        format=FORMAT,
        features=features,
        steps=steps,
        start=tuple(chance.choice((0.0, chance.gauss(0, 1))) for _ in range(scores)),
        coefficients=weights if linear else None,
        forest=None if linear else random_forest(chance, width, scores),
        divisor=chance.choice((1, 3, 100)),
        answer="index" if scores > 1 else "value",
    )


def random_steps(chance: random.Random, features: int) -> list[Step]:
    """Return a few steps, each for the row that the one before it gives."""
    steps: list[Step] = []
    for _ in range(chance.randint(1, 5)):
        width = widths(steps, features)[-1]
        columns = tuple(chance.sample(range(width), chance.randint(1, width)))
        chosen = chance.choice((columns, None))
        values = tuple(
            chance.choice((1.0, chance.gauss(0, 2))) for _ in (range(width) if chosen is None else columns)
        )
        codes = tuple(sorted({float(chance.randrange(8)) for _ in range(chance.randint(0, 5))}))
        known = tuple(chance.choice((None, float(chance.randrange(9)))) for _ in codes)
        other, missing = chance.choice((None, -1.0)), chance.choice((None, 0.5))
        kinds: list[Step] = [
            *(Arithmetic(each, chosen, values) for each in ARITHMETIC),
            Clip("clip", chosen, -2.5, 100.0),
            Impute("impute", chosen, values),
            Indicate("indicate", chosen),
            Ordinal("ordinal", columns[0], codes, known, other, missing),
            OneHot("one_hot", columns[0], (*codes, None) if chance.random() < 0.5 else codes),
            Select("select", tuple(chance.choices(range(width), k=chance.randint(1, 2 * width)))),
        ]
        steps.append(chance.choice(kinds))
    return steps


def random_forest(chance: random.Random, width: int, scores: int) -> Forest:
    """Return trees of random sizes, some of them chains, some with categories and missing values."""
    precision: Precision = chance.choice(("single", "double"))
    flags = chance.choice(((0,), (0, MISSING_RIGHT), (0, MISSING_RIGHT, CATEGORY, CATEGORY | MISSING_RIGHT)))
    bitsets = array("Q", [chance.getrandbits(64) for _ in range(3 * WORDS)] if CATEGORY in flags else [])
    sizes, outputs, nodes, leaves = array("I"), array("i"), bytearray(), array("d")
    for _ in range(chance.randint(1, 30)):
        outputs.append(chance.choice((ALL, *range(scores))))
        first = len(nodes) // NODES[precision].size
        for feature, child, threshold in random_tree(chance, width, flags, first):
            if feature == LEAF:
                child = len(leaves)
                leaves.extend(
                    chance.choice((0.0, chance.gauss(0, 1))) for _ in range(scores if outputs[-1] < 0 else 1)
                )
            nodes += NODES[precision].pack(feature, child, threshold)
        sizes.append(len(nodes) // NODES[precision].size - first)
    words = WORDS if bitsets else 0
    whole = (memoryview(sizes), memoryview(outputs), memoryview(nodes))
    return Forest(precision, *whole, doubles(leaves), memoryview(bitsets), words)


def random_tree(
    chance: random.Random, width: int, flags: Sequence[int], first: int
) -> list[tuple[int, int, float]]:
    """Return nodes breadth first: kind, left child and threshold; leaves have no place yet."""
    splits, waiting, deep = chance.choice((0, 1, 5, 40)), 1, chance.random() < 0.2
    nodes: list[tuple[int, int, float]] = []
    child = first + 1
    while waiting:
        waiting -= 1
        if splits and (waiting == 0 or chance.random() < (0.1 if deep else 0.6)):
            flag = chance.choice(flags)
            threshold = float(chance.randrange(3)) if flag & CATEGORY else random_threshold(chance)
            nodes.append((chance.randrange(width) | flag, child, threshold))
            splits, waiting, child = splits - 1, waiting + 2, child + 2
        else:
            nodes.append((LEAF, 0, 0.0))
    return nodes


def random_threshold(chance: random.Random) -> float:
    """Return a number that single precision holds."""
    value = chance.choice(
        (chance.gauss(0, 1), float(chance.randint(-3, 3)), 0.1, 1e-45, 3.4028234663852886e38)
    )
    return array("f", [value])[0]


def random_rows(chance: random.Random, model: Model, count: int) -> list[list[float]]:
    """Return rows of ordinary numbers, odd ones, and thresholds of the model with the numbers beside them."""
    thresholds = list(model.forest.thresholds) if model.forest else [0.0]

    def value() -> float:
        near = chance.choice(thresholds)
        beside = math.nextafter(near, chance.choice((-math.inf, math.inf)))
        halfway = near * (1 + chance.choice((-1, 1)) * 2.0**-24)
        numbers = chance.gauss(0, 1), float(chance.randint(-2, 130)), chance.choice(ODD)
        return chance.choice((*numbers, near, beside, halfway))

    return [[value() for _ in range(model.features)] for _ in range(count)]
