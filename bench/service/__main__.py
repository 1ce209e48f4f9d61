"""`PYTHONPATH=.:ci python -m bench.service --output out`: measure this service beside the others."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

from bench.service import image, report
from bench.service.contestants import contestants
from bench.service.rounds import Plan, measured


def main() -> int:
    """Measure, print the table and the ratios, and return the exit status."""
    given = _parser().parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        print("the benchmark needs two cores: one for the server, one for its client", file=sys.stderr)
        return 1
    card = json.loads((given.model / "card.json").read_text())
    features = [feature["quantiles"]["0.5"] for feature in card["features"]]
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(features, given.rounds, given.seconds, Path(folder))
        raw = []
        for figures in measured(plan, contestants(given.root, given.model)):
            raw.append(figures)
            print(f"round {figures['round']}: {figures['contestant']}", file=sys.stderr, flush=True)
    machine = {"processor": platform.processor() or platform.machine(), "python": platform.python_version()}
    sizes = image.sizes(given.image) if given.image else {}
    found = report.results(raw, sizes, machine)
    report.write(given.output, found)
    print(report.table(raw))
    print(json.dumps({name: each for name, each in found.items() if name != "rounds"}, indent=1))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.service", description="Measure this service beside others.")
    parser.add_argument("--output", type=Path, default=Path("out"), help="where results.json goes (out)")
    parser.add_argument(
        "--model", type=Path, default=Path("model"), help="the trained model's folder (model)"
    )
    parser.add_argument("--root", type=Path, help="an image's root folder to run this service from")
    parser.add_argument("--image", type=Path, help="the image's archive, for its sizes")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (5)")
    parser.add_argument("--seconds", type=int, default=5, help="how long each load lasts (5)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
