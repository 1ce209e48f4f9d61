"""Who is measured: this service, the usual one, bare uvicorn and nginx, and how each is started."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.service.process import Request, Running, started

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
    location / {{ return 200 '{{"prediction":0.14673748808649997,"model_version":"v1.0.0"}}'; }}
  }}
}}
"""


@dataclass(frozen=True)
class Contestant:
    """Somebody to measure; `command` makes the command line for a port and a folder of its own."""

    name: str
    command: Callable[[int, Path], Sequence[str]]
    environment: Mapping[str, str] = field(default_factory=dict)
    batch: str = ""  # where it takes many rows; without, whatever is asked has one answer

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
        with started(self.command(port, folder), environment, port, request) as running:
            yield running


def contestants(root: Path | None, model: Path) -> list[Contestant]:
    """Return all four; this service from an image's root folder, or from this checkout."""
    return [_ours(root, model), _naive(model), _bare(), _nginx()]


def _ours(root: Path | None, model: Path) -> Contestant:
    if root is None:
        return Contestant(
            "this", lambda *_: [sys.executable, "-m", "app"], {"MODEL_DIR": str(model)}, "/predict"
        )
    # Not by chroot: the service wants /proc, and the interpreter is that of the base image in any case.
    command, service = [str(root / "venv/bin/python"), "-m", "app"], root / "app"
    environment = {"PYTHONPATH": str(service), "MODEL_DIR": str(service / "model")}
    return Contestant("this", lambda *_: command, environment, "/predict")


def _naive(model: Path) -> Contestant:
    return Contestant("naive", _uvicorn("bench.service.naive:app"), {"MODEL_DIR": str(model)}, "/batch")


def _bare() -> Contestant:
    return Contestant("uvicorn", _uvicorn("bench.service.hello:app", "--no-access-log"))


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
