"""Key of the endpoints by which a rehearsal controls the fake cloud; Google and GitHub have no such ones."""

import secrets

from starlette.requests import Request

from fakecloud.state.refusals import PlainRefusal


def check(request: Request, key: str) -> None:
    """Refuse a request without the key; an empty key refuses every request."""
    _, _, given = request.headers.get("authorization", "").partition(" ")
    if not key or not secrets.compare_digest(given.encode(), key.encode()):
        raise PlainRefusal(401, "not for you\n")
