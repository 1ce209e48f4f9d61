"""The hot path answers as FastAPI does, and the comparison would show it if it didn't."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from app.connections import request_body
from app.connections.row_reader import RowReader
from app.errors import AppError
from tests.service.differential import Pair, differences
from tests.service.model import mixed_columns, number_reader, write_mixed, write_model, write_sum
from tests.service.mutations import mutate_body, mutate_mixed_body
from tests.service.server import PROGRAM, run_service

IMPORTS = (
    "import sys; from app import metrics; from app.connections import hot_path, request_body;"
    " from app.modelling import portable_predictor\n"
)
# Enough to find each mutation; `python -m tests.service.differential` sends a million requests.
BODIES, HEADS, SEED = 1500, 1000, 5
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


@contextlib.contextmanager
def pair(folder: Path, environment: dict[str, str], mutation: str = "") -> Iterator[Pair]:
    """Run the service twice, the first time with the hot path, which the mutation has changed."""
    mutated = ("-c", f"{IMPORTS}{mutation}\nfrom app.__main__ import main; sys.exit(main())")
    with (
        run_service(folder, environment=environment, program=mutated if mutation else PROGRAM) as hot,
        run_service(folder, environment=environment, settings={"HOT_PATH": "0"}) as cold,
        Pair(hot, cold) as both,
    ):
        yield both


@pytest.mark.parametrize("write", [write_model, write_sum], ids=["classifier", "regression"])
@pytest.mark.parametrize(("bodies", "heads"), [(BODIES, 0), (0, HEADS)], ids=["bodies", "heads"])
def test_the_hot_path_answers_as_fastapi_does(
    write: Callable[[Path], Path], bodies: int, heads: int, unmeasured: dict[str, str], tmp_path: Path
) -> None:
    with pair(write(tmp_path), unmeasured) as both:
        assert list(differences(both, Random(SEED), bodies, heads)) == []


def test_the_hot_path_answers_mixed_rows_and_names_as_fastapi_does(
    unmeasured: dict[str, str], tmp_path: Path
) -> None:
    with pair(write_mixed(tmp_path), unmeasured) as both:
        assert list(differences(both, Random(SEED), 2 * BODIES, 0, mutate_mixed_body)) == []


def test_the_quick_reading_of_mixed_rows_takes_nothing_that_the_strict_one_reads_differently() -> None:
    reader, random, taken = RowReader(mixed_columns()), Random(7), 0
    for _ in range(20_000):
        body = mutate_mixed_body(random)
        row = request_body.quick_row(body, reader)
        if row is not None:
            assert repr(row) == repr(request_body.parse(body, reader, 10)), body
            taken += 1
    assert taken > 2000


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_wrong_hot_path_is_found(name: str, unmeasured: dict[str, str], tmp_path: Path) -> None:
    bodies, heads = (BODIES, 0) if name in BODY_MUTATIONS else (0, HEADS)
    with pair(write_sum(tmp_path), unmeasured, MUTATIONS[name]) as both:
        assert next(differences(both, Random(SEED), bodies, heads), None)


def test_the_quick_reading_of_a_body_takes_nothing_that_the_strict_one_reads_differently(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random, taken = Random(7), 0
    bodies = [mutate_body(random) for _ in range(5000)]
    quick = [read(each) for each in bodies]
    monkeypatch.setattr(request_body, "_only_field", lambda text, name: None)
    for each, found in zip(bodies, quick, strict=True):
        assert found == read(each), each
        taken += "Batch" in found
    assert taken > 100


def read(text: bytes) -> str:
    """Return what a body holds, or why it is refused, to the sign of zero."""
    row = request_body.quick_features(text, 3)
    assert row is None or all(map(math.isfinite, row))
    try:
        return repr(request_body.parse(text, number_reader(), 10) if row is None else row)
    except AppError as error:
        return f"{error!r} {error}"
