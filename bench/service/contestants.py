"""The services that are measured, and how each is started."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.service.process import CLIENT_CORE, SERVER_CORE, Request, Running, started

VERSION = "v1.0.0"
# As Debian ships it, with its access log, but for one worker, the places of its files, and its user: in a
# container the memory of another user's process can't be read.
NGINX = """
daemon off;
user root;
pid {folder}/nginx.pid;
error_log stderr crit;
worker_processes 1;
events {{ worker_connections 4096; }}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port};
    default_type application/json;
    location / {{ return 200 '{{"prediction":0.14673748808650075,"model_version":"v1.0.0"}}'; }}
  }}
}}
"""


USUAL = ("fastapi", "joblib", "scikit-learn", "uvicorn")  # what is installed for it
PEER = ("numpy", "onnxruntime", "orjson", "uvicorn")
QUIET = {"PYTHONWARNINGS": "ignore"}  # that a list has no names of features, with each request
BOTH_CORES = f"{SERVER_CORE},{CLIENT_CORE}"


@dataclass(frozen=True)
class Contestant:
    """One service to measure; `command` makes the command line for a port and a folder of its own."""

    name: str
    command: Callable[[int, Path], Sequence[str]]
    environment: Mapping[str, str] = field(default_factory=dict)
    batch: str = ""  # path that takes many rows
    ready: str = ""  # path that answers 200 when the first prediction can be asked for
    has_docs: bool = False
    cores: str = SERVER_CORE
    packages: Sequence[str] = ()  # of its image; this service's own is measured itself

    @contextmanager
    def running(self, folder: Path, request: Request) -> Iterator[Running]:
        """Start it on a free port; yields once it answers a request."""
        port = _free_port()
        environment = {
            "PATH": os.environ["PATH"],
            "MODEL_VERSION": VERSION,
            "PORT": str(port),
            **self.environment,
        }
        with started(self.command(port, folder), environment, port, request, self.cores) as running:
            yield running


def portable_contestants(root: Path | None, model: Path) -> list[Contestant]:
    """Return this service, from an image's root folder or from this checkout, the usual one, and the peer."""
    return [_ours(root, model), _naive(model), _peer(model)]


def other_contestants(model: Path) -> list[Contestant]:
    """Return what serves a model that isn't portable: this service with one worker and two, and others."""
    ours = replace(_ours(None, model), batch="")
    two = {**ours.environment, "WORKERS": "2"}
    workers = replace(ours, name="two workers", environment=two, cores=BOTH_CORES)
    return [ours, workers, replace(_naive(model), batch=""), _litserve(model)]


def bare_contestants() -> list[Contestant]:
    """Return what has one answer to all: bare uvicorn, and nginx."""
    command = _uvicorn("bench.service.servers.hello:app", "--no-access-log")
    return [Contestant("uvicorn", command, packages=("uvicorn",)), _nginx()]


def _ours(root: Path | None, model: Path) -> Contestant:
    # Not by chroot: the service wants /proc, and the interpreter is that of the base image in any case.
    program = str(root / "venv/bin/python") if root else sys.executable
    environment = {"MODEL_DIR": str(model.resolve())} | ({"PYTHONPATH": str(root / "app")} if root else {})
    command = [program, "-m", "app"]
    return Contestant("this", lambda *_: command, environment, "/predict", "/readyz", has_docs=True)


def _naive(model: Path) -> Contestant:
    command, environment = _uvicorn("bench.service.servers.naive:app"), {"MODEL_DIR": str(model), **QUIET}
    return Contestant("naive", command, environment, "/batch", "/health", has_docs=True, packages=USUAL)


def _peer(model: Path) -> Contestant:
    command = _uvicorn("bench.service.servers.peer:app", "--no-access-log")
    return Contestant("peer", command, {"MODEL_DIR": str(model)}, "/predict", packages=PEER)


def _litserve(model: Path) -> Contestant:
    command = [sys.executable, "-m", "bench.service.servers.litserve_api"]
    return Contestant("litserve", lambda *_: command, {"MODEL_DIR": str(model), **QUIET}, ready="/health")


def _uvicorn(app: str, *options: str) -> Callable[[int, Path], Sequence[str]]:
    command = [sys.executable, "-m", "uvicorn", app, "--log-level", "warning", *options]
    return lambda port, _: [*command, "--host", "127.0.0.1", "--port", str(port)]


def _nginx() -> Contestant:
    def command(port: int, folder: Path) -> Sequence[str]:
        program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:" + os.environ["PATH"])
        if program is None:
            raise SystemExit("the benchmark needs nginx and wrk: apt-get install nginx-light wrk")
        (folder / "nginx.conf").write_text(NGINX.format(port=port, folder=folder))
        return [program, "-c", str(folder / "nginx.conf")]

    return Contestant("nginx", command)


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port
