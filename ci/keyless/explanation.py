"""Explanation of every known error in a text, for the command `explain`."""

from advice.known_errors import SIGNALS, find_signals, solution
from errors import Unexplained


def explain(text: str) -> str:
    """Return name, cause and fix of every known error in a text; raises Unexplained when there is none."""
    found = find_signals(text)
    if not found:
        raise Unexplained(
            f"explain: none of the {len(SIGNALS)} known errors is in this text; `dagger call doctor` with "
            "publish's arguments tries each step of a release by itself"
        )
    return "\n".join(f"{signal.name}\n{solution(signal, {})}" for signal in found)
