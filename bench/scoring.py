"""Benchmark of portable models beside scikit-learn, ONNX Runtime, treelite and LightGBM, on one core.

    uv venv out/bench
    uv pip install --python out/bench --no-deps --require-hashes -r bench/requirements.txt
    out/bench/bin/python bench/scoring.py

Prints for each model how long the portable one takes to load, and for each contender the microseconds that a
row takes by itself and in a batch of BATCH. Contenders take turns, and a figure is the least of ROUNDS: other
programs only ever add to it. LightGBM has a model of its own, of the same size and fitted to the same data.
The native scorer is compiled first. About two minutes, of which half is fitting.
"""

from __future__ import annotations

import os

os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})  # read when NumPy is imported

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "docker"))

import lightgbm
import numpy as np
import onnxruntime
import skl2onnx
import treelite
from numpy.typing import NDArray
from sklearn import ensemble
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import compile_scorer
from app.modelling.portable import binary_format
from app.modelling.portable.scorer import scorer
from training.portable_form.export import export

BATCH, SINGLES, ROUNDS = 1000, 100, 15
ROWS, FEATURES = 20_000, 30
HEAD = ("model", "nodes", "load ms", "contender", "row us", "batch us a row")

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Contender:
    """A predictor of a row, and of a batch of rows."""

    name: str
    one: Callable[[int], object]
    many: Callable[[], object]


def estimators() -> dict[str, tuple[Any, int]]:
    """Return the estimators to fit by name, with the number of features."""
    linear = make_pipeline(StandardScaler(), LogisticRegression())
    smaller = ensemble.RandomForestClassifier(min_samples_leaf=5, random_state=0)
    histogram = ensemble.HistGradientBoostingClassifier(max_iter=300, early_stopping=False)
    return {
        "logistic regression, 3 features": (linear, 3),
        "logistic regression": (linear, FEATURES),
        "boosting 100 x depth 3": (ensemble.GradientBoostingClassifier(random_state=0), FEATURES),
        "histogram boosting 300 x 31": (histogram, FEATURES),
        "forest 100, leaves of 5": (smaller, FEATURES),
        "forest 100": (ensemble.RandomForestClassifier(random_state=0), FEATURES),
    }


def data() -> tuple[Rows, NDArray[np.int64]]:
    """Return rows of normal features, and a class that half of them decide, with some noise."""
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS, FEATURES))
    decided = x @ (random.normal(size=FEATURES) * (np.arange(FEATURES) % 2))
    return x, (decided + 3 * np.sin(3 * x[:, 0]) + random.normal(size=ROWS) > 0).astype(np.int64)


def contenders(name: str, estimator: Any, x: Rows, y: NDArray[np.int64], ours: Any) -> Iterator[Contender]:
    """Yield everything that predicts what the estimator does, and LightGBM beside histogram boosting."""
    batch = x[:BATCH]
    rows, single = batch.tolist(), batch.astype(np.float32)
    yield Contender("portable, native", lambda i: ours.one(rows[i]), lambda: ours.all(rows))
    yield Contender(
        "scikit-learn",
        lambda i: estimator.predict_proba(batch[i : i + 1]),
        lambda: estimator.predict_proba(batch),
    )
    if name.startswith("histogram"):
        theirs = lightgbm.LGBMClassifier(n_estimators=300, num_leaves=31, n_jobs=1, verbose=-1)
        predict = theirs.fit(x, y).booster_.predict
        yield Contender("LightGBM", lambda i: predict(batch[i : i + 1]), lambda: predict(batch))
    else:
        session = _onnx_session(estimator, single)
        yield Contender(
            "ONNX Runtime",
            lambda i: session.run(None, {"X": single[i : i + 1]}),
            lambda: session.run(None, {"X": single}),
        )
    if not name.startswith("logistic"):
        model, kind = (
            treelite.sklearn.import_model(estimator),
            np.float64 if "histogram" in name else np.float32,
        )
        typed = batch.astype(kind)
        yield Contender(
            "treelite",
            lambda i: treelite.gtil.predict(model, typed[i : i + 1], nthread=1),
            lambda: treelite.gtil.predict(model, typed, nthread=1),
        )


def _onnx_session(estimator: Any, x: NDArray[np.float32]) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    converted = skl2onnx.to_onnx(estimator, x[:1], options={"zipmap": False})
    return onnxruntime.InferenceSession(converted.SerializeToString(), options)


def measure(name: str, estimator: Any, x: Rows, y: NDArray[np.int64], library: Path) -> Iterator[list[str]]:
    """Yield the lines of the table for a fitted estimator."""
    content = binary_format.write(export(estimator, 1))
    load = least(lambda: scorer(binary_format.parse(content, "model.bin"), library=library), ROUNDS)
    model = binary_format.parse(content, "model.bin")
    found = [*contenders(name, estimator, x, y, scorer(model, library=library))]
    ones, batches = [float("inf")] * len(found), [float("inf")] * len(found)
    for _ in range(ROUNDS):
        for place, contender in enumerate(found):
            ones[place] = min(ones[place], least(partial(singles, contender), 1) / SINGLES)
            batches[place] = min(batches[place], least(contender.many, 1) / BATCH)
    lead = [name, str(model.nodes), f"{load * 1e3:.1f}"]
    for contender, one, batch in zip(found, ones, batches, strict=True):
        yield [*lead, contender.name, f"{one * 1e6:.2f}", f"{batch * 1e6:.2f}"]
        lead = ["", "", ""]


def singles(contender: Contender) -> None:
    """Predict SINGLES rows, one by one."""
    for row in range(SINGLES):
        contender.one(row)


def least(work: Callable[[], object], rounds: int) -> float:
    """Return the seconds that a piece of work takes at least."""
    times = []
    for _ in range(rounds):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


def main() -> None:
    """Compile the scorer, fit and measure every estimator, and print the table."""
    lines: list[list[str]] = [list(HEAD)]
    x, y = data()
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "libscorer.so")
        compile_scorer.compile_scorer(library)
        for name, (estimator, features) in estimators().items():
            rows = x[:, :features]
            lines += measure(name, estimator.fit(rows, y), rows, y, library)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(map(str.ljust, line, widths)).rstrip())


if __name__ == "__main__":
    main()
