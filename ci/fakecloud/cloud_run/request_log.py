"""Log of requests by revision: when each was served, how it ended, how long it took."""

import bisect
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

_KEPT = 200_000  # requests a revision
_SCALE, _GROWTH, _BUCKETS = 1.0, 1.25, 60  # of latencies in ms
BOUNDS = [_SCALE * _GROWTH**number for number in range(_BUCKETS + 1)]
OPTIONS = {"exponentialBuckets": {"numFiniteBuckets": _BUCKETS, "growthFactor": _GROWTH, "scale": _SCALE}}


@dataclass(frozen=True)
class Request:
    """One request: its time by Google's clock, its status, and the seconds that it took."""

    time: float
    status: int
    seconds: float


def _requests() -> deque[Request]:
    return deque(maxlen=_KEPT)


@dataclass
class Counts:
    """The requests that are remembered."""

    served: defaultdict[str, deque[Request]] = field(default_factory=lambda: defaultdict(_requests))

    def add(self, revision: str, request: Request) -> None:
        """Remember a request."""
        self.served[revision].append(request)

    def between(self, start: float, end: float) -> Iterator[tuple[str, list[Request]]]:
        """Yield each revision's requests of a time."""
        for revision, requests in self.served.items():
            if found := [each for each in requests if start <= each.time < end]:
                yield revision, found


def distribution(requests: list[Request]) -> dict[str, object]:
    """Return latencies as google.api.Distribution."""
    counts = [0] * (len(BOUNDS) + 1)
    for request in requests:
        counts[bisect.bisect_right(BOUNDS, request.seconds * 1000)] += 1
    mean = sum(request.seconds for request in requests) * 1000 / len(requests)
    summary = {"count": str(len(requests)), "mean": mean, "bucketOptions": OPTIONS}
    return {**summary, "bucketCounts": [str(count) for count in counts]}
