"""Report of training on a table: the file's dialect, and the kind of each column."""

from __future__ import annotations

from collections.abc import Iterator

from app.modelling.artifact import Card, Feature

KINDS = ("number", "integer", "boolean", "category", "text")


def report(card: Card, source: str, dialect: str) -> Iterator[str]:
    """Yield a line for the file, for each kind of columns, and for missing values."""
    yield f"{source}: {sum(card.rows.values())} rows, {dialect}"
    for kind in KINDS:
        if features := [feature for feature in card.features if feature.kind == kind]:
            yield f"  {kind}: {', '.join(map(_describe, features))}"
    holes = [feature for feature in card.features if feature.missing_share]
    if holes:
        shares = (f"{feature.name} {feature.missing_share:.1%}" for feature in holes)
        yield f"  missing values: {', '.join(shares)}"


def _describe(feature: Feature) -> str:
    count = len(feature.categories) + feature.rare
    return f"{feature.name} ({count} categories)" if feature.kind == "category" else feature.name
