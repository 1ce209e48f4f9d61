"""MLflow's scoring formats: rows of `dataframe_split`, `dataframe_records`, `inputs` or `instances`.

https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally specifies them.
"""

from __future__ import annotations

from typing import Any

from app.connections.request_body import check_rows, parse_object
from app.connections.row_reader import RowReader, describe_value
from app.errors import InvalidInput
from app.modelling.columns import Row

FORMATS = ("dataframe_split", "dataframe_records", "inputs", "instances")
SPLIT_FIELDS = ("columns", "index", "data")


def parse(body: bytes, reader: RowReader, max_rows: int) -> list[Row]:
    """Return the rows in a body, encoded. Raises InvalidInput."""
    document = parse_object(body)
    formats = [name for name in document if name != "params"]
    if len(formats) != 1 or formats[0] not in FORMATS:
        found = ", ".join(formats) or "none of them"
        raise InvalidInput("body", f"one of the fields {', '.join(FORMATS)}", describe_value(found))
    if document.get("params") not in (None, {}):
        raise InvalidInput("params", "no parameters", describe_value(document["params"]))
    (name,) = formats
    rows, place = document[name], name
    if name == "dataframe_split":
        rows, place = _split(rows), "dataframe_split.data"
    elif name == "inputs" and isinstance(rows, dict):
        rows = _columns(rows)
    if not isinstance(rows, list):
        raise InvalidInput(place, "a list of rows", describe_value(rows))
    check_rows(place, len(rows), max_rows)
    return [reader.read(f"{place}[{index}]", row) for index, row in enumerate(rows)]


def _split(frame: object) -> list[Any]:
    """Return the rows of a frame that has its columns' names apart."""
    if not isinstance(frame, dict):
        raise InvalidInput("dataframe_split", "an object", describe_value(frame))
    for field in frame:
        if field not in SPLIT_FIELDS:
            raise InvalidInput(
                f"dataframe_split[{describe_value(field)}]", f"one of {', '.join(SPLIT_FIELDS)}", "more"
            )
    names, data = frame.get("columns"), frame.get("data")
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        raise InvalidInput("dataframe_split.columns", "a list of names", describe_value(names))
    if len(set(names)) < len(names):
        raise InvalidInput("dataframe_split.columns", "each name once", "a name again")
    if not isinstance(data, list):
        raise InvalidInput("dataframe_split.data", "a list of rows", describe_value(data))
    for index, row in enumerate(data):
        if not isinstance(row, list) or len(row) != len(names):
            received = f"{len(row)}" if isinstance(row, list) else describe_value(row)
            raise InvalidInput(f"dataframe_split.data[{index}]", f"a list of {len(names)} values", received)
    return [dict(zip(names, row, strict=True)) for row in data]


def _columns(values: dict[str, Any]) -> list[Any]:
    """Return the rows of columns by their names."""
    lengths = set()
    for name, column in values.items():
        if not isinstance(column, list):
            raise InvalidInput(f"inputs[{describe_value(name)}]", "a list of values", describe_value(column))
        lengths.add(len(column))
    if len(lengths) > 1:
        raise InvalidInput(
            "inputs", "columns of the same length", f"{min(lengths)} and {max(lengths)} values"
        )
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
