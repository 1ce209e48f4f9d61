"""Signer: requests that are sent again, requests that are not, and the messages about both."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from errors import SigningFailed
from fakecloud.sigstore.paths import FULCIO
from net.retry_policy import Retrying
from net.tokens import Token
from signing.signer import sign
from signing.trust import Trust
from tests.ci.connections import no_wait, serve
from tests.ci.sigstore_lab import RELEASE, Lab, provenance, sigstore_lab

pytestmark = pytest.mark.anyio


async def try_signing(
    trust: Trust, token: Token, statement: bytes = provenance(), seconds: float = 60
) -> bytes:
    """Sign, without waiting between attempts."""
    async with httpx.AsyncClient() as http:
        return await sign(trust, token, statement, Retrying(http, sleep=no_wait), seconds)


def redirect(trust: Trust, name: str, url: str) -> Trust:
    """Return trust whose services of a name are elsewhere."""
    config = json.loads(trust.config)
    config[name][0]["url"] = url
    return Trust(trust.root, json.dumps(config))


class Answering:
    """A service that answers with statuses, each once, and then with the last one for ever."""

    def __init__(self, path: str, statuses: Sequence[int], text: str = "no") -> None:
        """Answer on a path."""
        self.statuses, self.requests = list(statuses), 0
        self.text = text
        self.app = Starlette(routes=[Route(path, self.answer, methods=["POST"])])

    async def answer(self, request: Request) -> Response:
        status = self.statuses[min(self.requests, len(self.statuses) - 1)]
        self.requests += 1
        return JSONResponse({"code": status, "message": self.text}, status)


@pytest.mark.parametrize(
    ("name", "path"), [("caUrls", FULCIO), ("rekorTlogUrls", "/api/v1/log/entries")], ids=["fulcio", "rekor"]
)
@pytest.mark.parametrize(("status", "attempts"), [(503, 3), (400, 1), (409, 1)])
async def test_only_what_may_pass_is_tried_again_and_the_last_refusal_is_reported(
    lab: Lab, name: str, path: str, status: int, attempts: int
) -> None:
    service = Answering(path, [status], "the reason")
    with serve(service.app) as address, pytest.raises(SigningFailed, match=rf"{status}.*the reason"):
        await try_signing(redirect(lab.trust(), name, address), lab.token())
    assert service.requests == attempts


async def test_a_service_that_is_not_there_is_tried_again_and_named(lab: Lab) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        address = "http://{}:{}".format(*silent.getsockname())
        with pytest.raises(SigningFailed, match="127.0.0.1"):
            await try_signing(redirect(lab.trust(), "caUrls", address), lab.token())


async def test_a_service_that_never_answers_is_given_up(lab: Lab) -> None:
    async def never(request: Request) -> Response:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        return Response()

    app = Starlette(routes=[Route(FULCIO, never, methods=["POST"])])
    with serve(app) as address, pytest.raises(SigningFailed, match="there is none after 0.2 s"):
        await try_signing(redirect(lab.trust(), "caUrls", address), lab.token(), seconds=0.2)


async def test_without_a_timestamp_authority_a_signature_has_the_log_s_time(lab: Lab) -> None:
    bundle = await try_signing(redirect(lab.trust(), "tsaUrls", f"{lab.base}/nowhere"), lab.token())
    assert lab.signatures.policy
    assert await lab.signatures.verify(bundle, RELEASE, provenance(), lab.signatures.policy)
    times = json.loads(bundle)["verificationMaterial"]["timestampVerificationData"]
    assert times == {"rfc3161Timestamps": []}


async def test_a_certificate_of_a_foreign_log_is_not_signed_with(lab: Lab) -> None:
    with sigstore_lab() as foreign, pytest.raises(SigningFailed, match="SCT verify failed"):
        await try_signing(Trust(foreign.trust().root, lab.trust().config), lab.token())


async def test_a_token_for_another_audience_is_not_sent_to_sigstore_and_never_printed(lab: Lab) -> None:
    token = lab.token("https://iam.googleapis.com/projects/1")
    with pytest.raises(SigningFailed, match="Audience doesn't match") as raised:
        await try_signing(lab.trust(), token)
    printed = str(raised.value)
    assert token.reveal() not in printed
    assert "\n  claims: iss='https://token.actions.githubusercontent.com', aud='https://iam." in printed
    assert "\n  fix: on GitHub, publish requests it; elsewhere, make one" in printed
    assert raised.value.__cause__ is raised.value.__context__ is None


async def test_a_token_that_a_service_repeats_is_hidden(lab: Lab) -> None:
    token = lab.token()
    echo = Answering(FULCIO, [400], f"not {token.reveal()}")
    with serve(echo.app) as address, pytest.raises(SigningFailed, match="not <token>"):
        await try_signing(redirect(lab.trust(), "caUrls", address), token)


async def test_what_is_no_statement_is_not_signed(lab: Lab) -> None:
    with pytest.raises(SigningFailed, match="malformed in-toto statement"):
        await try_signing(lab.trust(), lab.token(), b"{}")


async def test_servers_are_verified_by_the_machine_s_store_unless_another_is_named(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/own.pem")
    await try_signing(lab.trust(), lab.token())
    assert os.environ["REQUESTS_CA_BUNDLE"] == "/etc/own.pem"
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    await try_signing(lab.trust(), lab.token())
    assert os.environ["REQUESTS_CA_BUNDLE"].startswith("/")
