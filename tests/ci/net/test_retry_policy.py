"""Retry policy: requests that are sent again, the waits, and their limits."""

from __future__ import annotations

import ssl
import traceback
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import httpx
import pytest

from errors import NoAnswer
from net.retry_policy import Retrying, named_skew, patient, skew

pytestmark = pytest.mark.anyio
SECRET = "ya29.c.secret"
URL = "https://google.test/v1/token"
DATE = "Tue, 24 Nov 2026 03:00:00 GMT"
EPOCH = 1795489200.0
Outcome = httpx.Response | Exception
Jitter = Callable[[float, float], float]


@dataclass
class ScriptedServer:
    """A server with given responses, and time that passes only in waits."""

    outcomes: list[Outcome]
    now: float = 0
    waits: list[float] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list, repr=False)

    async def answer(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(await request.aread())
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    async def send(self, jitter: Jitter = max, **how: bool) -> httpx.Response:
        client = self.client(jitter)
        return await client.send(request(client), **how)

    def client(self, jitter: Jitter = max) -> Retrying:
        http = httpx.AsyncClient(transport=httpx.MockTransport(self.answer))
        return Retrying(http, sleep=self.sleep, jitter=jitter, monotonic=lambda: self.now)


def request(client: Retrying) -> httpx.Request:
    return client.http.build_request("POST", URL, json={"token": SECRET}, headers={"Authorization": SECRET})


@pytest.mark.parametrize(
    "outcome",
    [
        *(httpx.Response(status) for status in (429, 500, 501, 502, 503, 504)),
        httpx.ConnectTimeout("connect"),
        httpx.ReadTimeout("read"),
        httpx.ConnectError("refused"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("Server disconnected"),
    ],
    ids=repr,
)
async def test_what_may_pass_is_sent_again_as_it_was(outcome: Outcome) -> None:
    server = ScriptedServer([outcome, httpx.Response(200)])
    assert (await server.send()).status_code == 200
    assert server.bodies == [b'{"token":"ya29.c.secret"}'] * 2


@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404, 409, 412])
async def test_any_other_answer_is_final(status: int) -> None:
    server = ScriptedServer([httpx.Response(status)])
    assert (await server.send()).status_code == status
    assert server.waits == []


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"),
        httpx.UnsupportedProtocol("Request URL has an unsupported protocol"),
        httpx.ProxyError("407"),
    ],
    ids=repr,
)
async def test_what_cannot_pass_is_not_sent_again(error: httpx.TransportError) -> None:
    server = ScriptedServer([error])
    with pytest.raises(NoAnswer, match=r"google.test: no answer to POST /v1/token in 1 attempt and 0 s: "):
        await server.send()
    assert server.waits == []


async def test_a_stream_is_sent_once_because_it_is_gone_then() -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield b"blob"

    server = ScriptedServer([httpx.Response(503)])
    client = server.client()
    answer = await client.send(client.http.build_request("PUT", URL, content=stream()))
    assert answer.status_code == 503


async def test_waits_double_and_attempts_end() -> None:
    server = ScriptedServer([httpx.Response(503) for _ in range(5)])
    assert (await server.send()).status_code == 503
    assert server.waits == [0.5, 1, 2, 4]


async def test_waits_are_anything_between_nothing_and_the_bound() -> None:
    bounds: list[tuple[float, float]] = []

    def jitter(low: float, high: float) -> float:
        bounds.append((low, high))
        return 0.25

    server = ScriptedServer([httpx.Response(503), httpx.Response(503), httpx.Response(200)])
    await server.send(jitter)
    assert (bounds, server.waits) == ([(0, 0.5), (0, 1)], [0.25, 0.25])


@pytest.mark.parametrize(
    ("after", "wait"),
    [
        ("7", 7),
        ("0", 0.5),
        ("soon", 0.5),
        ("Tue, 24 Nov 2026 03:00:09 GMT", 9),
        ("Mon, 23 Nov 2026 03:00:00 GMT", 0.5),
    ],
)
async def test_the_server_s_wish_for_a_longer_wait_is_honoured(after: str, wait: float) -> None:
    server = ScriptedServer(
        [httpx.Response(429, headers={"Retry-After": after, "Date": DATE}), httpx.Response(200)]
    )
    await server.send()
    assert server.waits == [wait]


async def test_a_wait_that_ends_after_the_time_there_is_is_not_begun() -> None:
    server = ScriptedServer([httpx.Response(503, headers={"Retry-After": "61"})])
    assert (await server.send()).status_code == 503
    assert server.waits == []


async def test_no_answer_says_what_was_tried_and_how_to_look_into_it() -> None:
    server = ScriptedServer([httpx.ReadTimeout("") for _ in range(5)])
    message = (
        r"google.test: no answer to POST /v1/token in 5 attempts and 8 s: ReadTimeout\n"
        r"  cause: google.test is down, or a firewall .*\n  fix: curl -sSI https://google.test "
    )
    with pytest.raises(NoAnswer, match=message):
        await server.send()


async def test_no_answer_holds_nothing_that_was_sent_not_even_in_its_traceback_s_variables() -> None:
    server = ScriptedServer([httpx.ReadError("reset")] * 5)
    with pytest.raises(NoAnswer) as caught:
        await server.send()
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert SECRET not in "".join(shown.format())
    assert caught.value.__context__ is None


async def test_each_attempt_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    server = ScriptedServer([httpx.Response(503), httpx.ReadError("reset"), httpx.Response(200)])
    await server.send()
    assert [record.getMessage() for record in caplog.records if record.name == "net.retry_policy"] == [
        "google.test: 503; trying again in 0.5 s",
        "google.test: ReadError: reset; trying again in 1.0 s",
    ]


async def test_servers_are_verified_against_this_machine_s_own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[ssl.SSLContext] = []
    create = ssl.create_default_context

    def created_at() -> ssl.SSLContext:
        made.append(create())
        return made[0]

    monkeypatch.setattr(ssl, "create_default_context", created_at)
    async with patient() as client:
        assert client.http.timeout == httpx.Timeout(10)
    assert made[0].verify_mode == ssl.CERT_REQUIRED
    assert made[0].check_hostname


async def test_an_authority_of_one_s_own_takes_the_place_of_the_store() -> None:
    with pytest.raises(ssl.SSLError):
        async with patient(authority="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
            pass


@pytest.mark.parametrize(
    ("ahead", "difference"), [(90, "90 s behind"), (-90, "90 s ahead of"), (0, None), (9, None)]
)
def test_a_difference_of_clocks_is_named_when_it_matters(ahead: float, difference: str | None) -> None:
    answer = httpx.Response(400, headers={"Date": DATE}, request=httpx.Request("GET", URL))
    assert skew(answer, lambda: EPOCH - ahead) == ahead
    sentence = named_skew(answer, lambda: EPOCH - ahead)
    assert sentence == (f"this machine's clock is {difference} that of google.test" if difference else "")


@pytest.mark.parametrize("date", [None, "soon", "Tue, 99 Nov 2026 03:00:00 GMT"])
def test_a_server_without_a_date_has_no_clock_to_compare(date: str | None) -> None:
    answer = httpx.Response(400, headers={"Date": date} if date else {})
    assert skew(answer) is None
    assert named_skew(answer) == ""


async def test_a_streamed_answer_is_sent_for_again_before_anything_of_it_is_read() -> None:
    server = ScriptedServer([httpx.Response(503), httpx.Response(200, content=b"content")])
    answer = await server.send(stream=True)
    assert [piece async for piece in answer.aiter_bytes()] == [b"content"]


async def test_who_sends_again_by_themselves_waits_as_long() -> None:
    server = ScriptedServer([])
    for attempt in (1, 2, 9):
        await server.client().pause(attempt)
    assert server.waits == [0.5, 1, 16]
