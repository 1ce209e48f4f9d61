"""Golden rows: inputs with the predictions of training, which a release has to repeat."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any, Self

import anyio
import httpx

from deploying.rollout.target import Address
from deploying.rollout.verdict import GoldenResults, identity
from errors import ReleaseRejected
from net.http_responses import describe_response
from oci.reference import Release

# What of a model's card says which model it is.
_HASHES = ("artifact_sha256", "golden_sha256", "portable")
_AT_A_TIME = 8
# The same file gives the same number up to the last bits, in which processors' vector units may differ.
_RELATIVE, _ABSOLUTE = 1e-9, 1e-12


Feature = float | str | bool | None


@dataclass(frozen=True)
class Row:
    """Input of a prediction, and its expected result."""

    features: tuple[Feature, ...]
    prediction: float


@dataclass(frozen=True)
class Golden:
    """The rows of a model, and what its card says which model it is."""

    rows: tuple[Row, ...]
    hashes: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, golden: bytes, card: bytes) -> Self:
        """Return what golden.json and card.json say; raises ReleaseRejected when they are not those."""
        try:
            document: dict[str, Any] = json.loads(card)
            rows = tuple(
                Row(tuple(map(_feature, row["features"])), float(row["prediction"]))
                for row in json.loads(golden)["rows"]
            )
        except (ValueError, LookupError, TypeError) as error:
            raise ReleaseRejected(
                f"golden: the release's golden.json or card.json is malformed: {error!r}; release again"
            ) from error
        if not rows:
            raise ReleaseRejected("golden: the release's golden.json has no row; train and release again")
        return cls(rows, {name: document[name] for name in _HASHES if name in document})

    async def differences(self, http: httpx.AsyncClient, address: Address, release: Release) -> list[str]:
        """Return in what the /model at an address is not the release's."""
        try:
            answer = await http.get(f"{address.url}/model", headers=await address.headers())
            model = answer.raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            return [f"/model: {_describe(error)}"]
        if not isinstance(model, dict):
            return [f"/model: answered {model!r:.80}"]
        return identity(model, self.hashes, release.image.tag, release.digest)

    async def send(
        self, http: httpx.AsyncClient, address: Address, version: str, times: int
    ) -> GoldenResults:
        """Send the rows in turn, `times` requests in all, some at once; return the results."""
        headers, wrong, seconds = await address.headers(), [], []
        waiting = islice(cycle(self.rows), times)

        async def send_rows() -> None:
            for row in waiting:
                started = time.monotonic()
                fault = await _fault(http, address.url, headers, row, version)
                seconds.append(time.monotonic() - started)
                wrong.extend([fault] if fault else [])

        async with anyio.create_task_group() as group:
            for _ in range(_AT_A_TIME):
                group.start_soon(send_rows)
        return GoldenResults(times, wrong, seconds)


def _feature(value: object) -> Feature:
    """Return a value as a client sends it: a number, a category or text, a boolean, or none."""
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"a feature is {value!r:.80}")


async def _fault(
    http: httpx.AsyncClient, url: str, headers: Mapping[str, str], row: Row, version: str
) -> str | None:
    """Return what is wrong with the answer to a row, None when it is right."""
    try:
        answer = await http.post(f"{url}/predict", headers=headers, json={"features": row.features})
        content = answer.raise_for_status().json()
        prediction, said = float(content["prediction"]), content["model_version"]
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
        return f"/predict: {_describe(error)}"
    if not math.isclose(prediction, row.prediction, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE):
        return f"predicts {prediction} for {list(row.features)}, where training says {row.prediction}"
    return None if said == version else f"/predict says version {said!r}, not {version!r}"


def _describe(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"answered {describe_response(error.response, None)}"
    return f"no answer that is understood: {error!r:.200}"
