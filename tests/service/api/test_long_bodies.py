"""Long bodies: read in slices as strictly as at once, refused by counting, a bounded number at a time."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import cast

import anyio
import httpx
import orjson
import pytest

from app.api import batches
from app.api.asgi_app import AsgiApp
from app.connections import batch_body, request_body
from app.connections.batch_body import LONG_BYTES, OBJECTS, SPARE, STRINGS, WORDS, NotInSlices
from app.connections.request_body import Batch
from app.connections.row_reader import RowReader
from app.errors import InvalidInput
from app.modelling import model_loader
from app.modelling.native_rows import NativeRows, native_rows
from app.modelling.portable_predictor import PortablePredictor
from app.modelling.predictor import ScorerKind
from app.service import Service
from app.settings import Limits, Settings
from tests.service.client import Client, client_of, error_of
from tests.service.model import mixed_columns, number_reader, write_mixed
from tests.service.mutations import MIXED_TOKENS, NUMBERS, TOKENS

ROWS, SWEEP = 50, 1500
PADDING = b" " * LONG_BYTES


@pytest.fixture(scope="module")
def client(sum_model: Path) -> Client:
    return client_of(sum_model, limits=Limits(batch_rows=10_000))


def batch(rows: int) -> bytes:
    """Return a batch with as many different rows."""
    return json.dumps({"instances": [[number, 0.5, -number] for number in range(rows)]}).encode()


def mutate_batch(random: Random, rows: list[bytes], tokens: tuple[bytes, ...]) -> bytes:
    """Return a batch that is longer than some slices, mostly with a few things changed."""
    end = random.choice((b"]}", b"] }\n", b'],"parameters":{}}', b'], "parameters" : null }'))
    body = bytearray(b' {"instances": [' + random.choice((b",", b" ,\n")).join(rows) + end)
    for _ in range(random.choice((0, 0, 1, 1, 2))):
        at, length = random.randrange(len(body) + 1), random.choice((0, 0, 1, 1, 2, 5))
        body[at : at + length] = random.choice((random.choice(tokens), b"", bytes([random.randrange(256)])))
    return bytes(body)


def random_rows(random: Random) -> list[bytes]:
    """Return rows of three numbers."""
    return [b"[%b]" % ",".join(random.choices(NUMBERS, k=3)).encode() for _ in range(random.randint(1, 30))]


def read_in_slices(body: bytes, native: NativeRows | None) -> str | None:
    """Return the rows that are read in slices, or None if they can't be."""
    try:
        return repr([row for rows in batch_body.slices(body, 3, native) for row in rows])
    except NotInSlices:
        return None


def read_strictly(body: bytes) -> str | None:
    """Return a batch's rows, or None if it is refused."""
    try:
        read = request_body.parse(body, number_reader(), 100)
    except InvalidInput:
        return None
    return repr(read.rows) if isinstance(read, Batch) else None


@pytest.mark.parametrize("is_native", [False, True])
def test_what_is_read_in_slices_is_read_strictly_as_the_same(
    is_native: bool, native_library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = [column.feature for column in number_reader().columns]
    native = native_rows(features, native_library) if is_native else None
    monkeypatch.setattr(batch_body, "SLICE_BYTES", 20)
    monkeypatch.setattr(batch_body, "NATIVE_NUMBERS", 12)
    monkeypatch.setattr(request_body, "_only_field", lambda body, name: None)
    random, taken = Random(5), 0
    for _ in range(SWEEP):
        body = mutate_batch(random, random_rows(random), TOKENS)
        if (found := read_in_slices(body, native)) is not None:
            assert found == read_strictly(body), body
            taken += 1
    assert taken > SWEEP * 0.4


MIXED_ROWS = (
    b'["north",81.5,3,true,"red"]',
    b'[null, null,-0.0,false ,"blue"]',
    b'["a ] in , { a name}",1e3,5,true,"red"]',
    b'{"town":"nowhere-01","size in m\xc2\xb2":12,"rooms":4,"garden":true,"color":"red"}',
    b'{"color": "blue", "garden": false, "rooms": 1, "size in m\xc2\xb2": null, "town": null}',
)


def random_mixed_rows(random: Random) -> list[bytes]:
    """Return rows by place, by name, or both."""
    kinds = random.choice((MIXED_ROWS, MIXED_ROWS[:2], MIXED_ROWS[3:]))
    return random.choices(kinds, k=random.randint(1, 20))


def test_mixed_rows_that_are_read_in_slices_are_read_strictly_as_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch_body, "SLICE_BYTES", 60)
    random, reader, taken = Random(7), RowReader(mixed_columns()), 0
    for _ in range(SWEEP):
        body = mutate_batch(random, random_mixed_rows(random), TOKENS + MIXED_TOKENS)
        try:
            found = [row for rows in batch_body.mixed_slices(body, reader) for row in rows]
        except NotInSlices:
            continue
        assert repr(Batch(found)) == repr(request_body.parse(body, reader, 100)), body
        taken += 1
    assert taken > SWEEP * 0.2


@pytest.mark.parametrize("form", [list, dict], ids=["lists", "names"])
def test_a_long_batch_of_mixed_rows_is_read_in_slices_and_answered_like_its_rows(
    form: Callable[[object], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(write_mixed(tmp_path))
    names = [column.feature.name for column in mixed_columns()]
    values: list[list[object]] = [["north", 81.5, 3, True, "red"], [None, None, 2.5, False, "blue"]]
    rows = values if form is list else [dict(zip(names, row, strict=True)) for row in values]
    expected = client.post("/predict", json={"instances": rows}).json()["predictions"]
    monkeypatch.setattr(request_body, "parse", None)  # the strict reading
    answer = client.post("/predict", json={"instances": rows * 2000})
    assert answer.json() == {"predictions": expected * 2000}


def test_a_long_batch_is_answered_in_the_order_of_its_rows(client: Client) -> None:
    response = client.post("/predict", content=batch(10_000))
    assert response.text == '{"predictions":[' + ",".join(["0.5"] * 10_000) + "]}"


@pytest.mark.parametrize(
    "end", [b'],"parameters":null}', b'],"parameters":{"a":1}}', b',["1",2,3]]}', b",]}", b"]}x"]
)
def test_a_long_batch_with_an_end_of_its_own_is_answered_like_a_short_one(client: Client, end: bytes) -> None:
    answers = []
    for rows in (1, 5000):
        start = b'{"instances":[' + b",".join([b"[1,2,3]"] * rows)
        answers.append(client.post("/predict", content=start + end))
    assert answers[0].status_code == answers[1].status_code
    if answers[0].status_code == 400:
        errors = [answer.json()["error"] for answer in answers]
        assert errors[0]["expected"] == errors[1]["expected"]
        assert errors[1]["input"] == errors[0]["input"].replace("[1]", "[5000]", 1)


def test_the_row_without_a_result_is_named_in_a_long_batch(client: Client) -> None:
    rows = [[1.0, 2.0, 3.0]] * 5000 + [[1.7e308, 1.7e308, 0.0]] + [[1.0, 2.0, 3.0]] * 1000
    before = client.app.service.metrics.predictions
    error = error_of(client.post("/predict", json={"instances": rows}), 400)
    assert error["input"].startswith("instances[5000]")
    assert client.app.service.metrics.predictions == before


def test_invalid_json_is_reported_before_a_row_without_a_result(client: Client) -> None:
    rows = b'{"instances":[[1.7e308,1.7e308,0]' + b",[1,2,3]" * 5000
    error = error_of(client.post("/predict", content=rows + b",[1,2,x]]}"), 400)
    assert (error["input"], error["expected"]) == ("body", "JSON")


def test_every_row_of_a_long_batch_is_counted_in_its_bins(client: Client) -> None:
    metrics = client.app.service.metrics
    before = metrics.predictions, sum(metrics.bins[0])
    assert client.post("/predict", content=batch(3000)).status_code == 200
    assert (metrics.predictions - before[0], sum(metrics.bins[0]) - before[1]) == (3000, 3000)


def test_more_rows_than_the_limit_are_refused_also_in_slices(sum_model: Path) -> None:
    client = client_of(sum_model, limits=Limits(batch_rows=1000))
    assert client.post("/predict", content=batch(1000)).status_code == 200
    error = error_of(client.post("/predict", content=batch(1001)), 400)
    assert (error["input"], error["expected"], error["received"]) == ("instances", "1 to 1000 rows", "1001")


MOST = 3 * ROWS + SPARE
TOO_MUCH = {
    "lists": (b"[" * (ROWS + SPARE + 1), f"1 to {ROWS} rows", f"{ROWS + SPARE}"),
    "numbers": (
        b"1," * (3 * ROWS + SPARE + 1),
        f"at most {ROWS} rows of 3 numbers",
        f"{3 * ROWS + SPARE + 2} numbers",
    ),
    "strings": (b'""' * (STRINGS + 1), f"at most {STRINGS} strings", f"{STRINGS + 2}"),
    "words": (b"null" * (WORDS + 1), f"at most {WORDS} values that are no numbers", f"{WORDS + 3}"),
    "objects": (b"{" * (OBJECTS + 1), f"at most {OBJECTS} objects", f"{OBJECTS + 2}"),
}


@pytest.mark.parametrize(("much", "expected", "received"), TOO_MUCH.values(), ids=list(TOO_MUCH))
@pytest.mark.parametrize("path", ["/predict", "/v2/models/known/infer"])
def test_what_is_too_much_of_is_refused_unparsed(
    path: str, much: bytes, expected: str, received: str, sum_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(sum_model, limits=Limits(batch_rows=ROWS))
    monkeypatch.setattr(request_body, "_parse", None)
    monkeypatch.setattr(orjson, "loads", None)
    response = client.post(path, content=b'{"instances":' + much + PADDING)
    assert response.status_code == 400
    error = response.json()["error"]
    message = error if isinstance(error, str) else error["message"]
    assert message == f"body: expected {expected}, got {received}"


BRACKETS = {
    "lists": (b"[]," * 2000, True),
    "lists between strings": (b'[""],' * 2000, True),
    "lists behind strings": (b'"",' * 2000 + b"[" * 2000, True),
    "objects": (b"{}," * 2000, True),
    "in a string": (b'"' + b"[{" * 2000 + b'"', False),
    "behind an escaped quote": (b'"\\"' + b"[{" * 2000 + b'"', False),
    "in a string without end": (b'["' + b"[{" * 2000, False),
}


@pytest.mark.parametrize(("much", "is_refused"), BRACKETS.values(), ids=list(BRACKETS))
def test_brackets_are_counted_outside_of_strings(much: bytes, is_refused: bool) -> None:
    town, size, *others = mixed_columns()
    note = replace(size, feature=replace(size.feature, name="note", kind="text"))
    for columns in ((town, size, *others), (town, size, note)):
        checks = batch_body.check_size(b'{"instances":[' + much, RowReader(columns), ROWS)
        with pytest.raises(InvalidInput) if is_refused else contextlib.nullcontext():
            list(checks)


@pytest.mark.anyio
async def test_more_batches_at_once_than_the_limit_get_a_retry_after(sum_model: Path) -> None:
    client = client_of(sum_model, limits=Limits(batches=2))
    answers: list[httpx.Response] = []
    async with client.open() as opened:
        assert (await opened.post("/predict", content=b"{}")).status_code == 400  # FastAPI is imported

        async def send(body: bytes) -> None:
            answers.append(await opened.post("/predict", content=body))

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(send, batch(5000))
            tasks.start_soon(send, b'{"features":[1,2,3]}')
        assert (await opened.post("/predict", content=batch(5000))).status_code == 200
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 503, 503]
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert error_of(refused, 503)["message"] == "server: 2 batches are worked on, try again later"
    assert refused.headers["retry-after"] == "1"


def test_a_long_batch_is_answered_and_counted_alike_with_the_library(
    sum_model: Path, native_library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "native_rows", partial(native_rows, path=native_library))
    rows = b"[5e-324,-0,1e3],".join([b"[1.5, 2, 3e-1],[12,-7.25,99],"] * 3000)
    body = b'{"instances":[%b]}' % rows.rstrip(b",")
    seen = []
    kinds: tuple[ScorerKind, ...] = ("python", "native")
    for kind in kinds:
        predictor = cast(PortablePredictor, model_loader.load(sum_model))
        service = Service(Settings(), replace(predictor, scorer=kind))
        answer = Client(AsgiApp(service)).post("/predict", content=body)
        seen.append((answer.status_code, answer.text, service.metrics.predictions, service.metrics.bins))
    assert seen[0] == seen[1]
    assert seen[0][0] == 200
