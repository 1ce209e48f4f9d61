"""The Open Inference Protocol's messages (version 2, REST, JSON tensors): one input of rows, one output of
numbers.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol says what they hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.connections.request_body import check_rows, parse_object
from app.connections.row_reader import shown
from app.errors import InvalidInput
from app.modelling.artifact import Card

INPUT, OUTPUT = "features", "prediction"
LARGEST = {"FP64": math.inf, "FP32": 3.4028234663852886e38, "INT64": 2.0**63}
BINARY = "JSON data: binary tensors are not supported (binary_data=False in Triton's client)"


@dataclass(frozen=True)
class Question:
    """What a client asks: rows of features, and the id that the answer repeats."""

    rows: list[list[float]]
    id: str | None


def parse(body: bytes, card: Card, max_rows: int) -> Question:
    """Return the question in a body. Raises InvalidInput."""
    document = parse_object(body)
    given_id = document.get("id")
    if given_id is not None and not isinstance(given_id, str):
        raise InvalidInput("id", "a string", shown(given_id))
    _check_outputs(document.get("outputs"))
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise InvalidInput("inputs", "a list of one tensor", _described(inputs))
    return Question(_rows(inputs[0], len(card.features), max_rows), given_id)


def answer(card: Card, version: str, question: Question, predictions: Sequence[float]) -> dict[str, Any]:
    """Return the answer's document."""
    output = {
        "name": OUTPUT,
        "shape": [len(predictions)],
        "datatype": output_datatype(card),
        "data": list(predictions),
    }
    head = {"model_name": card.name, "model_version": version}
    return head | ({} if question.id is None else {"id": question.id}) | {"outputs": [output]}


def metadata(card: Card, version: str) -> dict[str, Any]:
    """Return what the model takes and gives."""
    return {
        "name": card.name,
        "versions": [version],
        "platform": "scikit-learn",
        "inputs": [{"name": INPUT, "datatype": "FP64", "shape": [-1, len(card.features)]}],
        "outputs": [{"name": OUTPUT, "datatype": output_datatype(card), "shape": [-1]}],
    }


def output_datatype(card: Card) -> str:
    """Return the tensor type of a prediction: a number, a probability, or the index of a class."""
    return "INT64" if len(card.classes) > 2 else "FP64"


def _check_outputs(outputs: object) -> None:
    if outputs is None:
        return
    if not isinstance(outputs, list) or len(outputs) > 1:
        raise InvalidInput("outputs", "a list of at most one output", _described(outputs))
    for output in outputs:
        name = output.get("name") if isinstance(output, dict) else output
        if name != OUTPUT:
            raise InvalidInput("outputs[0].name", f'"{OUTPUT}"', shown(name))


def _rows(tensor: dict[str, Any], count: int, max_rows: int) -> list[list[float]]:
    parameters = tensor.get("parameters")
    if isinstance(parameters, dict) and "binary_data_size" in parameters:
        raise InvalidInput("inputs[0].parameters.binary_data_size", BINARY, "a binary tensor")
    if not isinstance(tensor.get("name"), str):
        raise InvalidInput("inputs[0].name", "a string", shown(tensor.get("name")))
    datatype = tensor.get("datatype")
    if not isinstance(datatype, str) or datatype not in LARGEST:
        raise InvalidInput("inputs[0].datatype", f"one of {', '.join(LARGEST)}", shown(datatype))
    rows = _row_count(tensor.get("shape"), count)
    check_rows("inputs[0].shape", rows, max_rows)
    values = _flat(tensor.get("data"), rows, count)
    for index, value in enumerate(values):
        _check_number(value, datatype, index)
    return [values[start : start + count] for start in range(0, rows * count, count)]


def _row_count(shape: object, count: int) -> int:
    """Return how many rows a shape holds: `[rows, count]`, or `[count]` for one."""
    expected = f"[rows, {count}] or [{count}]"
    if not isinstance(shape, list) or not all(isinstance(each, float) for each in shape):
        raise InvalidInput("inputs[0].shape", expected, _described(shape))
    if shape == [count]:
        return 1
    if len(shape) != 2 or shape[1] != count or not shape[0].is_integer() or shape[0] < 0:
        raise InvalidInput("inputs[0].shape", expected, str(shape)[:80])
    return int(shape[0])


def _flat(data: object, rows: int, count: int) -> list[Any]:
    """Return the tensor's values row by row, from one list or from a list of rows."""
    if not isinstance(data, list):
        raise InvalidInput("inputs[0].data", "a list", shown(data))
    if data and all(isinstance(row, list) for row in data):
        if len(data) != rows or any(len(row) != count for row in data):
            raise InvalidInput("inputs[0].data", f"{rows} rows of {count} numbers", "rows of another shape")
        return [value for row in data for value in row]
    if len(data) != rows * count:
        raise InvalidInput("inputs[0].data", f"{rows * count} numbers", str(len(data)))
    return data


def _check_number(value: object, datatype: str, index: int) -> None:
    name = f"inputs[0].data[{index}]"
    if not isinstance(value, float):
        raise InvalidInput(name, "a finite number", shown(value))
    if abs(value) > LARGEST[datatype] or (datatype == "INT64" and not value.is_integer()):
        raise InvalidInput(name, f"a value of {datatype}", repr(value))


def _described(value: object) -> str:
    return f"a list of {len(value)}" if isinstance(value, list) else shown(value)
