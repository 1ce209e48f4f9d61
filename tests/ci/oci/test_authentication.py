"""Authentication at registries, and hosts that never see credentials."""

from __future__ import annotations

import base64
import re
import traceback
from collections.abc import AsyncIterator

import httpx
import pytest

from errors import RegistryDenied, RegistryError, RegistryUnreachable
from image import canonical_json
from net.concurrency import together
from net.tokens import Token
from tests.ci.connections import open_repository

pytestmark = pytest.mark.anyio
BASE = "https://registry.test"
REALM = f"{BASE}/v2/token"
BLOB = b"a blob"
DIGEST = canonical_json.digest(BLOB)


async def mint() -> Token:
    return Token("access")


class Guarded:
    """A registry that lets in who shows its newest token; it notes who was shown what."""

    def __init__(self, realm: str = REALM, **token: object) -> None:
        """Send for a token to a realm, which gives `token`."""
        self.challenge, self.given = f'Bearer realm="{realm}",service="registry.test"', token
        self.issued, self.seen = 0, list[tuple[str, str]]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        shown = request.headers.get("Authorization", "")
        self.seen.append((request.url.host + request.url.path, shown))
        if request.url.path == "/v2/token":
            self.issued += 1
            return httpx.Response(200, json=self.given or {"token": f"registry-{self.issued}"})
        if shown != f"Bearer registry-{self.issued}":
            return httpx.Response(401, headers={"WWW-Authenticate": self.challenge})
        return self.answer(request)

    def answer(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"tags": []})


async def test_a_challenge_is_answered_with_docker_s_user_and_the_access_token() -> None:
    guarded = Guarded()
    async with open_repository(guarded, mint) as repository:
        await repository.check()
    basic = base64.b64encode(b"oauth2accesstoken:access").decode()
    assert guarded.seen == [
        ("registry.test/v2/", ""),
        ("registry.test/v2/token", f"Basic {basic}"),
        ("registry.test/v2/", "Bearer registry-1"),
    ]


async def test_an_anonymous_client_gets_a_token_without_credentials() -> None:
    guarded = Guarded()
    async with open_repository(guarded) as repository:
        assert await repository.tags() == []
    assert guarded.seen[1] == ("registry.test/v2/token", "")


async def test_a_token_is_kept_and_got_anew_when_it_runs_out() -> None:
    guarded = Guarded()
    async with open_repository(guarded, mint) as repository:
        await repository.tags()
        await repository.tags()
        assert guarded.issued == 1
        guarded.issued += 1  # what it gave before counts no more
        await repository.tags()
    assert guarded.issued == 3


async def test_a_token_that_ran_out_is_got_anew_also_where_no_challenge_says_so() -> None:
    guarded = Guarded()
    async with open_repository(guarded, mint) as repository:
        await repository.tags()
        guarded.challenge, guarded.issued = "", 7
        await repository.tags()
    assert guarded.issued == 8


async def test_requests_at_the_same_time_ask_for_one_token() -> None:
    guarded = Guarded()
    async with open_repository(guarded, mint) as repository:
        await together(*[repository.tags] * 5)
    assert guarded.issued == 1


async def test_a_token_endpoint_s_other_name_for_its_token_is_known() -> None:
    async with open_repository(Guarded(access_token="registry-1"), mint) as repository:
        await repository.check()


async def test_a_token_endpoint_without_a_token_is_refused() -> None:
    async with open_repository(Guarded(expires_in=60), mint) as repository:
        with pytest.raises(RegistryError, match=f"{REALM}: answered 200 without a token"):
            await repository.check()


async def test_a_token_that_is_not_taken_is_not_tried_again_and_again() -> None:
    guarded = Guarded(token="another")
    async with open_repository(guarded, mint) as repository:
        with pytest.raises(RegistryDenied, match="GET /v2/ answered 401"):
            await repository.check()
    assert len(guarded.seen) == 3


@pytest.mark.parametrize(
    "realm", ["https://elsewhere.test/v2/token", "http://registry.test/v2/token", "https://registry.test:1/"]
)
async def test_an_access_token_goes_to_no_other_host(realm: str) -> None:
    guarded = Guarded(realm)
    async with open_repository(guarded, mint) as repository:
        with pytest.raises(RegistryDenied, match=f"sent to '{realm}', which is not the registry's"):
            await repository.check()
    assert all(not shown for _, shown in guarded.seen)


@pytest.mark.parametrize(
    "challenge", ["", "Basic realm=x", 'Bearer service="x"', 'Bearer realm="https://x:broken/"']
)
async def test_what_is_no_challenge_is_a_refusal(challenge: str) -> None:
    refused = httpx.Response(401, headers={"WWW-Authenticate": challenge})
    async with open_repository(lambda request: refused, mint) as repository:
        with pytest.raises(RegistryDenied, match="answered 401"):
            await repository.check()


async def test_a_token_endpoint_that_repeats_the_access_token_does_not_show_it() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v2/token":
            error = {"code": "UNAUTHORIZED", "message": "do not know access"}
            return httpx.Response(401, json={"errors": [error]})
        return httpx.Response(401, headers={"WWW-Authenticate": f'Bearer realm="{REALM}"'})

    async with open_repository(handler, mint) as repository:
        with pytest.raises(RegistryDenied, match="401: UNAUTHORIZED: do not know <token>"):
            await repository.check()


async def test_a_token_endpoint_that_breaks_off_is_unreachable() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v2/token":
            raise httpx.ReadError("broken")
        return httpx.Response(401, headers={"WWW-Authenticate": f'Bearer realm="{REALM}"'})

    async with open_repository(handler, mint) as repository:
        with pytest.raises(RegistryUnreachable, match="registry registry.test: no answer to GET /v2/token"):
            await repository.check()


@pytest.mark.parametrize("status", [200, 401, 503])
async def test_no_traceback_holds_a_token(status: int) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v2/token":
            return httpx.Response(status, json={"token": "registry-secret"})
        return httpx.Response(401, headers={"WWW-Authenticate": f'Bearer realm="{REALM}"'})

    async with open_repository(handler, mint) as repository:
        with pytest.raises(RegistryError) as refused:
            await repository.check()
    held = traceback.TracebackException.from_exception(refused.value, capture_locals=True)
    shown = "".join(held.format())
    secrets = ("registry-secret", base64.b64encode(b"oauth2accesstoken:access").decode())
    assert not [secret for secret in secrets if secret in shown]


class Redirecting(Guarded):
    """A registry that keeps its blobs elsewhere."""

    content = BLOB

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "storage.test":
            self.seen.append((request.url.host, request.headers.get("Authorization", "")))
            return httpx.Response(200, content=self.content)
        return super().__call__(request)

    def answer(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(307, headers={"Location": "https://storage.test/signed"})


async def test_a_blob_that_is_elsewhere_is_read_there_without_the_token() -> None:
    redirecting = Redirecting()
    async with open_repository(redirecting, mint) as repository:
        assert b"".join([piece async for piece in repository.blob(DIGEST, 100)]) == BLOB
    assert redirecting.seen[-1] == ("storage.test", "")


async def test_a_blob_of_another_digest_is_refused() -> None:
    redirecting = Redirecting()
    redirecting.content = b"something else"
    async with open_repository(redirecting, mint) as repository:
        with pytest.raises(RegistryError, match=f"{DIGEST} has the content of sha256:"):
            [piece async for piece in repository.blob(DIGEST, 100)]


async def test_another_host_s_challenge_gets_no_answer() -> None:
    class Elsewhere(Redirecting):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            if request.url.host == "storage.test":
                return httpx.Response(401, headers={"WWW-Authenticate": self.challenge})
            return super().__call__(request)

    elsewhere = Elsewhere()
    async with open_repository(elsewhere, mint) as repository:
        with pytest.raises(RegistryDenied, match=re.escape("GET /signed answered 401")):
            [piece async for piece in repository.blob(DIGEST, 100)]
    assert elsewhere.issued == 1


async def test_redirects_without_end_are_a_registry_s_failure() -> None:
    round_and_round = httpx.Response(307, headers={"Location": f"{BASE}/v2/"})
    async with open_repository(lambda request: round_and_round, mint) as repository:
        with pytest.raises(RegistryError, match="no answer to GET /v2/ in .*: more than 5 redirections"):
            await repository.check()


async def test_a_blob_that_breaks_off_is_unreachable() -> None:
    async def break_off() -> AsyncIterator[bytes]:
        yield b"a"
        raise httpx.ReadError("broken")

    async with open_repository(lambda request: httpx.Response(200, content=break_off()), mint) as repository:
        with pytest.raises(RegistryUnreachable, match=r"no answer to GET /v2/m/blobs/\S+ ReadError"):
            [piece async for piece in repository.blob(DIGEST, 100)]


async def test_a_blob_s_refusal_is_reported_with_the_registry_s_words() -> None:
    error = {"errors": [{"code": "BLOB_UNKNOWN", "message": "unknown"}]}
    async with open_repository(lambda request: httpx.Response(404, json=error), mint) as repository:
        with pytest.raises(RegistryError, match="answered 404: BLOB_UNKNOWN: unknown"):
            [piece async for piece in repository.blob(DIGEST, 100)]
