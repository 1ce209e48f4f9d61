"""Golden rows: reading, and faults of answers."""

from __future__ import annotations

import json

import httpx
import pytest

from deploying.rollout.golden_rows import Golden, Row
from deploying.rollout.target import Address
from errors import ReleaseRejected
from oci.reference import Image, Release

pytestmark = pytest.mark.anyio
ADDRESS = Address("http://service.test")
RELEASE = Release(Image("registry.test", "m", "v1.0.0"), f"sha256:{'a' * 64}")
GOLDEN = Golden((Row((1.0, 2.0), 3.0), Row((0.0, 0.0), 0.0)))


def client_with(*answers: httpx.Response) -> httpx.AsyncClient:
    """Return a client that gets these answers, the last of them again and again."""
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        return left.pop(0) if len(left) > 1 else left[0]

    return httpx.AsyncClient(transport=httpx.MockTransport(answer))


def predict_response(prediction: object, version: str = "v1.0.0") -> httpx.Response:
    return httpx.Response(200, json={"prediction": prediction, "model_version": version})


def test_rows_and_hashes_are_read_from_the_release_s_files() -> None:
    rows = {"rows": [{"features": [1, 2.5, "north", True, None], "prediction": 3}]}
    card = {"artifact_sha256": "a", "golden_sha256": "g", "portable": None, "name": "n"}
    golden = Golden.of(json.dumps(rows).encode(), json.dumps(card).encode())
    assert golden.rows == (Row((1, 2.5, "north", True, None), 3.0),)
    assert golden.hashes == {"artifact_sha256": "a", "golden_sha256": "g", "portable": None}


@pytest.mark.parametrize(
    "rows", [b"", b"[]", b'{"rows":[{}]}', b'{"rows":[{"features":[{}],"prediction":1}]}']
)
def test_files_that_are_malformed_are_refused(rows: bytes) -> None:
    with pytest.raises(ReleaseRejected, match="golden.json or card.json is malformed"):
        Golden.of(rows, b"{}")


def test_a_release_without_golden_rows_is_refused() -> None:
    with pytest.raises(ReleaseRejected, match="has no row"):
        Golden.of(b'{"rows":[]}', b"{}")


async def test_right_answers_may_differ_in_the_last_bits() -> None:
    nearly = [predict_response(3.0 * (1 + 1e-12)), predict_response(1e-13)]
    answers = await GOLDEN.send(client_with(*nearly), ADDRESS, "v1.0.0", 2)
    assert (answers.requests, list(answers.wrong), len(answers.seconds)) == (2, [], 2)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (predict_response(3.1), r"predicts 3\.1 for \[1\.0, 2\.0\], where training says 3\.0"),
        (predict_response(3.0, "v0.9.0"), r"/predict says version 'v0\.9\.0', not 'v1\.0\.0'"),
        (predict_response(None), r"no answer that is understood: TypeError"),
        (httpx.Response(200, json=[]), "no answer that is understood: TypeError"),
        (httpx.Response(200, json={}), "no answer that is understood: KeyError"),
        (httpx.Response(200, text="<html>"), "no answer that is understood: JSONDecodeError"),
        (httpx.Response(503, text="overloaded"), "answered 503 Service Unavailable: overloaded"),
    ],
)
async def test_a_wrong_answer_is_reported(answer: httpx.Response, fault: str) -> None:
    answers = await GOLDEN.send(client_with(answer), ADDRESS, "v1.0.0", 1)
    with pytest.raises(AssertionError, match=fault):
        raise AssertionError(answers.wrong[0])


async def test_no_answer_is_a_wrong_one() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    http = httpx.AsyncClient(transport=httpx.MockTransport(refuse))
    assert "connection refused" in (await GOLDEN.send(http, ADDRESS, "v1.0.0", 1)).wrong[0]
    assert "connection refused" in (await GOLDEN.differences(http, ADDRESS, RELEASE))[0]


@pytest.mark.parametrize(
    ("answer", "difference"),
    [
        (httpx.Response(200, json=["v1"]), "/model: answered"),
        (httpx.Response(404, text="not here"), "/model: answered 404 Not Found: not here"),
        (httpx.Response(200, text="?"), "/model: no answer that is understood"),
    ],
)
async def test_a_model_that_does_not_say_who_it_is_differs(answer: httpx.Response, difference: str) -> None:
    found = await GOLDEN.differences(client_with(answer), ADDRESS, RELEASE)
    assert found[0].startswith(difference)
