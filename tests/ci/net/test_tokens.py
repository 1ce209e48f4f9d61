"""Tokens show nowhere, and are minted anew before they run out."""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
import pickle
import traceback

import anyio
import pytest

from errors import IdentityError
from net.tokens import Kept, Token

pytestmark = pytest.mark.anyio

SECRET = "ya29.c.secret-text"


@dataclasses.dataclass
class Holder:
    """Something that holds a token."""

    token: Token


def jwt(payload: bytes) -> str:
    """Return a token with some payload."""
    return f"e30.{base64.urlsafe_b64encode(payload).rstrip(b'=').decode()}.c2ln"


@pytest.mark.parametrize(
    "shown", [repr, str, "{}".format, "{0!s:>9}".format, "%s".__mod__, lambda token: repr(Holder(token)), dir]
)
def test_a_token_is_not_shown(shown: object) -> None:
    assert callable(shown)
    assert SECRET not in str(shown(Token(SECRET)))


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_token_is_neither_copied_nor_pickled(copied: object) -> None:
    assert callable(copied)
    with pytest.raises(TypeError, match="neither copied nor pickled"):
        copied(Token(SECRET))


def test_a_token_has_no_dictionary_to_list() -> None:
    with pytest.raises(TypeError):
        vars(Token(SECRET))


def test_a_token_authorises_a_request_without_the_white_space_around_it() -> None:
    assert Token(f" {SECRET}\n").authorization() == f"Bearer {SECRET}"
    assert Token(SECRET).authorization("Token") == f"Token {SECRET}"


@pytest.mark.parametrize("text", ["two words", "line\nbreak", "päss"])
def test_a_token_that_no_header_can_carry_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(IdentityError, match="has white space or other than ASCII in it; check") as caught:
        Token(text)
    assert text not in "".join(traceback.TracebackException.from_exception(caught.value).format())


def test_an_empty_token_is_refused() -> None:
    with pytest.raises(IdentityError, match="token: it is empty; check where it comes from"):
        Token(" \n")


def test_claims_are_read_from_a_jwt() -> None:
    assert Token(jwt(json.dumps({"sub": "ü", "n": 1}).encode())).claims() == {"sub": "ü", "n": 1}


@pytest.mark.parametrize(
    "text", ["opaque", "a.b", jwt(b"[]"), jwt(b"{"), jwt(b"\xff"), "a.ü".replace("ü", "!") + ".c"]
)
def test_claims_of_what_is_no_jwt_are_refused(text: str) -> None:
    with pytest.raises(IdentityError, match="is no JWT"):
        Token(text).claims()


def test_a_token_is_hidden_in_what_others_say() -> None:
    assert Token(SECRET).hide(f"bad token {SECRET}") == "bad token <token>"


async def test_a_kept_token_is_minted_anew_when_less_than_a_minute_is_left() -> None:
    now = [0.0]
    minted: list[Token] = []

    async def mint() -> Token:
        minted.append(Token(f"token-{len(minted)}", expires=now[0] + 300))
        return minted[-1]

    kept = Kept(mint, clock=lambda: now[0])
    for seconds, count in ((0, 1), (239, 1), (241, 2), (480, 2)):
        now[0] = seconds
        assert await kept.token() is minted[-1]
        assert len(minted) == count


async def test_simultaneous_calls_get_one_token() -> None:
    minted: list[Token] = []

    async def mint() -> Token:
        await anyio.lowlevel.checkpoint()
        minted.append(Token(SECRET, expires=300))
        return minted[-1]

    kept = Kept(mint, clock=lambda: 0)
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(kept.token)
    assert len(minted) == 1
