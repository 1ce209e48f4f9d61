"""Responses of Google and GitHub: their JSON, and what is wrong with them."""

from typing import Any

import httpx

from net.tokens import Token


def member(answer: httpx.Response, name: str, failure: type[Exception]) -> str:
    """Return a text out of an answer's JSON object; raises the failure when it is not there."""
    value = document(answer).get(name)
    if not isinstance(value, str):
        raise failure(
            f"{answer.url.host}: answered {answer.status_code} without a text {name!r}; check its address"
        )
    return value


def describe_response(answer: httpx.Response, sent: Token | None) -> str:
    """Return an answer's status with the code and message of its error, in one short line.

    The token that was sent is hidden, should the answer repeat it.
    """
    content = document(answer)
    error = content.get("error", "")
    if isinstance(error, dict):
        parts = [error.get("status"), error.get("message")]
    else:
        # Kubernetes says reason and message, Docker only the latter.
        parts = [
            error or content.get("reason"),
            content.get("error_description") or content.get("message"),
        ]
    detail = ": ".join(str(part) for part in parts if part) or " ".join(answer.text.split())
    detail = sent.hide(detail) if sent else detail
    status = f"{answer.status_code} {answer.reason_phrase}"
    return f"{status}: {detail:.500}" if detail else f"{status} with an empty body"


def document(answer: httpx.Response) -> dict[str, Any]:
    """Return an answer's JSON object, an empty one when it has none."""
    try:
        content = answer.json()
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
