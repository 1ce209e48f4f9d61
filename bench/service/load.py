"""Clients on the other core: wrk for what a server can do, httpx for what a program sees of it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.service.process import CLIENT_CORE

# What Cloud Run's front end adds to a request.
CLOUD_RUN = {
    "Content-Type": "application/json",
    "User-Agent": "python-httpx/0.28.1",
    "Accept": "*/*",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "X-Cloud-Trace-Context": "0af7651916cd43dd8448eb211c80319c/13235353014750950193;o=1",
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Proto": "https",
    "Forwarded": 'for="203.0.113.7";proto=https',
}
SCRIPT = """
wrk.method = "POST"
wrk.body = [=[%s]=]
%s
done = function(summary, latency, requests)
  local bad = summary.errors
  io.write(string.format('{"requests":%%d,"seconds":%%f,"errors":%%d,"p50_us":%%d,"p99_us":%%d}\\n',
    summary.requests, summary.duration / 1e6, bad.connect + bad.read + bad.write + bad.status + bad.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class Load:
    """What a client saw: how many requests in how many seconds, and the latencies in microseconds."""

    requests: int
    seconds: float
    errors: int
    p50_us: int
    p99_us: int

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def wrk(url: str, body: bytes, connections: int, seconds: int, script: Path) -> Load:
    """Load a server as hard as it can with some connections; the script is a file to write."""
    headers = "\n".join(
        f"wrk.headers[{json.dumps(name)}] = {json.dumps(text)}" for name, text in CLOUD_RUN.items()
    )
    script.write_text(SCRIPT % (body.decode(), headers))
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
    return _run([*command, "--timeout", "10s", "--script", str(script), url])


def httpx(url: str, body: bytes, seconds: int) -> Load:
    """Load a server with one httpx client that sends one request after the other."""
    return _run([sys.executable, "-m", "bench.service.client", url, body.decode(), str(seconds)])


def _run(command: list[str]) -> Load:
    pinned = ["taskset", "--cpu-list", CLIENT_CORE, *command]
    done = subprocess.run(pinned, check=True, capture_output=True, text=True)
    load = Load(**json.loads(done.stdout.splitlines()[-1]))
    if load.errors:
        raise SystemExit(f"{' '.join(command)}: {load.errors} of {load.requests} requests failed")
    return load
