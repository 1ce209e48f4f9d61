"""Requests that are nearly good ones: bodies and heads of POST /predict with a few things changed."""

from __future__ import annotations

import re
from random import Random

_tokens = re.compile(rb'"[^"]*"|[-+.\w]+').finditer

PROBE = b"GET /livez HTTP/1.1\r\nhost: probe\r\nx-request-id: probe\r\n\r\n"

# fmt: off
TOKENS = (
    b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u0066", b"\\ud800", b"\0", b"\x7f", b"\xe9",
    b"-0", b"-0.0", b"0", b"00", b"01", b"1.", b".5", b"+1", b"1e5", b"1E-5", b"1e400", b"-1e400", b"1e-400",
    b"NaN", b"Infinity", b"-Infinity", b"true", b"false", b"null", b"9" * 20, b"9" * 400, b"1_0", b"0x10",
    b" ", b"\t", b"\n", b"\r", b"\x0b", b"\xc2\xa0", b"\xef\xbb\xbf", b"\xff\xfe", b"/**/", b"//", b"'",
    b"\xc3\xa9", b"{}",
    b'"features":', b'"features":[1,2,3]', b'"instances":', b'"instances":[[1,2,3]]', b'"x":1', b"[1,2,3]",
)
NUMBERS = ("1", "-0", "0", "2.5", "17.99", "1e3", "-1E+2", "5e-324", "1e308", "123456789012345678901", "0.1")
BODIES = (
    b'{"features":[17.99,10.38,1.095]}',
    b'{"features": [1, 2, 3]}',
    b'{"instances":[[1,2,3],[4,5,6]]}',
    b'\n{ "features" :\t[ 1e0 , -0 , 2 ] }\n',
)
PLAIN = b"Host: x\r\nContent-Type: application/json\r\n"
CLOUD_RUN = (
    b"host: known-abcdefghij-uc.a.run.app\r\nuser-agent: python-httpx/0.28.1\r\naccept: */*\r\n"
    b"accept-encoding: gzip, deflate\r\nconnection: keep-alive\r\ncontent-type: application/json\r\n"
    b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
    b"x-cloud-trace-context: 0af7651916cd43dd8448eb211c80319c/13235353014750950193;o=1\r\n"
    b'x-forwarded-for: 203.0.113.77\r\nx-forwarded-proto: https\r\nforwarded: for="203.0.113.77"\r\n'
)
FIRST_LINES = (
    b"GET /predict HTTP/1.1", b"HEAD /predict HTTP/1.1", b"post /predict HTTP/1.1",
    b"POST /predict HTTP/1.0", b"POST /predict HTTP/1.2", b"POST  /predict HTTP/1.1", b"POST /predict",
    b"POST /predict?x=1 HTTP/1.1", b"POST /predict/ HTTP/1.1", b"POST /%70redict HTTP/1.1",
    b"POST http://x/predict HTTP/1.1", b"POST * HTTP/1.1",
    b"GET /livez HTTP/1.1", b"GET /readyz HTTP/1.1", b"GET /model HTTP/1.1", b"POST /livez HTTP/1.1",
    b"HEAD /livez HTTP/1.1", b"HEAD / HTTP/1.1", b"POST /predict HTTP/2.0", b"POST /predict HTTP/3.1",
    b"POST /predict  HTTP/1.1", b"POST /predict HTTP/1.1 ", b"PRI * HTTP/2.0", b"CONNECT x:80 HTTP/1.1",
    b"GET /v2/health/ready HTTP/1.1", b"POST /v2/models/known/infer HTTP/1.1", b"GET /nowhere HTTP/1.1",
)
LINES = (
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"transfer-encoding: gzip, chunked",
    b"Expect: 100-continue", b"Expect: nothing", b"EXPECT:100-Continue",
    b"Upgrade: h2c", b"Upgrade: websocket", b"Connection: Upgrade", b"connection: Keep-Alive, Upgrade",
    b"Connection: close", b"Connection: keep-alive", b"Connection:", b"connection : close",
    b"Proxy-Connection: close", b"Keep-Alive: timeout=5", b"TE: trailers",
    b"Content-Length: 5", b"Content-Length: +32", b"Content-Length: 0x20", b"Content-Length: 32, 32",
    b"content-length: 99999999999999999999", b"Content-Length:", b"Content-Length: -1", b"Content_Length: 5",
    b"X-Request-ID: given-1", b"x-request-id: a b", b"x-request-id:", b"X-REQUEST-ID: " + b"a" * 129,
    b"X-Request-ID: \xe9", b"x-request-id: Root=1-67891233-abcdef012345678912345678", b"X-Request-ID:tight",
    b" folded", b"\tfolded", b"No colon", b"Sp ace: x", b": empty name", b"X-Nul: a\0b", b"X-Del: \x7f",
    b"X-High: \xff", b"X-Cr: a\rb", b"X-Lf: a\nb", b"X-Tab: a\tb", b"X-Empty:", b"X-Odd!#$%&'*+-.^_`|~: x",
    b'X-"Quoted": x', b"X-Long: " + b"a" * 20000, b"\r\n".join(b"X-%d: y" % index for index in range(120)),
    b"Host: y", b"Host:", b"HOST: a b", b"Content-Encoding: gzip", b"Content-Encoding: identity",
    b"Trailer: X", b"Range: bytes=0-1", b"HTTP2-Settings: AAMAAABk",
)
MIXED_BODIES = (
    b'{"features":["north",81.5,3,true,"red"]}',
    b'{"features":["the \\"east\\"",1e3,-0,false,"blue"]}',
    b'{"features": [null, null, 2.5, true, "blue"]}',
    b'{"features":{"town":"nowhere","size in m\xc2\xb2":12,"rooms":4,"garden":true,"color":"red"}}',
    b'{"features": {"color": "blue", "garden": false, "rooms": 1, "size in m\xc2\xb2": null, "town": null}}',
    b'{"instances":[["north",81.5,3,true,"red"],'
    b'{"town":"south","size in m\xc2\xb2":1,"rooms":4,"garden":true,"color":"red"}]}',
)
MIXED_TOKENS = (
    b'"town":', b'"town":"south"', b'"north"', b'"red"', b'"blue"', b'"green"', b'"garden":true', b'""',
    b'"\\ud800"', b"\xc3\xa9", b"true", b"false", b"null", b",", b'"', b'"rooms":1', b'"features":{}',
    b"12", b"-0",
)
# fmt: on


def mutate_body(random: Random) -> bytes:
    """Return a body of POST /predict: a good one of some form, or one with a few things changed."""
    body = bytearray(random.choice(BODIES))
    if random.random() < 0.5:
        numbers = ",".join(random.choice(NUMBERS) for _ in range(random.choice((2, 3, 3, 3, 3, 4))))
        body = bytearray(f'{{"features":[{numbers}]}}'.encode())
    for _ in range(random.choice((0, 0, 1, 1, 1, 2, 3))):
        at, length = random.randrange(len(body) + 1), random.choice((0, 0, 1, 1, 2, 5))
        new = random.choice((random.choice(TOKENS), b"", bytes([random.randrange(256)])))
        body[at : at + length] = new
    if random.random() < 0.01:
        body = bytearray(
            body.decode("latin-1").encode(random.choice(("utf-16", "utf-16-le", "utf-32", "utf-8")))
        )
    if random.random() < 0.002:
        body = bytearray(bytes(body).replace(b" ", b" " * 70000))
    return bytes(body)


def mutate_mixed_body(random: Random) -> bytes:
    """Return a body for a model of mixed columns, mostly with a few things changed."""
    body = bytearray(random.choice(MIXED_BODIES))
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        at, length = random.randrange(len(body) + 1), random.choice((0, 0, 1, 1, 2, 5))
        if random.random() < 0.5:  # a whole value or name
            at, length = _token(random, bytes(body))
        new = random.choice((random.choice(TOKENS), random.choice(MIXED_TOKENS), random.choice(MIXED_TOKENS)))
        body[at : at + length] = new
    return bytes(body)


def _token(random: Random, body: bytes) -> tuple[int, int]:
    """Return where a value or a name begins, and its length."""
    found = [*_tokens(body)]
    if not found:
        return 0, 0
    token = random.choice(found)
    return token.start(), len(token[0])


def mutate_head(random: Random) -> list[bytes]:
    """Return the segments of a request whose head has a few things changed, and of a probe behind it."""
    body = random.choice(BODIES)
    if random.random() < 0.1:
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    lines = [b"POST /predict HTTP/1.1", *random.choice((PLAIN, CLOUD_RUN)).split(b"\r\n")[:-1]]
    lines.insert(random.randint(1, len(lines)), b"Content-Length: %d" % len(body))
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        _change(random, lines)
    head = bytearray(b"\r\n".join(lines) + b"\r\n\r\n")
    if random.random() < 0.2:
        at = random.randrange(len(head))
        head[at : at + random.choice((0, 1, 1, 2))] = random.choice(
            (b"", b"\r\n", bytes([random.randrange(256)]))
        )
    return _segments(random, bytes(head), body)


def _change(random: Random, lines: list[bytes]) -> None:
    at = random.randrange(len(lines))
    match random.randrange(7):
        case 0 | 1 | 2:
            lines.insert(random.randint(1, len(lines)), random.choice(LINES))
        case 3:
            lines[0] = random.choice(FIRST_LINES)
        case 4:
            lines[at] = random.choice((lines[at].lower(), lines[at].upper(), lines[at].replace(b": ", b":")))
        case 5:
            lines.insert(at, lines[at])
        case _:
            del lines[at : at + (at > 0)]


def _segments(random: Random, head: bytes, body: bytes) -> list[bytes]:
    cut = random.randrange(len(head))
    return random.choice(
        (
            [head + body + PROBE],
            [head, body + PROBE],
            [head + body, PROBE],
            [head, body, PROBE],
            [head + body[:5], body[5:] + PROBE],
            [head[:cut], head[cut:] + body + PROBE],
            [b"\n" + head + body, PROBE],
            [b"\r\n", head + body, head + body + PROBE],
            [head + body + head, body + PROBE],
        )
    )
