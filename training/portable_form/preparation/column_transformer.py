"""Parts of a ColumnTransformer, each with columns of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from app.errors import NotPortable
from training.portable_form.preparation.prepared_row import PreparedRow


def column_parts(transformer: Any, row: PreparedRow, at: list[int]) -> Iterator[tuple[Any, list[int]]]:
    """Yield each part's transformer, and its columns in the row, copied when a later part takes them too."""
    if transformer.transformer_weights:
        raise NotPortable("ColumnTransformer with weights has no portable form")
    parts = [
        (part, [at[index] for index in transformer._transformer_to_input_indices[name]])
        for name, part, _ in transformer.transformers_
        if not (isinstance(part, str) and part == "drop")
    ]
    uses = Counter(position for _, positions in parts for position in positions)
    for part, positions in parts:
        shared = [position for position in positions if uses[position] > 1]
        copies = dict(zip(shared, row.copy(shared), strict=True))
        uses.subtract(shared)
        if positions:
            yield part, [copies.get(position, position) for position in positions]
