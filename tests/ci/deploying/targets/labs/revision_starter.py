"""Starter of the revisions that the fake Cloud Run waits for, as a rehearsal has one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from fakecloud import addresses

SECONDS = "0.2"  # that the fake Cloud Run waits for a revision before it responds that there is none


@contextmanager
def start_revisions(base: str, key: str, start: Callable[[dict[str, Any]], str]) -> Iterator[None]:
    """Start each revision that it waits for while the block runs; `start` returns an instance's address."""
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
                revision = waiting.json()
                sent = {"instance": start(revision)}
                http.post(f"{control}/revisions/{revision['revision']}", json=sent).raise_for_status()
