"""The population stability index as the rules have it, written down a second time."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

HALF_A_ROW = 0.5
SMALLEST_SHARE = 0.0001


def psi(requested: Sequence[float], learned: Sequence[float]) -> float:
    """Return the index of a feature from the rows in each bin and the training rows' shares of them."""
    rows = sum(count + HALF_A_ROW for count in requested)
    shares = [(count + HALF_A_ROW) / rows for count in requested]
    return sum(
        (share - other) * log(share / other)
        for share, other in zip(shares, (max(each, SMALLEST_SHARE) for each in learned), strict=True)
    )
