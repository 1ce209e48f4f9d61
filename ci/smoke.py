"""Ask a served image the question that its users will ask, before it is released."""

import math
import ssl
from typing import Any

import httpx

from errors import SmokeError


async def predict(url: str, tag: str) -> float:
    """Return what the service at the URL predicts for its model's medians.

    Raises SmokeError unless it answers with a finite number and with the tag as its version.
    """
    async with httpx.AsyncClient(base_url=url, timeout=30, verify=ssl.create_default_context()) as http:
        card = await _ask(http, "GET", "/model")
        answer = await _ask(http, "POST", "/predict", {"features": _medians(card)})
    prediction: Any = answer.get("prediction")
    version = answer.get("model_version")
    if version != tag:
        raise SmokeError(
            f"smoke test: the image says it is {version!r}, not {tag!r}; check its MODEL_VERSION"
        )
    if type(prediction) not in (int, float) or not math.isfinite(prediction):
        raise SmokeError(f"smoke test: the image predicts {prediction!r}, which is not a finite number")
    return float(prediction)


def _medians(card: dict[str, Any]) -> list[float]:
    try:
        return [feature["quantiles"]["0.5"] for feature in card["features"]]
    except (KeyError, TypeError) as error:
        raise SmokeError(f"smoke test: the model's card has no median for each feature: {error!r}") from error


async def _ask(http: httpx.AsyncClient, method: str, path: str, body: object = None) -> dict[str, Any]:
    try:
        answer = await http.request(method, path, json=body)
    except httpx.HTTPError as error:
        raise SmokeError(
            f"smoke test: {method} {path} got no answer: {error!r}; see the service's log"
        ) from error
    if answer.status_code != httpx.codes.OK:
        raise SmokeError(f"smoke test: {method} {path} answered {answer.status_code}: {answer.text[:500]}")
    try:
        content = answer.json()
    except ValueError as error:
        raise SmokeError(f"smoke test: {method} {path} answered no JSON: {answer.text[:80]!r}") from error
    if not isinstance(content, dict):
        raise SmokeError(f"smoke test: {method} {path} answered {content!r:.80}, which is no JSON object")
    return content
