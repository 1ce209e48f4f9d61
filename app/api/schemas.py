"""Schemas of bodies for the OpenAPI document. `app.connections` reads and writes the bodies themselves."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, Field

from app.api import open_inference
from app.connections.error_responses import Code
from app.connections.row_reader import RowReader
from app.modelling.artifact import Card, Feature, describe
from app.modelling.columns import Column
from app.modelling.predictor import ScorerKind
from app.settings import Limits

Schema = dict[str, Any]

FEATURES_SHOWN = 100
IN_ORDER = "The card's features, in its order."
NUMBER: Schema = {"type": "number", "minimum": -sys.float_info.max, "maximum": sys.float_info.max}


class Problem(BaseModel):
    """An error."""

    code: Code
    message: str
    input: str | None = Field(description="The input at fault, as in `features[1]`.")
    expected: str | None
    received: str | None


class ProblemBody(BaseModel):
    """The body of every response with status 400 and above."""

    error: Problem


class InferenceProblem(BaseModel):
    """An error in the Open Inference Protocol's shape."""

    error: str


class Prediction(BaseModel):
    """The response for one row of features."""

    prediction: int | float = Field(
        description="The value (regression), the probability of the card's positive class (two classes) "
        "or the index of the most likely class."
    )
    model_version: str
    label: str | None = Field(default=None, description="With `details`: the name of the likeliest class.")
    probabilities: dict[str, float] | None = Field(
        default=None, description="With `details`: the probability of each class, by its name."
    )


class Predictions(BaseModel):
    """The response for many rows, in their order."""

    predictions: list[int | float]
    labels: list[str] | None = Field(default=None, description="With `details`: `label` of each row.")
    probabilities: list[dict[str, float]] | None = Field(
        default=None, description="With `details`: `probabilities` of each row."
    )


class Health(BaseModel):
    """The response of a health check that passes."""

    status: Literal["alive", "ready"]


class Live(BaseModel):
    """Liveness in the Open Inference Protocol's words."""

    live: Literal[True]


class Ready(BaseModel):
    """Readiness in the Open Inference Protocol's words."""

    ready: Literal[True]


@dataclass(frozen=True)
class Release:
    """The release that is served."""

    version: str
    digest: str | None
    scorer: ScorerKind = field(metadata=describe("What scores rows; `native` is compiled code."))


@dataclass(frozen=True)
class ReleasedCard(Card):
    """The model's card, and the release that serves it."""

    release: Release = field(kw_only=True)


class TensorMetadata(BaseModel):
    """An input or an output of the model; -1 stands for any number of rows."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """Inputs and outputs of the model."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ServerMetadata(BaseModel):
    """Name and version of the service."""

    name: str
    version: str
    extensions: list[str]


class ModelReady(BaseModel):
    """Readiness of the model."""

    name: str
    ready: Literal[True]


class OutputTensor(TensorMetadata):
    """One value for each row."""

    data: list[int | float]


class InferenceAnswer(BaseModel):
    """The predictions for the rows of a request."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


def error_entries(model: type[BaseModel], *statuses: int | str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of these error statuses."""
    return {status: {"model": model} for status in statuses}


def description(card: Card) -> str:
    """Return a description of the model's features and prediction, in Markdown."""
    lines = [f"- `{each.name}` ({each.kind}){_words(each)}" for each in card.features[:FEATURES_SHOWN]]
    more = len(card.features) - len(lines)
    lines += [f"- and {more} more, which `GET /model` lists"] if more > 0 else []
    return f"Predicts `{card.target}` from:\n\n" + "\n".join(lines)


def predict_body(columns: Sequence[Column], limits: Limits) -> Schema:
    """Return the OpenAPI entry of what POST /predict takes; no columns are a model that isn't there."""
    row = _row(columns)
    single = _object({"features": row}, ["features"], additionalProperties=False)
    parameters = {"type": ["object", "null"], "maxProperties": 0}
    fields = {"instances": _rows(row, limits), "parameters": parameters}
    batch = _object(fields, ["instances"], additionalProperties=False)
    example = {"example": {"features": _typical(columns)}} if columns else {}
    details = {
        "name": "details",
        "in": "query",
        "required": False,
        "schema": {"type": "boolean", "default": False},
        "description": "Whether to return the class's name and the classes' probabilities as well.",
    }
    return _json_body({"oneOf": [single, batch]} | example) | {"parameters": [details]}


def invocations_body(columns: Sequence[Column], limits: Limits) -> Schema:
    """Return the OpenAPI entry of MLflow's scoring formats. Columns by name may be `inputs` too."""
    row, names = _row(columns), [column.feature.name for column in columns]
    rows, by_name = _rows(row, limits), _rows(_named_row(columns), limits)
    split = {"columns": {"const": names}, "data": _rows(_listed_row(columns), limits)}
    formats = {
        "dataframe_split": _object(split, ["columns", "data"], additionalProperties=False),
        "dataframe_records": by_name,
        "inputs": rows,
        "instances": rows,
    }
    bodies = [_object({name: each}, [name], additionalProperties=False) for name, each in formats.items()]
    example = {"example": {"dataframe_records": [_typical(columns)]}} if columns else {}
    return _json_body({"oneOf": bodies} | example)


def inference_body(columns: Sequence[Column], limits: Limits) -> Schema:
    """Return the OpenAPI entry of what the Open Inference Protocol's requests hold for this model.

    What no schema can say is that `data` has as many numbers as `shape` says.
    """
    if not RowReader(columns).is_numeric:
        return _json_body(_tensors(columns))
    count = len(columns)
    rows = {"type": "integer", "minimum": 1, "maximum": limits.batch_rows}
    shape: Schema = {"type": "array", "prefixItems": [rows, {"const": count}], "minItems": 2, "maxItems": 2}
    tensor = _object(
        {
            "name": {"type": "string"},
            "shape": {"anyOf": [shape, {"const": [count]}]},
            "datatype": {"enum": list(open_inference.LARGEST)},
            "data": {
                "type": "array",
                "items": {"anyOf": [NUMBER, {"type": "array", "items": NUMBER}]},
                "description": "The rows' numbers, in one list or in one a row.",
            },
        },
        ["name", "shape", "datatype", "data"],
    )
    fields: Schema = {
        "id": {"type": ["string", "null"]},
        "inputs": {"type": "array", "items": tensor, "minItems": 1, "maxItems": 1},
        "outputs": {
            "type": ["array", "null"],
            "items": _object({"name": {"const": open_inference.OUTPUT}}, ["name"]),
            "maxItems": 1,
        },
    }
    return _json_body(_object(fields, ["inputs"]) | {"example": _example(count)})


def _example(count: int) -> Schema:
    tensor = {"name": open_inference.INPUT, "shape": [1, count], "datatype": "FP64", "data": [1.5] * count}
    return {"inputs": [tensor]}


def _tensors(columns: Sequence[Column]) -> Schema:
    """Return the schema of one tensor a column, with an example."""
    tensor = _object(
        {
            "name": {"enum": [column.feature.name for column in columns]},
            "shape": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2},
            "datatype": {"enum": [*open_inference.LARGEST, "BOOL", "BYTES"]},
            "data": {"type": "array"},
        },
        ["name", "shape", "datatype", "data"],
    )
    count = len(columns)
    inputs = {"type": "array", "items": tensor, "minItems": count, "maxItems": count}
    example = [
        {
            "name": column.feature.name,
            "shape": [1],
            "datatype": open_inference.datatype(column),
            "data": [column.decode(column.typical())],
        }
        for column in columns
    ]
    return _object({"id": {"type": ["string", "null"]}, "inputs": inputs}, ["inputs"]) | {
        "example": {"inputs": example}
    }


def _row(columns: Sequence[Column]) -> Schema:
    return {"anyOf": [_listed_row(columns), _named_row(columns)]} if columns else _listed_row(columns)


def _rows(row: Schema, limits: Limits) -> Schema:
    return {"type": "array", "items": row, "minItems": 1, "maxItems": limits.batch_rows}


def _listed_row(columns: Sequence[Column]) -> Schema:
    count = len(columns)
    length = {"minItems": count, "maxItems": count} if count else {}
    if RowReader(columns).is_numbers_only:
        return {"type": "array", "items": NUMBER, "description": IN_ORDER, **length}
    return {"type": "array", "prefixItems": [*map(_value, columns)], "description": IN_ORDER, **length}


def _named_row(columns: Sequence[Column]) -> Schema:
    properties = {column.feature.name: _value(column) for column in columns}
    return _object(properties, [*properties], additionalProperties=False)


def _value(column: Column) -> Schema:
    """Return the schema of one feature's value."""
    feature = column.feature
    schema: Schema = NUMBER
    match feature.kind:
        case "boolean":
            schema = {"type": "boolean"}
        case "category" if not (feature.unknown or feature.rare):
            schema = {"type": "string", "enum": list(feature.categories)}
        case "category" | "text":
            schema = {"type": "string"}
            schema |= {"examples": list(feature.categories)} if feature.categories else {}
    if feature.missing:
        schema = {"anyOf": [schema, {"type": "null"}]}
    words = _words(feature).removeprefix(": ")
    return schema | {"description": words} if words else schema


def _words(feature: Feature) -> str:
    """Return how the team describes a feature, behind a colon."""
    unit = f"in {feature.unit}" if feature.unit else ""
    words = ", ".join(each for each in (feature.description, unit) if each)
    return f": {words}" if words else ""


def _typical(columns: Sequence[Column]) -> Schema:
    return {column.feature.name: column.decode(column.typical()) for column in columns}


def _object(properties: Schema, required: list[str], **more: Any) -> Schema:
    return {"type": "object", "properties": properties, "required": required, **more}


def _json_body(schema: Schema) -> Schema:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
