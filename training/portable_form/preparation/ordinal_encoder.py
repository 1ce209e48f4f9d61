"""Form of OrdinalEncoder."""

from __future__ import annotations

from typing import Any

from training.portable_form.preparation.one_hot_encoder import pools
from training.portable_form.preparation.prepared_row import PreparedRow


def ordinal_encoder(encoder: Any, row: PreparedRow, at: list[int]) -> list[int]:
    """Replace each category by its place."""
    for index, position in enumerate(at):
        codes = [row.code(position, category) for category in encoder.categories_[index]]
        groups = pools(encoder, index) or range(len(codes))
        present = [code for code in codes if code is not None]  # a missing one comes last, and has no group
        known = {code: float(group) for code, group in zip(present, groups, strict=False)}
        # An encoder that refuses unknown categories never gets one: the service refuses them by the card.
        refuses = encoder.handle_unknown == "error"
        other = float("nan") if refuses else float(encoder.unknown_value)
        missing = float(encoder.encoded_missing_value) if None in codes else other
        row.ordinal(position, known, other, missing)
    return at
