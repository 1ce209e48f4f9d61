"""The Open Inference Protocol's messages (version 2, REST, JSON tensors).

There is one input of rows, or one for each column by its name, and one output of numbers.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol specifies them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.connections.request_body import check_rows, parse_object
from app.connections.row_reader import RowReader, describe_value
from app.errors import InvalidInput
from app.modelling.artifact import Card
from app.modelling.columns import Column, Row
from app.modelling.predictor import Predictor

DIMENSIONS_SHOWN = 4
INPUT, OUTPUT = "features", "prediction"
LARGEST = {"FP64": math.inf, "FP32": 3.4028234663852886e38, "INT64": 2.0**63}
_SURROGATES = frozenset(map(chr, range(0xD800, 0xE000)))  # half a character, which no response can hold
BINARY = "JSON data: binary tensors are not supported (binary_data=False in Triton's client)"


@dataclass(frozen=True)
class Question:
    """A request's content: rows of features, and the id that the response repeats."""

    rows: list[Row]
    id: str | None


def parse(body: bytes, reader: RowReader, max_rows: int) -> Question:
    """Return the question in a body. Raises InvalidInput."""
    document = parse_object(body)
    given_id = document.get("id")
    if given_id is not None and not (isinstance(given_id, str) and _SURROGATES.isdisjoint(given_id)):
        raise InvalidInput("id", "a string of Unicode characters", describe_value(given_id))
    _check_outputs(document.get("outputs"))
    inputs = document.get("inputs")
    if _is_by_column(inputs, reader):
        return Question(_columns(inputs, reader, max_rows), given_id)
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise InvalidInput("inputs", "a list of one tensor", _describe(inputs))
    return Question(_rows(inputs[0], reader.count, max_rows), given_id)


def answer(card: Card, version: str, question: Question, predictions: Sequence[float]) -> dict[str, Any]:
    """Return the response's document."""
    output = {
        "name": OUTPUT,
        "shape": [len(predictions)],
        "datatype": output_datatype(card),
        "data": list(predictions),
    }
    head = {"model_name": card.name, "model_version": version}
    return head | ({} if question.id is None else {"id": question.id}) | {"outputs": [output]}


def metadata(predictor: Predictor, version: str) -> dict[str, Any]:
    """Return what the model takes and gives."""
    card = predictor.card
    inputs = [{"name": INPUT, "datatype": "FP64", "shape": [-1, len(card.features)]}]
    if not RowReader(predictor.columns).is_numeric:
        inputs = [
            {"name": each.feature.name, "datatype": datatype(each), "shape": [-1]}
            for each in predictor.columns
        ]
    return {
        "name": card.name,
        "versions": [version],
        "platform": "scikit-learn",
        "inputs": inputs,
        "outputs": [{"name": OUTPUT, "datatype": output_datatype(card), "shape": [-1]}],
    }


def datatype(column: Column) -> str:
    """Return the tensor type of a column; one of integers takes other numbers too."""
    return {"boolean": "BOOL", "category": "BYTES", "text": "BYTES", "integer": "INT64"}.get(
        column.feature.kind, "FP64"
    )


def output_datatype(card: Card) -> str:
    """Return the tensor type of a prediction: a number, a probability, or the index of a class."""
    return "INT64" if len(card.classes) > 2 else "FP64"


def _check_outputs(outputs: object) -> None:
    if outputs is None:
        return
    if not isinstance(outputs, list) or len(outputs) > 1:
        raise InvalidInput("outputs", "a list of at most one output", _describe(outputs))
    for output in outputs:
        name = output.get("name") if isinstance(output, dict) else output
        if name != OUTPUT:
            raise InvalidInput("outputs[0].name", f'"{OUTPUT}"', describe_value(name))


def _is_by_column(inputs: object, reader: RowReader) -> bool:
    """Return whether there is a tensor for each column: always where no matrix of numbers holds a row."""
    if not isinstance(inputs, list) or not all(isinstance(each, dict) for each in inputs):
        return False
    names = [each.get("name") for each in inputs]
    named = any(isinstance(each, str) and each in reader.names for each in names)
    return not reader.is_numeric or (named and reader.count > 1)


def _columns(inputs: Any, reader: RowReader, max_rows: int) -> list[Row]:
    """Return the rows of one tensor a column."""
    tensors: dict[str, tuple[str, dict[str, Any]]] = {}
    for number, tensor in enumerate(inputs):
        place, name = f"inputs[{number}]", tensor.get("name")
        if not isinstance(name, str) or name not in reader.names or name in tensors:
            raise InvalidInput(f"{place}.name", "the name of a column, each once", describe_value(name))
        tensors[name] = place, tensor
    missing = [name for name in reader.names if name not in tensors]
    if missing:
        raise InvalidInput("inputs", f"a tensor named {describe_value(missing[0])}", "no such tensor")
    columns = [_column(*tensors[name], column, max_rows) for name, column in reader.names.items()]
    if len(set(map(len, columns))) > 1:
        raise InvalidInput("inputs", "tensors of the same shape", "tensors of different lengths")
    return [list(row) for row in zip(*columns, strict=True)]


def _column(place: str, tensor: dict[str, Any], column: Column, max_rows: int) -> list[Any]:
    """Return a tensor's values, encoded."""
    _check_not_binary(place, tensor)
    kind, expected = tensor.get("datatype"), datatype(column)
    types = (expected,) if expected in ("BOOL", "BYTES") else tuple(LARGEST)
    if kind not in types:
        raise InvalidInput(f"{place}.datatype", f"one of {', '.join(types)}", describe_value(kind))
    shape, data = tensor.get("shape"), tensor.get("data")
    if not isinstance(data, list):
        raise InvalidInput(f"{place}.data", "a list", describe_value(data))
    check_rows(f"{place}.data", len(data), max_rows)
    if shape not in ([len(data)], [len(data), 1]):
        raise InvalidInput(
            f"{place}.shape", f"[{len(data)}], as there are so many values", _describe_shape(shape)
        )
    if all(isinstance(each, list) and len(each) == 1 for each in data):
        data = [each[0] for each in data]
    found = []
    for index, value in enumerate(data):
        encoded = column.encode(value)
        if encoded is None:
            raise InvalidInput(f"{place}.data[{index}]", column.expected, describe_value(value))
        if kind in LARGEST and value is not None:
            _check_number(f"{place}.data[{index}]", value, kind)
        found.append(encoded)
    return found


def _check_not_binary(place: str, tensor: dict[str, Any]) -> None:
    parameters = tensor.get("parameters")
    if isinstance(parameters, dict) and "binary_data_size" in parameters:
        raise InvalidInput(f"{place}.parameters.binary_data_size", BINARY, "a binary tensor")


def _rows(tensor: dict[str, Any], count: int, max_rows: int) -> list[Row]:
    _check_not_binary("inputs[0]", tensor)
    if not isinstance(tensor.get("name"), str):
        raise InvalidInput("inputs[0].name", "a string", describe_value(tensor.get("name")))
    kind = tensor.get("datatype")
    if not isinstance(kind, str) or kind not in LARGEST:
        raise InvalidInput("inputs[0].datatype", f"one of {', '.join(LARGEST)}", describe_value(kind))
    rows = _row_count(tensor.get("shape"), count)
    check_rows("inputs[0].shape", rows, max_rows)
    values = _flat(tensor.get("data"), rows, count)
    for index, value in enumerate(values):
        _check_number(f"inputs[0].data[{index}]", value, kind)
    return [values[start : start + count] for start in range(0, rows * count, count)]


def _row_count(shape: object, count: int) -> int:
    """Return how many rows a shape holds: `[rows, count]`, or `[count]` for one."""
    expected = f"[rows, {count}] or [{count}]"
    if not isinstance(shape, list) or not all(isinstance(each, float) for each in shape):
        raise InvalidInput("inputs[0].shape", expected, _describe(shape))
    if shape == [count]:
        return 1
    if len(shape) != 2 or shape[1] != count or not shape[0].is_integer() or shape[0] < 0:
        raise InvalidInput("inputs[0].shape", expected, _describe_shape(shape))
    return int(shape[0])


def _flat(data: object, rows: int, count: int) -> list[Any]:
    """Return the tensor's values row by row, from one list or from a list of rows."""
    if not isinstance(data, list):
        raise InvalidInput("inputs[0].data", "a list", describe_value(data))
    if data and all(isinstance(row, list) for row in data):
        if len(data) != rows or any(len(row) != count for row in data):
            raise InvalidInput("inputs[0].data", f"{rows} rows of {count} numbers", "rows of another shape")
        return [value for row in data for value in row]
    if len(data) != rows * count:
        raise InvalidInput("inputs[0].data", f"{rows * count} numbers", str(len(data)))
    return data


def _check_number(name: str, value: object, kind: str) -> None:
    if not isinstance(value, float):
        raise InvalidInput(name, "a finite number", describe_value(value))
    if abs(value) > LARGEST[kind] or (kind == "INT64" and not value.is_integer()):
        raise InvalidInput(name, f"a value of {kind}", repr(value))


def _describe_shape(shape: object) -> str:
    if not isinstance(shape, list):
        return describe_value(shape)
    more = ", …" if len(shape) > DIMENSIONS_SHOWN else ""
    return f"[{', '.join(map(describe_value, shape[:DIMENSIONS_SHOWN]))}{more}]"


def _describe(value: object) -> str:
    return f"a list of {len(value)}" if isinstance(value, list) else describe_value(value)
