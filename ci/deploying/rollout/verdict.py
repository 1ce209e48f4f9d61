"""Verdict on a candidate: pure functions that decide by its numbers whether it gets more of the traffic."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploying.rollout.request_counts import Numbers


@dataclass(frozen=True)
class Limits:
    """Limits of a candidate in each step: the table `limits` of an environment."""

    requests: int = 200  # that a step has; golden rows make up for those that users don't send
    timed_requests: int = 1000  # of both releases, from which on 99th percentiles are compared
    error_share: float = 0.01  # of the requests, at most
    error_share_rise: float = 0.005  # above the running release's share, at most
    p99_ratio: float = 1.5  # to the running release's 99th percentile, at most
    p99_slack_seconds: float = 0.010  # by which the 99th percentile may be higher anyway
    p95_seconds: float = 0.5  # of the 95th percentile, at most, where there are fewer timed requests


@dataclass(frozen=True)
class GoldenResults:
    """Golden rows that were sent: their number, wrong answers, and the seconds that each took."""

    requests: int = 0
    wrong: Sequence[str] = ()
    seconds: Sequence[float] = ()

    def __add__(self, other: "GoldenResults") -> "GoldenResults":
        return GoldenResults(
            self.requests + other.requests, [*self.wrong, *other.wrong], [*self.seconds, *other.seconds]
        )

    def quantile(self, part: float) -> float:
        """Return how long a part of them took at most."""
        return sorted(self.seconds)[int(part * (len(self.seconds) - 1))] if self.seconds else 0.0


@dataclass(frozen=True)
class Verdict:
    """Verdict on a candidate, with the figures that it is based on."""

    figures: str
    faults: Sequence[str] = ()

    @property
    def good(self) -> bool:
        """True if no fault was found."""
        return not self.faults

    def __str__(self) -> str:
        return f"{self.figures}: {'; '.join(self.faults) or 'fit'}"


def verdict(candidate: Numbers, running: Numbers, answers: GoldenResults, limits: Limits) -> Verdict:
    """Return the verdict on what was counted of both in one step, and on the golden answers."""
    faults = [
        *answers.wrong[:1],
        *_check_errors(candidate, running, limits),
        *_check_latency(candidate, running, answers, limits),
    ]
    return Verdict(_figures(candidate, running, answers), faults)


def identity(
    model: Mapping[str, object], expected: Mapping[str, object], version: str, digest: str
) -> list[str]:
    """Return in what a service's /model differs from the release and from its model's card.

    Version and digest count where the service knows them.
    """
    release = model.get("release")
    said: Mapping[str, object] = release if isinstance(release, dict) else {}
    pairs: dict[str, tuple[object, object]] = {
        "version": (said.get("version") or version, version),
        "digest": (said.get("digest") or digest, digest),
    }
    pairs |= {name: (model.get(name), value) for name, value in expected.items()}
    return [
        f"/model says {name} {got!r}, not {wanted!r}"
        for name, (got, wanted) in pairs.items()
        if got != wanted
    ]


def _check_errors(candidate: Numbers, running: Numbers, limits: Limits) -> list[str]:
    share = candidate.error_share
    if share > limits.error_share:
        return [f"{share:.2%} errors, more than {_percent(limits.error_share)}"]
    if running.requests >= limits.requests and share > running.error_share + limits.error_share_rise:
        return [f"{share:.2%} errors, {_percent(limits.error_share_rise)} more than the running release's"]
    return []


def _check_latency(candidate: Numbers, running: Numbers, answers: GoldenResults, limits: Limits) -> list[str]:
    if _is_comparable(candidate, running, limits):
        own, other = candidate.quantile(0.99) or 0.0, running.quantile(0.99) or 0.0
        most = max(other * limits.p99_ratio, other + limits.p99_slack_seconds)
        return [f"p99 {_ms(own)}, more than {_ms(most)}"] if own > most else []
    slowest = max(candidate.quantile(0.95) or 0.0, answers.quantile(0.95))
    return (
        [f"p95 {_ms(slowest)}, more than {_ms(limits.p95_seconds)}"] if slowest > limits.p95_seconds else []
    )


def _is_comparable(candidate: Numbers, running: Numbers, limits: Limits) -> bool:
    return min(sum(each.took.values()) for each in (candidate, running)) >= limits.timed_requests


def _figures(candidate: Numbers, running: Numbers, answers: GoldenResults) -> str:
    parts = [f"{_summarize(candidate)}", f"running {_summarize(running)}"]
    if answers.requests:
        right = answers.requests - len(answers.wrong)
        parts.append(f"golden {right} of {answers.requests} right, p95 {_ms(answers.quantile(0.95))}")
    return ", ".join(parts)


def _summarize(numbers: Numbers) -> str:
    text = f"{numbers.requests} requests, {numbers.errors} errors"
    slowest = numbers.quantile(0.99)
    return text if slowest is None else f"{text}, p99 {_ms(slowest)}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _percent(share: float) -> str:
    return f"{share * 100:g}%"
