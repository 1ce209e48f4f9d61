"""Forms of ColumnTransformer and Pipeline, which other transformers are in."""

from __future__ import annotations

from collections import Counter
from typing import Any

from app.errors import NotPortable
from training.preparation.prepared_row import PreparedRow


def column_transformer(transformer: Any, row: PreparedRow, at: list[int]) -> list[int]:
    """Let each part write its steps on columns of its own; the outputs stand in the parts' order."""
    if transformer.transformer_weights:
        raise NotPortable("ColumnTransformer with weights has no portable form")
    taken = {
        name: [at[index] for index in transformer._transformer_to_input_indices[name]]
        for name, part, _ in transformer.transformers_
        if not _is_dropped(part)
    }
    uses = Counter(position for positions in taken.values() for position in positions)
    outputs: list[int] = []
    for name, part, _ in transformer.transformers_:
        if _is_dropped(part) or not taken[name]:
            continue
        positions = taken[name]
        shared = [position for position in positions if uses[position] > 1]
        copies = dict(zip(shared, row.copy(shared), strict=True))
        uses.subtract(shared)
        outputs += row.transform(part, [copies.get(position, position) for position in positions])
    return outputs


def pipeline(transformer: Any, row: PreparedRow, at: list[int]) -> list[int]:
    """Write the steps of one transformer after the other."""
    for _, step in transformer.steps:
        at = row.transform(step, at)
    return at


def _is_dropped(part: Any) -> bool:
    return isinstance(part, str) and part == "drop"
