"""Supervisor of worker processes: begins them together, replaces one that ends, and ends them together."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from app.errors import WorkerError
from app.logs import log
from app.metrics import Snapshot, together
from app.workers.channel import as_line

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
COLLECT_SECONDS = 0.5  # for a worker to say what it has counted; else what it said last counts
PAUSE_SECONDS = 1.0  # before another is begun, when one couldn't be, or has ended before it was ready
SEND_SECONDS = 1.0


@dataclass(eq=False)
class Worker:
    """One process, and the supervisor's end of its channel."""

    process: int
    channel: socket.socket
    ready: bool = False
    unread: bytes = b""
    snapshot: Snapshot = field(default_factory=Snapshot)

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; a worker that has ended or doesn't read is left alone."""
        try:
            self.channel.settimeout(SEND_SECONDS)
            self.channel.sendall(as_line(message))
        except OSError:
            log.warning("worker %d cannot receive the message %s", self.process, next(iter(message)))
        finally:
            self.channel.setblocking(False)


@dataclass
class Collection:
    """A worker's request for the counts of the others."""

    requester: Worker
    waiting: set[Worker]
    ends: float


class Supervisor:
    """The parent of the workers. It never serves, and never runs an event loop: so it can fork."""

    def __init__(self, listener: socket.socket, count: int, grace_seconds: float) -> None:
        self.listener, self.count, self.grace_seconds = listener, count, grace_seconds
        self.workers: list[Worker] = []
        self.ended = Snapshot()  # the totals of workers that have ended
        self.began = False  # all were ready once
        self.stopping: int | None = None  # the signal
        self.kill_at = self.fork_at = 0.0
        self.collections: list[Collection] = []
        self.selector = selectors.DefaultSelector()

    def run(self) -> socket.socket | None:
        """Return, in each worker, its end of the channel; in the parent None when all have ended.

        Raises KeyboardInterrupt after SIGINT, and WorkerError if a worker can't be begun, or ended before all
        were ready.
        """
        self._handlers = {number: signal.signal(number, _take_note) for number in SIGNALS}
        self._signals, wake = socket.socketpair()
        for end in (self._signals, wake):
            end.setblocking(False)
        self._wake = wake
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        self.selector.register(self._signals, selectors.EVENT_READ)
        try:
            while not (self.stopping and not self.workers):
                if channel := self._fork_missing():
                    return channel
                self._wait()
        finally:
            self._leave()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        if self.stopping == signal.SIGINT:
            raise KeyboardInterrupt
        return None

    def _leave(self) -> None:
        """Take signals as before, and close what isn't this process's any more."""
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self.selector.close()
        for end in (self._signals, self._wake, *(worker.channel for worker in self.workers)):
            end.close()

    def _fork_missing(self) -> socket.socket | None:
        """Begin the workers that are missing; return, in a worker, its end of the channel."""
        while len(self.workers) < self.count and not self.stopping and monotonic() >= self.fork_at:
            ours, theirs = socket.socketpair()
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until the worker has left here
            try:
                process = os.fork()
            except OSError as error:
                self._put_off(error, ours, theirs)
                return None
            if not process:
                ours.close()
                return theirs
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            theirs.close()
            ours.setblocking(False)
            worker = Worker(process, ours)
            self.workers.append(worker)
            self.selector.register(ours, selectors.EVENT_READ, worker)
        return None

    def _put_off(self, error: OSError, *ends: socket.socket) -> None:
        """Begin a worker later that couldn't be forked. Raises WorkerError if it was one of the first."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        for end in ends:
            end.close()
        if not self.began:
            self._end_all()
            raise WorkerError(f"server: cannot start a worker: {error.strerror}") from error
        log.error("cannot start a worker: %s; trying again", error.strerror)
        self.fork_at = monotonic() + PAUSE_SECONDS

    def _wait(self) -> None:
        """Wait for the next message or signal, and handle it."""
        moments = [each.ends for each in self.collections]
        moments += [self.kill_at] if self.stopping else []
        moments += [self.fork_at] if len(self.workers) < self.count and not self.stopping else []
        timeout = max(0.0, min(moments) - monotonic()) if moments else None
        for key, _ in self.selector.select(timeout):
            if key.data is None:
                self._read_signals()
            elif key.data in self.workers:
                self._read(key.data)
        self._answer_collections()
        if self.stopping and monotonic() >= self.kill_at:
            self._signal_all(signal.SIGKILL)

    def _read_signals(self) -> None:
        for number in self._signals.recv(4096):
            if number != signal.SIGCHLD:
                self._stop(number)
        for worker in [*self.workers]:
            process, status = os.waitpid(worker.process, os.WNOHANG)
            if process:
                self._bury(worker, os.waitstatus_to_exitcode(status))

    def _stop(self, number: int) -> None:
        """Have all workers respond to what they have begun to read, and end."""
        if not self.stopping:
            self.stopping, self.kill_at = number, monotonic() + self.grace_seconds
            self.listener.close()  # when the workers have closed theirs, no client is left waiting
            self._signal_all(signal.SIGTERM)

    def _signal_all(self, number: signal.Signals) -> None:
        for worker in self.workers:
            os.kill(worker.process, number)

    def _bury(self, worker: Worker, status: int) -> None:
        """Keep the totals of a worker that has ended. Raises WorkerError if it was one of the first."""
        self._read(worker)
        self._stop_watching(worker)
        worker.channel.close()
        self.workers.remove(worker)
        self.ended = together([self.ended, worker.snapshot.totals()])
        for each in self.collections:
            each.waiting.discard(worker)
        if self.stopping:
            return
        if not self.began:
            self._end_all()
            raise WorkerError(
                f"server: a worker ended with status {status} before it was ready; its error is above"
            )
        log.error("worker %d ended with status %d, another takes its place", worker.process, status)
        if not worker.ready:
            self.fork_at = monotonic() + PAUSE_SECONDS

    def _end_all(self) -> None:
        """End the workers of a start that has failed; none has taken a request."""
        self._signal_all(signal.SIGKILL)
        for worker in self.workers:
            os.waitpid(worker.process, 0)

    def _read(self, worker: Worker) -> None:
        """Read what a worker has sent."""
        try:
            while came := worker.channel.recv(1 << 20):
                worker.unread += came
            self._stop_watching(worker)  # it has closed its end, and may take a while to end itself
        except OSError:  # there is no more, or it has ended
            pass
        *lines, worker.unread = worker.unread.split(b"\n")
        for line in lines:
            self._take(worker, json.loads(line))

    def _stop_watching(self, worker: Worker) -> None:
        if worker.channel in self.selector.get_map():
            self.selector.unregister(worker.channel)

    def _take(self, worker: Worker, message: dict[str, Any]) -> None:
        if "snapshot" in message:
            worker.snapshot = Snapshot.of_document(message["snapshot"])
            for each in self.collections:
                each.waiting.discard(worker)
        elif "collect" in message:
            worker.snapshot = Snapshot.of_document(message["collect"])
            others = {other for other in self.workers if other is not worker and other.ready}
            self.collections.append(Collection(worker, others, monotonic() + COLLECT_SECONDS))
            for other in others:
                other.send({"report": True})
        else:
            worker.ready = True
            self._begin()

    def _begin(self) -> None:
        """Let the workers serve: all at once at the start, later each when it is ready."""
        ready = [each for each in self.workers if each.ready]
        self.began = self.began or len(ready) == self.count
        if self.began:
            for worker in ready:
                worker.send({"go": True})

    def _answer_collections(self) -> None:
        done = [each for each in self.collections if not each.waiting or monotonic() >= each.ends]
        for each in done:
            self.collections.remove(each)
            others = [worker.snapshot for worker in self.workers if worker is not each.requester]
            if each.requester in self.workers:
                each.requester.send({"others": [other.as_document() for other in (*others, self.ended)]})


def _take_note(number: int, frame: object) -> None:
    """Leave a signal to `Supervisor`, which is woken by it."""
