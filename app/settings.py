"""The service's settings: the only place that knows environment variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import NoReturn

from app.cpu_quota import usable_processors
from app.errors import SettingsError

MOST_WORKERS = 64

ROUTE = re.compile(r"/[!$&'()*+,\-./0-9:;=@A-Z_a-z~]*")


@dataclass(frozen=True)
class Limits:
    """Limits on clients, for one worker; the variable of each is LIMIT_ and its name in capitals."""

    body_bytes: int = 64 * 1024  # of a request for one prediction
    batch_bytes: int = 1_500_000  # of a request for many: what Vertex AI lets through
    batch_rows: int = 10_000
    head_bytes: int = 16 * 1024  # of the request line and the header fields
    head_fields: int = 100
    head_seconds: int = 5  # from a request's first byte to the end of its head
    body_seconds: int = (
        5  # from there to its last byte; a stopping server waits longer (server.GRACE_SECONDS)
    )
    write_seconds: int = 30  # for the client to read what it was sent
    idle_seconds: int = 75  # between two requests on a connection
    connections: int = 2000
    batches: int = 8  # long bodies that are worked on at once
    in_flight: int = 256  # requests that have come whole and wait for their response


@dataclass(frozen=True)
class Settings:
    """Settings of the service. Port 0 takes any free port."""

    port: int = 8080
    workers: int = 1  # processes; `auto` is one for each processor that may be used
    model_version: str = "v0.0.0-dev"
    image_digest: str | None = None
    model_dir: Path = Path("model")
    predict_route: str | None = None  # Vertex AI's names for POST /predict and GET /readyz
    health_route: str | None = None
    project: str | None = None  # Google's, to which traces in the log belong
    hot_path: bool = True
    access_log: int = 10  # how many successful requests a second are logged; those that fail all are
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read the variables that docs/service.md lists; an empty one counts as unset.

        Raises SettingsError when one has a value that cannot be used.
        """
        given = {name: value for name, value in environment.items() if value}
        return cls(
            port=_port(given),
            workers=_workers(given),
            model_version=_text(given, "MODEL_VERSION") or cls.model_version,
            image_digest=_text(given, "IMAGE_DIGEST"),
            model_dir=Path(_text(given, "MODEL_DIR") or cls.model_dir),
            predict_route=_route(given, "AIP_PREDICT_ROUTE"),
            health_route=_route(given, "AIP_HEALTH_ROUTE"),
            project=_text(given, "GOOGLE_CLOUD_PROJECT"),
            hot_path=_switch(given, "HOT_PATH", cls.hot_path),
            access_log=_integer(given, "ACCESS_LOG", cls.access_log, range(10_001)),
            limits=Limits(**{each.name: _limit(given, each.name, each.default) for each in fields(Limits)}),
        )


def _port(given: Mapping[str, str]) -> int:
    name = "AIP_HTTP_PORT" if "AIP_HTTP_PORT" in given else "PORT"
    return _integer(given, name, Settings.port, range(65536))


def _workers(given: Mapping[str, str]) -> int:
    if given.get("WORKERS") == "auto":
        return min(MOST_WORKERS, usable_processors())
    return _integer(given, "WORKERS", Settings.workers, range(1, MOST_WORKERS + 1), " or auto")


def _limit(given: Mapping[str, str], name: str, default: object) -> int:
    assert isinstance(default, int)
    return _integer(given, f"LIMIT_{name.upper()}", default, range(1, 10**9 + 1))


def _integer(given: Mapping[str, str], name: str, default: int, allowed: range, other: str = "") -> int:
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) in allowed):
        _refuse(name, text, f"a number from {allowed[0]} to {allowed[-1]}{other}")
    return int(text)


def _text(given: Mapping[str, str], name: str) -> str | None:
    text = given.get(name)
    try:
        (text or "").encode()
    except UnicodeEncodeError:  # it is sent back and logged
        _refuse(name, str(text), "text in UTF-8")
    return text


def _route(given: Mapping[str, str], name: str) -> str | None:
    text = given.get(name)
    if text is not None and not ROUTE.fullmatch(text):
        _refuse(name, text, "a path that starts with a slash")
    return text


def _switch(given: Mapping[str, str], name: str, default: bool) -> bool:
    text = given.get(name, str(int(default)))
    if text not in ("0", "1"):
        _refuse(name, text, "0 or 1")
    return text == "1"


def _refuse(name: str, text: str, expected: str) -> NoReturn:
    raise SettingsError(f"settings: {name} is {text!r}; set it to {expected}")
