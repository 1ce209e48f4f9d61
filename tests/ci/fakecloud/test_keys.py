"""Keys of the fake GitHub: every signature can be verified at any moment."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from fakecloud.identity.keys import KeyRing

SIGNATURES = 60


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_threads")
def test_no_key_is_missing_while_a_token_is_signed() -> None:
    ring, seen = KeyRing(), set[str]()
    signing = threading.Thread(target=lambda: [ring.sign({}, now=0, until=10) for _ in range(SIGNATURES)])
    signing.start()
    while signing.is_alive():
        published = {key["kid"] for key in ring.jwks()["keys"]}
        assert seen <= published
        seen |= published
    signing.join()
    assert ring.signed == SIGNATURES


def test_a_key_is_published_until_its_tokens_have_expired() -> None:
    ring = KeyRing()
    ring.sign({}, now=0, until=10)
    (first,) = ring.jwks()["keys"]
    while len(ring.jwks()["keys"]) == 1:
        ring.sign({}, now=0, until=20)
    assert first in ring.jwks()["keys"]
    while first in ring.jwks()["keys"]:
        ring.sign({}, now=20, until=40)
