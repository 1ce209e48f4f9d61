"""The hot path answers as FastAPI does, and the comparison would show it if it didn't."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from app.connections import request_body
from app.connections.row_reader import RowReader
from app.errors import AppError
from tests.service.differential import KINDS, Pair, differences
from tests.service.model import mixed_columns, number_reader
from tests.service.mutations import mutate_body, mutate_mixed_body
from tests.service.server import Server, run_service

IMPORTS = (
    "import sys; from app import metrics; from app.connections import hot_path, request_body;"
    " from app.modelling import portable_predictor\n"
)
# Enough to find each mutation; `python -m tests.service.differential` sends a million requests.
BODIES, HEADS, SWEEP = 150, 300, 1000
BODY_SEED, HEAD_SEED = 9, 5
COLD = {"HOT_PATH": "0"}
# Each makes the hot path wrong in one place; the program then runs as it does otherwise.
BODY_MUTATIONS = {
    "a field of any name is taken": (
        "import re; read = request_body._only_field; request_body._only_field ="
        ' lambda body, name: read(re.sub(rb\'"[^"]*"\', b\'"features"\', body), name)'
    ),
    "a field is taken twice": (
        "import json; hot_path.quick_features = lambda text, count:"
        " [float(x) for x in json.loads(text)['features']] if text.startswith(b'{\"features\":') else None"
    ),
    "an infinite result is answered": "portable_predictor.isfinite = lambda value: True",
    "predictions are not counted": "metrics.Metrics.count_prediction = lambda self, row: None",
}
HEAD_MUTATIONS = {
    "Expect is overlooked": "hot_path.FIELDS = hot_path.FIELDS.replace(b'|expect', b'')",
    "Connection is overlooked": "hot_path.FIELDS = hot_path.FIELDS.replace(b'|connection', b'')",
    "control characters are taken": "hot_path.FIELDS = hot_path.FIELDS.replace(b'[ -~]', b'[^\\r]')",
    "every id is sent back": "hot_path.ID = hot_path.ID.replace(hot_path.REQUEST_ID, b'[^\\r]*')",
    "a header is written otherwise": (
        "hot_path.ANSWER = hot_path.ANSWER.replace(b'content-type', b'Content-Type')"
    ),
    "a long head is taken": "hot_path.FIELDS = hot_path.FIELDS.replace(b'%d', b'9%d')",
}
MUTATIONS = BODY_MUTATIONS | HEAD_MUTATIONS


@pytest.fixture(scope="module", params=[*KINDS])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Yield the service with the hot path and without it."""
    write, _ = KINDS[request.param]
    folder = write(tmp_path_factory.mktemp("model"))
    with run_service(folder) as hot, run_service(folder, settings=COLD) as cold, Pair(hot, cold) as pair:
        yield pair


@pytest.fixture(scope="module")
def cold(sum_model: Path) -> Iterator[Server]:
    """Yield the service of a sum without the hot path."""
    with run_service(sum_model, settings=COLD) as cold:
        yield cold


@pytest.mark.parametrize(
    ("pair", "bodies", "heads", "mutate"),
    [
        ("classifier", BODIES, HEADS, mutate_body),
        ("regression", BODIES, HEADS, mutate_body),
        ("mixed", 4 * BODIES, 0, mutate_mixed_body),
    ],
    indirect=["pair"],
)
def test_the_hot_path_answers_as_fastapi_does(
    pair: Pair, bodies: int, heads: int, mutate: Callable[[Random], bytes]
) -> None:
    assert list(differences(pair, Random(BODY_SEED), bodies, 0, mutate)) == []
    assert list(differences(pair, Random(HEAD_SEED), 0, heads)) == []


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_wrong_hot_path_is_found(name: str, cold: Server, sum_model: Path) -> None:
    bodies, heads, seed = (BODIES, 0, BODY_SEED) if name in BODY_MUTATIONS else (0, HEADS, HEAD_SEED)
    mutated = f"{IMPORTS}{MUTATIONS[name]}\nfrom app.__main__ import main; sys.exit(main())"
    with run_service(sum_model, program=("-c", mutated)) as hot, Pair(hot, cold) as pair:
        assert next(differences(pair, Random(seed), bodies, heads), None)


def test_the_quick_reading_of_mixed_rows_takes_nothing_that_the_strict_one_reads_differently() -> None:
    reader, random, taken = RowReader(mixed_columns()), Random(7), 0
    for _ in range(SWEEP):
        body = mutate_mixed_body(random)
        row = request_body.quick_row(body, reader)
        if row is not None:
            assert repr(row) == repr(request_body.parse(body, reader, 10)), body
            taken += 1
    assert taken > SWEEP // 10


def test_the_quick_reading_of_a_body_takes_nothing_that_the_strict_one_reads_differently(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random, taken = Random(7), 0
    bodies = [mutate_body(random) for _ in range(SWEEP)]
    quick = [read(each) for each in bodies]
    monkeypatch.setattr(request_body, "_only_field", lambda text, name: None)
    for each, found in zip(bodies, quick, strict=True):
        assert found == read(each), each
        taken += "Batch" in found
    assert taken > SWEEP // 50


def read(text: bytes) -> str:
    """Return what a body holds, or why it is refused, to the sign of zero."""
    row = request_body.quick_features(text, 3)
    assert row is None or all(map(math.isfinite, row))
    try:
        return repr(request_body.parse(text, number_reader(), 10) if row is None else row)
    except AppError as error:
        return f"{error!r} {error}"
