"""The native scorer beside the one in Python: the same results to the last bit, the same refusals."""

from __future__ import annotations

import ctypes
import random
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from app.errors import ArtifactError
from app.modelling.portable import native
from app.modelling.portable.binary_format import FORMAT
from app.modelling.portable.model import Model, doubles
from app.modelling.portable.scorer import scorer
from tests.conftest import ROOT
from tests.service.random_models import random_model, random_rows

MODELS, ROWS = 400, 25


def linear(features: int = 30) -> Model:
    """Return the model that adds its features."""
    weights = doubles([1.0] * features)
    return Model(FORMAT, features, (), (0.0,), weights, None, 1, "value")


@pytest.mark.parametrize("seed", range(4))
def test_both_scorers_give_the_same_bits(native_library: Path, seed: int) -> None:
    chance = random.Random(seed)
    kinds = set()
    for _ in range(MODELS // 4):
        model = random_model(chance)
        compiled, plain = scorer(model, library=native_library), scorer(model, library=None)
        kinds.add((model.forest is None, bool(model.steps), len(model.start)))
        rows = random_rows(chance, model, chance.choice((1, 7, 8, ROWS)))
        expected = plain.scores(rows)
        assert repr(compiled.scores(rows)) == repr(expected)
        assert repr([compiled.row_scores(row) for row in rows]) == repr(expected)
        assert repr(compiled.all(rows)) == repr(plain.all(rows))
    assert len(kinds) == 8


def test_a_batch_beyond_all_blocks_is_scored_row_by_row_alike(
    native_library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(1)
    model = next(each for each in iter(lambda: random_model(chance), None) if each.forest)
    monkeypatch.setattr(native, "NUMBERS_AT_ONCE", 4500)
    rows = random_rows(chance, model, 5003)
    compiled = scorer(model, library=native_library)
    assert repr(compiled.scores(rows)) == repr(scorer(model, library=None).scores(rows))


def test_the_library_says_that_it_scores(native_library: Path, tmp_path: Path) -> None:
    assert scorer(linear(), library=native_library).kind == "native"
    assert scorer(linear(), library=None).kind == "python"
    assert scorer(linear(), library=tmp_path / "missing.so").kind == "python"


def test_a_library_of_another_version_is_refused(
    native_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "libscorer.so"
    other.write_bytes(native_library.read_bytes())
    monkeypatch.setattr(native, "ABI", native.ABI + 1)
    with pytest.raises(ArtifactError, match=r"libscorer.so has version \d+, .* needs \d+; run `python"):
        scorer(linear(), library=other)


def test_the_library_and_python_agree_on_the_memory_of_a_model(native_library: Path) -> None:
    assert native.library(native_library) is not None
    assert ctypes.sizeof(native._Step) == 20


@pytest.mark.parametrize("rows", [[[1.0] * 29], [[1.0] * 31], [[1.0] * 29, [1.0] * 30]])
def test_rows_of_another_width_never_reach_the_library(native_library: Path, rows: list[list[float]]) -> None:
    found = scorer(linear(), library=native_library)
    with pytest.raises(ValueError, match="expected .*30 features"):
        found.row_scores(rows[0])
    with pytest.raises(ValueError, match="expected rows of 30 features"):
        found.scores(rows)


def test_threads_score_side_by_side(native_library: Path) -> None:
    found, results = scorer(linear(), library=native_library), dict[int, list[float]]()

    def work(number: int) -> None:
        results[number] = found.scores([[float(number)] * 30] * 2000)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: [30.0 * number] * 2000 for number in range(8)}


def test_a_library_beside_the_scorer_is_used_by_default(
    native_library: Path, model_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "app", tmp_path / "app", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    shutil.copy(native_library, tmp_path / "app/modelling/portable" / native.LIBRARY.name)
    program = (
        "from pathlib import Path; from app.modelling.model_loader import load\n"
        f"print(load(Path({str(model_dir)!r})).scorer)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("native\n", "")
