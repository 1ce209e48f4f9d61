"""Form of OneHotEncoder: categories that it drops have no column, those that it pools first become one."""

from __future__ import annotations

import math
from typing import Any

from training.portable_form.preparation.prepared_row import PreparedRow


def one_hot_encoder(encoder: Any, row: PreparedRow, at: list[int]) -> list[int]:
    """Append a column for each category that is kept."""
    return [each for index, position in enumerate(at) for each in _column(encoder, index, row, position)]


def _column(encoder: Any, index: int, row: PreparedRow, position: int) -> list[int]:
    codes = [row.code(position, category) for category in encoder.categories_[index]]
    groups = pools(encoder, index)
    if groups is not None:
        codes = _pool(encoder, index, row, position, codes)
    drops = encoder._drop_idx_after_grouping
    dropped = None if drops is None else drops[index]
    return row.one_hot(position, [code for group, code in enumerate(codes) if group != dropped])


def pools(encoder: Any, index: int) -> list[int] | None:
    """Return the group of each category when an encoder pools some of a column's."""
    if not encoder._infrequent_enabled or encoder._default_to_infrequent_mappings[index] is None:
        return None
    groups: list[int] = encoder._default_to_infrequent_mappings[index].tolist()
    return groups


def _pool(
    encoder: Any, index: int, row: PreparedRow, position: int, codes: list[float | None]
) -> list[float | None]:
    """Make the column one of groups; return the groups' codes."""
    groups = pools(encoder, index) or []
    known = {code: float(group) for code, group in zip(codes, groups, strict=True) if code is not None}
    pooled = groups[encoder._infrequent_indices[index][0]]
    other = float(pooled) if encoder.handle_unknown in ("infrequent_if_exist", "warn") else math.nan
    missing = float(groups[codes.index(None)]) if None in codes else other
    row.ordinal(position, known, other, missing)
    return [float(group) for group in range(max(groups) + 1)]
