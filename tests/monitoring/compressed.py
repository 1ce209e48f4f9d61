"""Rules and configurations with compressed time, in which an hour lasts a minute."""

from __future__ import annotations

import re

MINUTES_AN_HOUR = 60
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# Where deploy/monitoring has durations: ranges, `for`, intervals, and how old a process is in seconds.
DURATION = re.compile(r"(?P<before>\[|\bfor: |_interval: |_wait: )(?P<number>\d+)(?P<unit>[smhd])\b")
AGE = re.compile(r"(?P<before>process_start_time_seconds < )(?P<number>\d+)")


def compress_time(text: str) -> str:
    """Return a text of deploy/monitoring with every duration divided by 60, in milliseconds.

    Counts and shares stay as they are, as do the names of recorded series: `increase1h` is of a minute then.
    """

    def duration(match: re.Match[str]) -> str:
        milliseconds = int(match["number"]) * SECONDS[match["unit"]] * 1000 // MINUTES_AN_HOUR
        return f"{match['before']}{milliseconds}ms"

    text = DURATION.sub(duration, text)
    return AGE.sub(lambda match: f"{match['before']}{int(match['number']) / MINUTES_AN_HOUR:g}", text)
