"""Differential test of a service with the hot path and one without it: same requests, same responses.

`python -m tests.service.differential --bodies 500000 --heads 500000 [--seed 7]` sends a million requests to
three kinds of models in turn; `--only mixed` takes the one with categories, texts, missing values and names.
It prints the segments that were sent, so that a difference can be repeated. It compares the bytes of all
responses (except the date and ids that the service made), whether the connection still works afterwards, and
at the end the counters.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from tests.service.model import write_mixed, write_model, write_sum
from tests.service.mutations import PROBE, mutate_body, mutate_head, mutate_mixed_body
from tests.service.server import Server, Wire, run_service

OURS = re.compile(rb"(?m)^date: [^\r]*\r\n|(?<=^x-request-id: )[0-9a-f]{28}(?=\r$)")
COUNTED = re.compile(r"http_requests_total|http_request_seconds_count|predictions_total|input_bin_|model_")

KINDS = {
    "classifier": (write_model, mutate_body),
    "regression": (write_sum, mutate_body),
    "mixed": (write_mixed, mutate_mixed_body),
}


class Pair:
    """A service with the hot path and one without, each with a connection that shows when it has read all."""

    def __init__(self, hot: Server, cold: Server) -> None:
        self.servers = (hot, cold)
        self._before = self._count()
        self._barriers = [server.connect() for server in self.servers]
        self._wires: list[Wire] = []

    def __enter__(self) -> Pair:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave(self._wires)
        self._leave(self._barriers)

    def send_body(self, body: bytes) -> list[bytes]:
        """Return both answers to a body, on connections that are kept until an answer ends them."""
        self._wires = self._wires or [server.connect() for server in self.servers]
        for wire in self._wires:
            wire.send(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        answers = [wire.raw_reply() for wire in self._wires]
        if not all(answers) or any(b"\r\nconnection: close\r\n" in answer for answer in answers):
            self._leave(self._wires)
        return answers

    def send_segments(self, segments: list[bytes]) -> list[bytes]:
        """Return both servers' responses to segments, each of which they read by itself."""
        with contextlib.ExitStack() as stack:
            wires = [stack.enter_context(server.connect()) for server in self.servers]
            for index, segment in enumerate(segments):
                if index:
                    self._wait_until_read()
                for wire in wires:
                    wire.send(segment)
            for wire in wires:
                wire.say_no_more()
            return [wire.rest() for wire in wires]

    def _wait_until_read(self) -> None:
        """Send each server two other requests; after the second response it has read all earlier segments."""
        for barrier in self._barriers * 2:
            barrier.send(PROBE)
            assert barrier.reply().status == 200

    def counters(self) -> list[dict[str, float]]:
        """Return what both have counted since then, without times and addresses of the process."""
        return [
            {name: value - before.get(name, 0) for name, value in after.items()}
            for before, after in zip(self._before, self._count(), strict=True)
        ]

    def _count(self) -> list[dict[str, float]]:
        found = [server.metrics() for server in self.servers]
        return [{name: value for name, value in each.items() if COUNTED.match(name)} for each in found]

    @staticmethod
    def _leave(wires: list[Wire]) -> None:
        for wire in wires:
            wire.socket.close()
        wires.clear()


def differences(
    pair: Pair, random: Random, bodies: int, heads: int, mutated: Callable[[Random], bytes] = mutate_body
) -> Iterator[str]:
    """Yield the differences of the two: in responses to bodies, to heads, and in their counters."""
    for _ in range(bodies):
        body = mutated(random)
        yield from _difference(body, pair.send_body(body))
    for _ in range(heads):
        segments = mutate_head(random)
        yield from _difference(segments, pair.send_segments(segments))
    hot, cold = pair.counters()
    for name in sorted({*hot, *cold}):
        if hot.get(name, 0) != cold.get(name, 0):
            yield f"{name}: {hot.get(name)} with the hot path, {cold.get(name)} without"


def _difference(sent: object, answers: list[bytes]) -> Iterator[str]:
    hot, cold = (OURS.sub(b"", answer) for answer in answers)
    if hot != cold:
        yield f"{sent!r}:\n  {hot!r} with the hot path,\n  {cold!r} without"


def main() -> int:
    """Compare at length; return 1 after a difference."""
    parser = argparse.ArgumentParser(description="Compare the service with and without its hot path.")
    parser.add_argument("--bodies", type=int, default=20_000)
    parser.add_argument("--heads", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--only", choices=KINDS, help="the kind of model to test")
    options = parser.parse_args()
    found = 0
    kinds = [KINDS[options.only]] if options.only else [*KINDS.values()]
    for write, mutated in kinds:
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            write(Path(folder))
            servers = [
                stack.enter_context(run_service(Path(folder), settings={"HOT_PATH": switch}))
                for switch in "10"
            ]
            sent = options.bodies // len(kinds), options.heads // len(kinds)
            pair = stack.enter_context(Pair(*servers))
            for difference in differences(pair, Random(options.seed), *sent, mutated):
                print(difference, flush=True)
                found += 1
    print(f"{options.bodies} bodies and {options.heads} heads: {found} differences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
