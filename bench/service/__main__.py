"""`PYTHONPATH=.:ci python -m bench.service --output out`: measure this service beside others."""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import joblib

from bench.service import image, onnx_models, report
from bench.service.contestants import (
    PEER,
    USUAL,
    bare_contestants,
    other_contestants,
    portable_contestants,
)
from bench.service.rounds import BATCH_ROWS, CONNECTIONS, CONNECTIONS_FOR_BATCHES, Plan, measure_rounds


def main() -> int:
    """Measure, print the tables and the ratios, and return the exit status."""
    given = _parser().parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        print("the benchmark needs two cores: one for the server, one for its client", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        raw = []
        for figures in measure_rounds(plans(given, Path(folder)), given.rounds):
            raw.append(figures)
            place = f"round {figures['round']}: {figures['model']}, {figures['contestant']}"
            print(place, file=sys.stderr, flush=True)
    machine = {"processor": platform.processor() or platform.machine(), "python": platform.python_version()}
    others = {"naive": USUAL, "peer": PEER, "uvicorn": ("uvicorn",)}
    sizes = image.compared_sizes(given.image, given.base, others) if given.image else {}
    found = report.results(raw, sizes, machine)
    report.write(given.output, found)
    print(report.table(found), report.table_of_batches(raw), report.table_of_scikit_learn(raw), sep="\n")
    print(json.dumps({name: each for name, each in found.items() if name != "rounds"}, indent=1))
    return 0


def plans(given: argparse.Namespace, folder: Path) -> list[Plan]:
    """Return what is measured: the given model wholly, and those that `bench.service.models` has trained."""
    found = []
    for name in report.MODELS:
        model = given.model if name == report.DEFAULT else given.models / name
        rows, work = _rows(model), folder / name
        work.mkdir()
        if name == "neighbors":
            contestants, connections = other_contestants(model), CONNECTIONS_FOR_BATCHES
        else:
            contestants, connections = portable_contestants(given.root, _with_peer(model, work)), CONNECTIONS
        whole = name == report.DEFAULT
        contestants += bare_contestants() if whole else []
        found.append(Plan(name, rows, contestants, given.seconds, work, connections, whole))
    return found


def _with_peer(model: Path, work: Path) -> Path:
    """Return a folder with the model's files, and the same model as ONNX."""
    folder = work / "model"
    folder.mkdir()
    for path in model.iterdir():
        (folder / path.name).symlink_to(path.resolve())
    onnx_models.write(joblib.load(model / "model.joblib"), folder / "model.onnx")
    return folder


def _rows(model: Path) -> list[list[float]]:
    """Return rows around the middle of the training rows, with all digits but for the first: medians."""
    card: Any = json.loads((model / "card.json").read_text())
    quantiles = [feature["quantiles"] for feature in card["features"]]
    chance = random.Random(0)
    rows = [[chance.uniform(each["0.25"], each["0.75"]) for each in quantiles] for _ in range(BATCH_ROWS)]
    return [[each["0.5"] for each in quantiles], *rows[1:]]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.service", description="Measure this service beside others.")
    parser.add_argument("--output", type=Path, default=Path("out"), help="where results.json goes (out)")
    parser.add_argument(
        "--model", type=Path, default=Path("model"), help="the trained model's folder (model)"
    )
    parser.add_argument(
        "--models", type=Path, default=Path("out/models"), help="what bench.service.models wrote (out/models)"
    )
    parser.add_argument("--root", type=Path, help="an image's root folder to run this service from")
    parser.add_argument("--image", type=Path, help="the image's archive, for its sizes")
    parser.add_argument("--base", type=Path, help="the folder of the base image of others, for their sizes")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (5)")
    parser.add_argument("--seconds", type=int, default=4, help="how long each load lasts (4)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
