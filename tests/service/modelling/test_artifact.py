"""Model folders: what is saved is loaded again, and unusable ones are refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.errors import ArtifactError
from app.modelling import artifact, estimator
from app.modelling.artifact import Bins
from app.modelling.estimator import EstimatorPredictor
from app.modelling.model_loader import load
from app.modelling.portable import binary_format, json_format
from app.modelling.portable_predictor import PortablePredictor

Card = dict[str, Any]


@pytest.fixture
def folder(model_dir: Path, tmp_path: Path) -> Path:
    """Return a copy of the model, to be spoilt."""
    return Path(shutil.copytree(model_dir, tmp_path / "model"))


@pytest.fixture
def unportable(folder: Path) -> Path:
    """Return a copy of the model without its portable form."""
    (folder / artifact.PORTABLE_FILE).unlink()
    edit_card(folder, lambda card: card.update(portable=None, not_portable="for a test"))
    return folder


def edit_card(folder: Path, edit: Callable[[Card], object]) -> None:
    path = folder / artifact.CARD_FILE
    card = json.loads(path.read_text())
    edit(card)
    path.write_text(json.dumps(card))


def replace_pickle(folder: Path, content: bytes) -> None:
    """Put another estimator there, with a card that knows it."""
    (folder / artifact.MODEL_FILE).write_bytes(content)
    edit_card(folder, lambda card: card.update(artifact_sha256=artifact.sha256(content)))


def edit_portable(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change the portable model, with a card that knows it."""
    path = folder / artifact.PORTABLE_FILE
    model = json.loads(path.read_text())
    edit(model)
    path.write_text(json.dumps(model))
    edit_card(folder, lambda card: card["portable"].update(sha256=artifact.sha256(path.read_bytes())))


def test_load_card_returns_what_save_wrote(model_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "when missing"
    artifact.save(folder, artifact.load_card(model_dir), {artifact.MODEL_FILE: b"a pickle"})
    assert (folder / artifact.CARD_FILE).read_bytes() == (model_dir / artifact.CARD_FILE).read_bytes()
    assert (folder / artifact.MODEL_FILE).read_bytes() == b"a pickle"
    assert artifact.load_card(folder) == artifact.load_card(model_dir)


def test_save_leaves_nothing_of_an_earlier_model_and_all_that_is_not_a_model_s(folder: Path) -> None:
    (folder / "notes.svg").write_text("mine")
    artifact.save(folder, artifact.load_card(folder), {artifact.MODEL_FILE: b""})
    assert {path.name for path in folder.iterdir()} == {
        *(artifact.CARD_FILE, artifact.MODEL_FILE),
        *("notes.svg", "settings.toml"),
    }


def test_a_portable_model_is_served_in_plain_python(folder: Path) -> None:
    (folder / artifact.MODEL_FILE).unlink()
    program = (
        "import sys; from pathlib import Path; from app.modelling.model_loader import load\n"
        f"print(load(Path({str(folder)!r})).on_loop, *sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    on_loop, *modules = done.stdout.split()
    assert on_loop == "True"
    assert not {"joblib", "numpy", "pydantic", "scipy", "sklearn"} & set(modules)


def test_a_model_without_portable_form_is_served_by_scikit_learn(unportable: Path, model_dir: Path) -> None:
    portable, predictor = load(model_dir), load(unportable)
    assert isinstance(portable, PortablePredictor)
    assert isinstance(predictor, EstimatorPredictor)
    assert not predictor.on_loop
    rows = [[12.0, 15.0, 0.3], [20.0, 25.0, 1.0]]
    expected = pytest.approx(portable.predict_all(rows), rel=0, abs=1e-12)
    assert predictor.predict_all(rows) == expected
    assert [predictor.predict(row) for row in rows] == expected


def test_load_tells_to_take_the_full_image_when_scikit_learn_is_missing(unportable: Path) -> None:
    program = (
        "import sys; sys.modules['joblib'] = None; from pathlib import Path\n"
        "from app.modelling.model_loader import load\n"
        f"load(Path({str(unportable)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert re.search(
        r"ArtifactError: .*not portable \(for a test\) and joblib is not installed; .*runtime-full",
        done.stderr,
    )


@pytest.mark.parametrize("name", [artifact.PORTABLE_FILE, artifact.CARD_FILE])
def test_load_refuses_a_file_that_is_too_long_before_reading_it(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / name).write_bytes(b" " * 20_000)
    for limit in ("MAX_BYTES", "MAX_CARD_BYTES"):
        monkeypatch.setattr(artifact, limit, 10_000)
    with pytest.raises(ArtifactError, match=f"{name} is longer than 10000 bytes"):
        load(folder)


@pytest.mark.parametrize("name", [artifact.PORTABLE_FILE, artifact.CARD_FILE])
@pytest.mark.parametrize("target", ["/dev/zero", "pipe"])
def test_load_refuses_what_is_no_regular_file_and_does_not_wait_for_it(
    folder: Path, name: str, target: str
) -> None:
    os.mkfifo(folder / "pipe")
    (folder / name).unlink()
    (folder / name).symlink_to(target)
    with pytest.raises(ArtifactError, match=f"{name} is not a regular file; train again"):
        load(folder)


def test_a_model_in_format_2_is_served(folder: Path, model_dir: Path) -> None:
    path = folder / artifact.PORTABLE_FILE
    model = replace(json_format.parse(path.read_bytes(), "model.json"), format=binary_format.FORMAT)
    content = binary_format.write(model)
    path.unlink()
    (folder / artifact.BINARY_FILE).write_bytes(content)
    edit_card(folder, lambda card: card["portable"].update(format=2, sha256=artifact.sha256(content)))
    rows = [[12.0, 15.0, 0.3], [20.0, 25.0, 1.0]]
    assert load(folder).predict_all(rows) == load(model_dir).predict_all(rows)


def test_load_refuses_a_library_that_is_not_installed(
    unportable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimator, "LIBRARIES", ("no-such-library",))
    edit_card(unportable, lambda card: card["libraries"].update({"no-such-library": "1"}))
    with pytest.raises(ArtifactError, match=r"trained with no-such-library 1 \(here none\)"):
        load(unportable)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda card: card.pop("classes"), "classes: expected this field, got nothing"),
        (lambda card: card.update(features=[]), "features: expected one or more, got none"),
        (lambda card: card.update(more=1), "more: expected no such field, got 1"),
        (lambda card: card.update(name=1), "name: expected a string, got 1"),
        (lambda card: card.update(task="guess"), "task: expected one of classification, regression, got 'gu"),
        (lambda card: card.update(rows=[]), r"rows: expected an object, got \[\]"),
        (lambda card: card["rows"].update(train=True), r"rows\.train: expected an integer, got True"),
        (
            lambda card: card["features"][1]["quantiles"].update({"0.5": "1"}),
            r"features\[1\]\.quantiles\.0\.5: expected a finite number, got '1'",
        ),
        (
            lambda card: card["features"][0]["bins"].update(edges=[1, None]),
            r"features\[0\]\.bins\.edges\[1\]: expected a finite number, got nothing",
        ),
        (lambda card: card["metrics"].update(accuracy=2**53 + 1), "metrics.accuracy: expected a finite"),
        (lambda card: card.update(portable={"sha256": "0"}), r"portable\.format: expected this field"),
        (lambda card: card.update(positive=None), "positive: expected one of two classes, and null without"),
        (lambda card: card.update(positive="unheard of"), "positive: expected one of two classes"),
        (lambda card: card.update(classes=["malignant"]), "positive: expected one of two classes"),
        (lambda card: card["features"][0]["quantiles"].pop("0.5"), "the card has no median of a feature"),
    ],
)
def test_load_refuses_a_malformed_card(folder: Path, edit: Callable[[Card], object], reason: str) -> None:
    edit_card(folder, edit)
    with pytest.raises(ArtifactError, match=f"{reason}.*; train again"):
        load(folder)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is not JSON: Expecting property name"),
        ("[" * 100_000, "is not JSON: maximum recursion depth"),
        ('{"name": NaN}', "is not JSON: NaN is no number"),
        ('{"rows": 1' + "0" * 5000 + "}", "is not JSON: Exceeds the limit"),
        ('{"name": "a", "name": "b"}', "is not JSON: an object has a field twice, of name"),
        ("{}".encode("utf-16"), "is not JSON: 'utf-8' codec can't decode"),
        ("[]", r"expected an object, got \[\]"),
        ('{"metrics": {"accuracy": 1e999}}', "name: expected this field"),
    ],
)
def test_load_refuses_a_card_that_is_no_json_object(folder: Path, content: str | bytes, reason: str) -> None:
    (folder / artifact.CARD_FILE).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ArtifactError, match=reason):
        load(folder)


def unlink(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def edited(edit: Callable[[Card], object]) -> Callable[[Path], None]:
    return lambda folder: edit_card(folder, edit)


def put_folder_in_place(folder: Path) -> None:
    (folder / artifact.PORTABLE_FILE).unlink()
    (folder / artifact.PORTABLE_FILE).mkdir()


def pretend_other_versions(folder: Path) -> None:
    (folder / artifact.MODEL_FILE).unlink()  # which isn't read
    edit_card(folder, lambda card: card["libraries"].update({"scikit-learn": "0.1", "python": "2.7"}))


def score_two_of_three(folder: Path) -> None:
    edit_card(folder, lambda card: card.update(classes=["a", "b", "c"], positive=None))
    rows = [[1.0, 2.0, 3.0]] * 2
    edit_portable(folder, lambda model: model.update(answer="index", start=[0.0, 1.0], coefficients=rows))


def overflow(folder: Path) -> None:
    huge = {"steps": [], "start": [1e308], "answer": "value", "coefficients": [[1e308] * 3]}
    edit_portable(folder, lambda model: model.update(huge))


pop_feature = edited(lambda card: card["features"].pop())
SIGMOID = "answers sigmoid of 1 scores, its card says .* with"
ALTERED, MEDIANS = "has SHA-256 .* its card says .*; train again", "does not predict its card's medians"
PORTABLE_REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no model": (unlink(artifact.PORTABLE_FILE), r"model\.json: No such file.*run `python train_model.py`"),
    "no card": (unlink(artifact.CARD_FILE), r"card\.json: No such file.*run `python train_model.py`"),
    "altered": (lambda folder: (folder / artifact.PORTABLE_FILE).write_bytes(b"{}"), ALTERED),
    "a folder": (put_folder_in_place, r"cannot read .*model\.json: Is a directory"),
    "another format": (
        edited(lambda card: card["portable"].update(format=3)),
        "has format 3, this service reads 1 and 2; train again",
    ),
    "other medians": (overflow, f"{MEDIANS}: .*finite result"),
    "fewer features": (pop_feature, r"model\.json takes 3 features, its card says 2"),
    "no classes": (edited(lambda card: card.update(classes=[], positive=None)), f"{SIGMOID} 0 classes"),
    "three classes": (
        edited(lambda card: card.update(classes=["a", "b", "c"], positive=None)),
        f"{SIGMOID} 3 classes",
    ),
    "fewer scores": (score_two_of_three, "answers index of 2 scores, its card says .* with 3 classes"),
}
ESTIMATOR_REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no pickle": (unlink(artifact.MODEL_FILE), r"cannot read .*model\.joblib: No such file"),
    "altered": (lambda folder: (folder / artifact.MODEL_FILE).write_bytes(b"not even a pickle"), ALTERED),
    "other libraries": (
        pretend_other_versions,
        r"trained with python 2\.7 \(here 3\.\d+\), scikit-learn 0\.1 \(here ",
    ),
    "no pickle in it": (lambda folder: replace_pickle(folder, b"not a pickle"), "cannot unpickle .*joblib: "),
    "no estimator": (
        lambda folder: replace_pickle(folder, estimator.serialize({"not": "an estimator"})),  # type: ignore[arg-type]
        f"{MEDIANS}: .*AttributeError",
    ),
    "fewer features": (pop_feature, MEDIANS),
}


@pytest.mark.parametrize(("spoil", "reason"), PORTABLE_REFUSED.values(), ids=list(PORTABLE_REFUSED))
def test_load_refuses_a_portable_model(folder: Path, spoil: Callable[[Path], object], reason: str) -> None:
    spoil(folder)
    with pytest.raises(ArtifactError, match=reason):
        load(folder)


@pytest.mark.parametrize(("spoil", "reason"), ESTIMATOR_REFUSED.values(), ids=list(ESTIMATOR_REFUSED))
def test_load_refuses_an_estimator(unportable: Path, spoil: Callable[[Path], object], reason: str) -> None:
    spoil(unportable)
    with pytest.raises(ArtifactError, match=reason):
        load(unportable)


def test_a_bin_holds_values_up_to_its_edge() -> None:
    bins = Bins((1.0, 2.0), (0.3, 0.3, 0.4))
    assert [bins.index(value) for value in (-9.0, 1.0, 1.5, 2.0, 2.5)] == [0, 0, 1, 1, 2]
