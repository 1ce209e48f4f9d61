"""Smoke test of a service: a built image before it is released, or any URL."""

import math
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from errors import SmokeError

# What is wrong has one shape, with a code: question, status, code. Google keeps some paths that end in z from
# Cloud Run's services, so that /livez and /readyz get no requests from outside.
_REFUSED: tuple[tuple[str, str, object, int, str], ...] = (
    ("POST", "/predict", {}, 400, "invalid_input"),
    ("POST", "/predict", {"features": "none"}, 400, "invalid_input"),
    ("GET", "/predict", None, 405, "method_not_allowed"),
    ("GET", "/nowhere", None, 404, "not_found"),
)


async def predict(url: str, tag: str) -> float:
    """Return what the service at the URL predicts for its model's medians.

    Raises SmokeError unless it answers with a finite number and with the tag as its version.
    """
    async with httpx.AsyncClient(timeout=30, verify=ssl.create_default_context()) as http:
        prediction, version = await _predict(_Service(http, url))
    if version != tag:
        raise SmokeError(
            f"smoke test: the image says it is {version!r}, not {tag!r}; check its MODEL_VERSION"
        )
    return prediction


async def contract(http: httpx.AsyncClient, url: str, headers: Mapping[str, str]) -> list[str]:
    """Return a line for each request to a service at a URL and its response; the headers authenticate.

    Raises SmokeError when it is not as it has to be.
    """
    service = _Service(http, url, headers)
    prediction, version = await _predict(service)
    lines = [f"POST /predict answers {prediction} as version {version}"]
    for method, path, body, status, code in _REFUSED:
        said = (await service.send(method, path, body, status)).get("error")
        if not isinstance(said, dict) or said.get("code") != code or "message" not in said:
            raise SmokeError(
                f"smoke test: {method} {path} answered {said!r:.200}, which has no code {code!r}"
            )
        lines.append(f"{method} {path} with {body!r} answers {status} {code}")
    return lines


async def _predict(service: "_Service") -> tuple[float, object]:
    """Return the prediction for the model's typical row, and the version that makes it."""
    card = await service.send("GET", "/model")
    answer = await service.send("POST", "/predict", {"features": _typical_row(card)})
    prediction: Any = answer.get("prediction")
    if type(prediction) not in (int, float) or not math.isfinite(prediction):
        raise SmokeError(f"smoke test: the image predicts {prediction!r}, which is not a finite number")
    return float(prediction), answer.get("model_version")


def _typical_row(card: dict[str, Any]) -> list[object]:
    try:
        return [_typical(feature) for feature in card["features"]]
    except (AttributeError, LookupError, TypeError) as error:
        raise SmokeError(f"smoke test: the model's card has no median for each feature: {error!r}") from error


def _typical(feature: dict[str, Any]) -> object:
    """Return a column's median, its most frequent category or an empty text."""
    match feature.get("kind", "number"):
        case "category":
            return feature["categories"][0]
        case "text":
            return ""
        case "boolean":
            return bool(feature["quantiles"]["0.5"] >= 0.5)
    return feature["quantiles"]["0.5"]


@dataclass(frozen=True)
class _Service:
    """Address of a service, and the headers that authenticate requests to it."""

    http: httpx.AsyncClient
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)

    async def send(
        self, method: str, path: str, body: object = None, status: int = httpx.codes.OK
    ) -> dict[str, Any]:
        """Return the object that answers with a status."""
        step = f"smoke test: {method} {path}"
        try:
            answer = await self.http.request(method, f"{self.url}{path}", headers=self.headers, json=body)
        except httpx.HTTPError as error:
            raise SmokeError(f"{step} got no answer: {error!r}; see the service's log") from error
        if answer.status_code != status:
            raise SmokeError(f"{step} answered {answer.status_code}: {answer.text[:500]}")
        try:
            content = answer.json()
        except ValueError as error:
            raise SmokeError(f"{step} answered no JSON: {answer.text[:80]!r}") from error
        if not isinstance(content, dict):
            raise SmokeError(f"{step} answered {content!r:.80}, which is no JSON object")
        return content
