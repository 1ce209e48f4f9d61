"""A minimal service with a model for the tests of targets; MODEL or /model.json sets its behaviour."""

import http.server
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

MODEL = json.loads(os.environ.get("MODEL") or Path("/model.json").read_text())
PROBLEMS = {400: "invalid_input", 404: "not_found", 405: "method_not_allowed", 500: "model_failed"}
COUNTED = {"requests": 0, "failed": 0}
LOCK = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    """Responds as the project's own service does, as far as a deployment needs."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Respond to a request without a body."""
        if self.path in ("/readyz", "/livez"):
            return self._say(200, {"status": "ready"})
        if self.path == "/model":
            release = {"version": MODEL["version"], "digest": os.environ.get("IMAGE_DIGEST")}
            card = {"artifact_sha256": MODEL["sha256"], "features": [{"quantiles": {"0.5": 1.0}}] * 2}
            return self._say(200, {**card, "release": release})
        if self.path == "/metrics":
            return self._metrics()
        self._problem(405 if self.path == "/predict" else 404)

    def do_POST(self) -> None:
        """Answer with the sum of the features."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not isinstance(body.get("features"), list):
            return self._problem(400)
        with LOCK:
            COUNTED["requests"] += 1
            fails = MODEL["failing"] and COUNTED["requests"] % MODEL["failing"] == 0
            COUNTED["failed"] += bool(fails)
            offset = MODEL["offset"] if COUNTED["requests"] > MODEL["right"] else 0
        time.sleep(MODEL["delay"])
        if fails:
            return self._problem(500)
        total = sum(body["features"]) + offset
        self._say(200, {"prediction": total, "model_version": MODEL["version"]})

    def _metrics(self) -> None:
        requests, failed = COUNTED["requests"], COUNTED["failed"]
        self._send(
            200,
            "text/plain",
            f'http_requests_total{{route="/predict",status="200"}} {requests - failed}\n'
            f'http_requests_total{{route="/predict",status="500"}} {failed}\n'
            f'http_request_seconds_bucket{{route="/predict",le="0.5"}} {requests}\n'
            f'http_request_seconds_bucket{{route="/predict",le="+Inf"}} {requests}\n',
        )

    def _problem(self, status: int) -> None:
        self._say(status, {"error": {"code": PROBLEMS[status], "message": "it is not as it has to be"}})

    def _say(self, status: int, content: object) -> None:
        self._send(status, "application/json", json.dumps(content))

    def _send(self, status: int, kind: str, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *message: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until SIGTERM."""
    if not MODEL["starts"]:
        sys.exit(3)
    server = http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()


if __name__ == "__main__":
    main()
