"""A pod's only container: a real process in a network namespace of its own, on the nodes' bridge."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import anyio

BRIDGE, GATEWAY, PREFIX = "pods", "10.244.0.1", 16
_PORT = 8080
# The process starts once its link is there, as a container does once its sandbox is ready.
_SCRIPT = """
ip link set lo up
until ip link show eth0 >/dev/null 2>&1; do sleep 0.02; done
ip address add "$0/{prefix}" dev eth0
ip link set eth0 up
exec setpriv --reuid {user} --regid {group} --clear-groups --no-new-privs --bounding-set=-all \
    --pdeathsig KILL -- "$@"
"""
_LINKS = count(1)

Object = dict[str, Any]


def make_bridge() -> None:
    """Make the network that nodes and pods are on, in the network namespace of this process."""
    for words in (
        ("link", "add", BRIDGE, "type", "bridge"),
        ("address", "add", f"{GATEWAY}/{PREFIX}", "dev", BRIDGE),
        ("link", "set", BRIDGE, "up"),
    ):
        subprocess.run(["ip", *words], check=True)


class PullFailed(Exception):
    """No image has this name."""


def read_image(folder: Path, name: str) -> Object:
    """Return the command and variables of an image; raises PullFailed when there is none."""
    try:
        found: Object = json.loads((folder / f"{name.rpartition(':')[2]}.json").read_text())
    except FileNotFoundError as error:
        raise PullFailed(f'failed to pull image "{name}": not found') from error
    return found


@dataclass
class PodProcess:
    """A running process, and the address of its pod."""

    address: str
    process: subprocess.Popen[bytes]

    @classmethod
    async def start(cls, pod: Object, program: Object, address: str) -> PodProcess:
        """Start an image's command with a pod's variables, as its user."""
        spec = pod["spec"]
        context = spec.get("securityContext", {})
        user, group = context.get("runAsUser", 65534), context.get("runAsGroup", 65534)
        script = _SCRIPT.format(prefix=PREFIX, user=user, group=group)
        variables = {each["name"]: each.get("value", "") for each in spec["containers"][0].get("env", [])}
        words = ["unshare", "--net", "sh", "-ec", script, address, *program["command"]]
        environment = {"PATH": os.environ["PATH"], **program["environment"], **variables}
        process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
        while os.readlink(f"/proc/{process.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            await anyio.sleep(0.005)
        link = f"pod{next(_LINKS)}.{os.getpid()}"
        wire = ["ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(process.pid)]
        await anyio.run_process(wire)
        await anyio.run_process(["ip", "link", "set", link, "master", BRIDGE, "up"])
        return cls(address, process)

    async def succeeds(self, probe: Object) -> bool:
        """Return whether a probe's request succeeds, on a new connection as from a kubelet."""
        request = (
            f"GET {probe['httpGet']['path']} HTTP/1.1\r\nHost: {self.address}\r\nConnection: close\r\n\r\n"
        )
        with anyio.move_on_after(probe.get("timeoutSeconds", 1)):
            try:
                async with await anyio.connect_tcp(self.address, _PORT) as connection:
                    await connection.send(request.encode())
                    return (await connection.receive(64)).startswith((b"HTTP/1.1 2", b"HTTP/1.0 2"))
            except (OSError, anyio.EndOfStream, anyio.BrokenResourceError):
                return False
        return False

    def has_ended(self) -> bool:
        """Return whether the process has ended."""
        return self.process.poll() is not None

    async def stop(self, grace: float) -> None:
        """Terminate the process; kill it when it has not ended within its grace period in seconds."""
        self._send_signal(signal.SIGTERM)
        with anyio.move_on_after(grace):
            while not self.has_ended():
                await anyio.sleep(0.05)
        if not self.has_ended():
            self._send_signal(signal.SIGKILL)
        self.process.wait()

    def _send_signal(self, number: int) -> None:
        if not self.has_ended():
            os.killpg(self.process.pid, number)
