"""What the OpenAPI document says about bodies. None is read or written here: see app.connections."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field

from app.api import open_inference
from app.connections.error_responses import Code
from app.modelling.artifact import Card
from app.settings import Limits

Schema = dict[str, Any]

NUMBER = {"type": "number", "minimum": -sys.float_info.max, "maximum": sys.float_info.max}


class Problem(BaseModel):
    """Why a request has no other answer."""

    code: Code
    message: str
    input: str | None = Field(description="The input at fault, as in `features[1]`.")
    expected: str | None
    received: str | None


class ProblemBody(BaseModel):
    """The body of every answer with status 400 and above."""

    error: Problem


class InferenceProblem(BaseModel):
    """The same in the Open Inference Protocol's shape."""

    error: str


class Prediction(BaseModel):
    """The answer to one row of features."""

    prediction: int | float = Field(
        description="The value (regression), the probability of the card's positive class (two classes) "
        "or the index of the most likely class."
    )
    model_version: str


class Predictions(BaseModel):
    """The answer to many rows, in their order."""

    predictions: list[int | float]


class Health(BaseModel):
    """The answer of a health check that passes."""

    status: Literal["alive", "ready"]


class Live(BaseModel):
    """The same in the Open Inference Protocol's words."""

    live: Literal[True]


class Ready(BaseModel):
    """The same in the Open Inference Protocol's words."""

    ready: Literal[True]


@dataclass(frozen=True)
class Release:
    """Which release answers."""

    version: str
    digest: str | None


@dataclass(frozen=True)
class ReleasedCard(Card):
    """The model's card, and the release that serves it."""

    release: Release


class TensorMetadata(BaseModel):
    """An input or an output of the model; -1 stands for any number of rows."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """What the model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ServerMetadata(BaseModel):
    """Who answers."""

    name: str
    version: str
    extensions: list[str]


class ModelReady(BaseModel):
    """That the model can be asked."""

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


def documented(model: type[BaseModel], *statuses: int | str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of these error statuses."""
    return {status: {"model": model} for status in statuses}


def predict_body(count: int, limits: Limits) -> Schema:
    """Return the OpenAPI entry of what POST /predict takes; 0 features are a model that isn't there."""
    row = _row(count)
    single = _object({"features": row}, ["features"], additionalProperties=False)
    rows: Schema = {"type": "array", "items": row, "minItems": 1, "maxItems": limits.batch_rows}
    parameters = {"type": ["object", "null"], "maxProperties": 0}
    fields = {"instances": rows, "parameters": parameters}
    batch = _object(fields, ["instances"], additionalProperties=False)
    return _json_body({"oneOf": [single, batch]})


def inference_body(count: int, limits: Limits) -> Schema:
    """Return the OpenAPI entry of what the Open Inference Protocol's requests hold for this model.

    What no schema can say is that `data` has as many numbers as `shape` says.
    """
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


def _row(count: int) -> Schema:
    length = {"minItems": count, "maxItems": count} if count else {}
    return {"type": "array", "items": NUMBER, "description": "The card's features, in its order.", **length}


def _object(properties: Schema, required: list[str], **more: Any) -> Schema:
    return {"type": "object", "properties": properties, "required": required, **more}


def _json_body(schema: Schema) -> Schema:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
