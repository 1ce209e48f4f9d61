"""Whoever starts the revisions that a stand-in for Cloud Run waits for, as a rehearsal does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from fakecloud import addresses

SECONDS = "0.2"  # that the stand-in waits for a revision before it is asked again


@contextmanager
def starting(base: str, key: str, start: Callable[[dict[str, Any]], str]) -> Iterator[None]:
    """Start whatever revision is told while the block runs; `start` returns where it answers."""
    over = threading.Event()
    thread = threading.Thread(target=_work, args=[base, key, start, over])
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _work(base: str, key: str, start: Callable[[dict[str, Any]], str], over: threading.Event) -> None:
    control, headers = f"{base}{addresses.CONTROL}", {"Authorization": f"Bearer {key}"}
    with httpx.Client(headers=headers, timeout=30, trust_env=False) as http:
        while not over.is_set():
            waiting = http.get(f"{control}/pending", params={"seconds": SECONDS}).raise_for_status()
            if waiting.status_code == httpx.codes.OK:
                told = waiting.json()
                sent = {"instance": start(told)}
                http.post(f"{control}/revisions/{told['revision']}", json=sent).raise_for_status()
