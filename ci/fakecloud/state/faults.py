"""Faults to inject, and how often: `sts:503x2`, `iam:timeout`, `clock:+90s`, `registry:reset`, …

    ENDPOINT:STATUS[xCOUNT]     the endpoint answers COUNT times with that status
    ENDPOINT:timeout[xCOUNT]    it takes the request and never answers
    ENDPOINT:reset[xCOUNT]      it cuts the connection; where a body is sent, in the middle of the body
    clock:±SECONDSs             this machine's clock is ahead of Google's (+), or behind (-)

Without COUNT a fault strikes once. `registry:reset` waits for a request with a body, an upload: a cut
there is what has to be survived. This module needs only the standard library, so that the pipeline can
refuse a misspelt fault before anything starts.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, get_args

from errors import InvalidFault

Endpoint = Literal[
    "oidc", "sts", "iam", "artifacts", "token", "registry", "run", "monitoring", "storage", "fulcio", "rekor"
]
ENDPOINTS: tuple[Endpoint, ...] = get_args(Endpoint)
_FAULT = re.compile(r"(?P<endpoint>[a-z]+):(?P<what>[45]\d\d|timeout|reset)(x(?P<count>[1-9]\d{0,3}))?")
_CLOCK = re.compile(r"clock:(?P<seconds>[+-][1-9]\d{0,6})s")
_EXAMPLES = "sts:503x2, iam:timeout, registry:reset, oidc:401, clock:+90s"


@dataclass(frozen=True)
class Fault:
    """One endpoint that misbehaves in one way: a status as digits, `timeout` or `reset`."""

    endpoint: Endpoint
    what: str
    count: int = 1


@dataclass(frozen=True)
class ClockSkew:
    """By how many seconds this machine's clock is ahead of Google's."""

    seconds: int


def parse(text: str) -> Fault | ClockSkew:
    """Return the fault that a text names; raise InvalidFault when it names none."""
    if clock := _CLOCK.fullmatch(text):
        return ClockSkew(int(clock["seconds"]))
    found = _FAULT.fullmatch(text)
    if found is None:
        raise InvalidFault(f"rehearsal: {text!r} is no fault; write one like {_EXAMPLES}")
    for endpoint in ENDPOINTS:
        if endpoint == found["endpoint"]:
            return Fault(endpoint, found["what"], int(found["count"] or 1))
    raise InvalidFault(
        f"rehearsal: fault {text!r} names no endpoint; the endpoints are {', '.join(ENDPOINTS)}"
    )


@dataclass
class Faults:
    """Faults that have yet to strike, in the order in which they were given."""

    waiting: list[Fault] = field(default_factory=list)
    struck: Counter[Fault] = field(default_factory=Counter)

    @classmethod
    def of(cls, faults: Iterable[Fault | ClockSkew]) -> "Faults":
        """Return the faults among them; a skewed clock strikes always, and elsewhere."""
        return cls([fault for fault in faults if isinstance(fault, Fault)])

    def strike(self, endpoint: str, *, body: bool) -> Fault | None:
        """Return the fault that hits a request at an endpoint, and count it; None lets it through."""
        for fault in self.waiting:
            due = fault.endpoint == endpoint and self.struck[fault] < fault.count
            if due and (body or fault.what != "reset" or endpoint != "registry"):
                self.struck[fault] += 1
                return fault
        return None


def skew(faults: Iterable[Fault | ClockSkew]) -> int:
    """Return by how many seconds this machine's clock is ahead of Google's."""
    return sum(fault.seconds for fault in faults if isinstance(fault, ClockSkew))
