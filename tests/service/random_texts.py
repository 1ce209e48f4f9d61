"""Random features, and rows of numbers in every form that JSON knows, the hard ones often."""

from __future__ import annotations

import math
import random
import struct
from decimal import Context, Decimal

from app.modelling.artifact import Bins, Feature


def random_features(chance: random.Random) -> list[Feature]:
    """Return features with no edges or several, each second one with missing values."""
    features = []
    for number in range(chance.randint(1, 6)):
        edges = sorted(chance.gauss(0, 1) for _ in range(chance.choice((0, 1, 9, 10))))
        shares = (0.0,) * (len(edges) + 1)
        features.append(Feature(str(number), 0.0, 1.0, {}, Bins((*edges,), shares), missing=number % 2 == 1))
    return features


def random_number(chance: random.Random) -> str:
    """Return a number: of any double, halfway between two of them, or of any digits."""
    double = abs(struct.unpack("d", chance.randbytes(8))[0])
    above = math.nextafter(double, math.inf)
    if not math.isfinite(above):
        return "1.5"
    halfway = Context(prec=chance.randint(17, 21)).divide(Decimal(double) + Decimal(above), Decimal(2))
    digits = str(chance.randrange(10 ** chance.randint(1, 21)))
    ends = ("", ".0", f".{digits}", f"e{chance.randint(-345, 330)}", f".5E+{chance.randint(0, 9)}")
    forms = (repr(double), repr(abs(chance.gauss(0, 1))), f"{halfway:e}", digits + chance.choice(ends))
    return chance.choice(("", "-")) + chance.choice((*forms, "0", "0.0", "0e9", "0.000" + digits))


def random_text(chance: random.Random, width: int) -> bytes:
    """Return rows of a width with commas between, up to the list's end."""
    rows = []
    for _ in range(chance.randint(1, 5)):
        values = [random_number(chance) if chance.random() < 0.95 else "null" for _ in range(width)]
        space = chance.choice(("", "", " ", "\r\n\t"))
        rows.append(f"{space}[{space}{f'{space},{space}'.join(values)}{space}]{space}")
    return ",".join(rows).encode() + b"]}"
