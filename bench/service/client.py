"""One httpx client, one request after the other: `python -m bench.service.client URL BODY SECONDS`."""

from __future__ import annotations

import json
import sys
import time

import httpx

from bench.service.load import CLOUD_RUN


def main(url: str, body: str, seconds: str) -> None:
    """Print what was seen as one JSON object, as wrk's script does."""
    end, latencies, errors = time.monotonic() + float(seconds), [], 0
    begun = time.monotonic()
    with httpx.Client(headers=CLOUD_RUN, trust_env=False) as client:
        while time.monotonic() < end:
            sent = time.monotonic()
            errors += client.post(url, content=body).status_code != 200
            latencies.append(time.monotonic() - sent)
    took = time.monotonic() - begun
    latencies.sort()
    p50, p99 = (round(1e6 * latencies[int(len(latencies) * part)]) for part in (0.5, 0.99))
    print(
        json.dumps(
            {"requests": len(latencies), "seconds": took, "errors": errors, "p50_us": p50, "p99_us": p99}
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
