"""Client of a Kubernetes API server that waits while the server restarts."""

import threading
import time
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx

from deploying.targets.api_client import Api
from errors import TargetChanged, TargetError

_RESTART = 120.0  # seconds that a restart may take
_PAUSE = 1.0


@dataclass(frozen=True)
class ApiServer(Api):
    """API server of a cluster.

    A server that restarts first refuses connections, then all requests, with 403 until it has read the roles.
    It is not ready meanwhile. A refusal is final when the server was ready before. So is the failure of the
    first request, where the address may be wrong.
    https://kubernetes.io/docs/reference/using-api/health-checks/
    """

    seconds: float = _RESTART
    pause: float = _PAUSE
    _reached: threading.Event = field(default_factory=threading.Event)

    async def send(self, method: str, path: str, *allowed: int, **sent: Any) -> httpx.Response:
        """Return a response that is a success, or has an allowed status."""
        started, ready = time.monotonic(), False
        while True:
            try:
                answer = await super().send(method, path, *allowed, **sent)
                self._reached.set()
                return answer
            except TargetChanged:
                raise
            except TargetError:
                if ready or not self._reached.is_set() or time.monotonic() - started > self.seconds:
                    raise
            ready = await self._is_ready()
            await anyio.sleep(0 if ready else self.pause)

    async def _is_ready(self) -> bool:
        """Return whether the server responds to requests with what it knows; a bad token is known at once."""
        try:
            await super().send("GET", "/readyz", httpx.codes.UNAUTHORIZED)
        except TargetError:
            return False
        return True
