"""A service under load, watched by Prometheus and Alertmanager by the files of deploy/monitoring."""

from __future__ import annotations

import contextlib
import json
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.monitoring.compressed import compress_time
from tests.monitoring.programs import Program, Prometheus, Receiver, alertmanager, prometheus, receiver
from tests.service.server import Server

MONITORING = Path(__file__).resolve().parents[2] / "deploy/monitoring"
ROWS = 20  # of each request
PAUSE = 0.02  # seconds from one request to the next

Row = Callable[[random.Random], list[float]]


def as_learned(chance: random.Random) -> list[float]:
    """Return a row like the training rows on the model's card: evenly spread from 0 to 20."""
    return [chance.uniform(0, 20) for _ in range(3)]


@dataclass
class Load:
    """A client that requests predictions and keeps the statuses."""

    server: Server
    row: Row
    statuses: list[int]

    def send(self, stopped: threading.Event) -> None:
        """Send requests until stopped."""
        chance = random.Random(0)
        while not stopped.wait(PAUSE):
            body = {"instances": [self.row(chance) for _ in range(ROWS)]}
            self.statuses.append(self.server.request("POST", "/predict", json.dumps(body).encode()).status)


@contextlib.contextmanager
def load(server: Server, row: Row = as_learned) -> Iterator[Load]:
    """Request predictions while the block runs."""
    traffic, stopped = Load(server, row, []), threading.Event()
    thread = threading.Thread(target=traffic.send, args=[stopped])
    thread.start()
    try:
        yield traffic
    finally:
        stopped.set()
        thread.join()


@dataclass(frozen=True)
class Watch:
    """The monitoring programs, and the file in which Prometheus finds the instances."""

    prometheus: Prometheus
    alertmanager: Program
    receiver: Receiver
    instances: Path

    def set_instances(self, *servers: Server) -> None:
        """Let Prometheus find these instances, the first being called a, and no others."""
        write_instances(self.instances, servers)


@contextlib.contextmanager
def watch(folder: Path, *servers: Server) -> Iterator[Watch]:
    """Monitor servers with the files in deploy/monitoring, in which an hour lasts a minute."""
    instances = folder / "instances.json"
    write_instances(instances, servers)
    with run_alertmanager(folder) as (pager, alerts):
        config = _config(folder, alerts.address, instances)
        with prometheus(config) as watching:
            yield Watch(watching, alerts, pager, instances)


@contextlib.contextmanager
def run_alertmanager(folder: Path) -> Iterator[tuple[Receiver, Program]]:
    """Run Alertmanager with the configuration in deploy/monitoring, and a receiver."""
    text = compress_time((MONITORING / "alertmanager.yml").read_text())
    with receiver() as pager:
        config = folder / "alertmanager.yml"
        config.write_text(text.replace("http://localhost:9095", pager.address))
        with alertmanager(config) as alerts:
            yield pager, alerts


def write_instances(instances: Path, servers: Sequence[Server]) -> None:
    """Write where instances are; they keep their names when they come back at another port."""
    targets = [
        {
            "targets": [f"127.0.0.1:{server.port}"],
            "labels": {"namespace": "production", "instance": chr(ord("a") + number)},
        }
        for number, server in enumerate(servers)
    ]
    new = instances.with_suffix(".new")
    new.write_text(json.dumps(targets))
    new.replace(instances)


def _config(folder: Path, alerts: str, instances: Path) -> Path:
    """Write a copy of prometheus.yml and the rules that it loads, but for where the instances are."""
    config: dict[str, Any] = yaml.safe_load(compress_time((MONITORING / "prometheus.yml").read_text()))
    for name in config["rule_files"]:
        (folder / name).write_text(compress_time((MONITORING / name).read_text()))
    config["global"]["scrape_interval"] = "1s"  # in less, a busy machine might not answer
    config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [alerts]}]}]
    job = config["scrape_configs"][0]["job_name"]
    config["scrape_configs"] = [{"job_name": job, "file_sd_configs": [{"files": [str(instances)]}]}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path
