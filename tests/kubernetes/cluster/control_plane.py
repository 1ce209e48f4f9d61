"""The control plane: etcd, API server, controller manager and scheduler as processes on loopback.

Flags: https://kubernetes.io/docs/reference/command-line-tools-reference/
"""

from __future__ import annotations

import secrets
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

PATIENCE = 600.0  # seconds, as the machine may be busy
SERVER = "https://127.0.0.1:6443"
ETCD = "http://127.0.0.1:2379"
CONTROLLERS = (
    "deployment-controller",
    "replicaset-controller",
    "endpoints-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "disruption-controller",
    "resourcequota-controller",
    "service-cidr-controller",
    "node-lifecycle-controller",
    "pod-garbage-collector-controller",
    "taint-eviction-controller",
)
USERS = {"admin": "system:masters", "deployer": ""}  # and their group
NODE_GRACE = 8  # seconds without a heartbeat until a node is not ready
EVICTION = 5  # seconds from there until its pods are replaced


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds; AssertionError when that takes too long."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s: {what}"
        time.sleep(0.5)


@dataclass
class ControlPlane:
    """A running control plane, and the tokens of its users."""

    programs: Path
    folder: Path
    tokens: dict[str, str] = field(default_factory=lambda: {user: secrets.token_hex() for user in USERS})
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def authority(self) -> str:
        """Return the certificate of the API server, which it signed itself, in PEM."""
        return (self.folder / "apiserver.crt").read_text()

    def open_client(self, user: str = "admin") -> httpx.Client:
        """Open a client of the API server, authenticated as a user."""
        context = ssl.create_default_context(cadata=self.authority)
        headers = {"Authorization": f"Bearer {self.tokens[user]}"}
        return httpx.Client(base_url=SERVER, headers=headers, verify=context, timeout=30, trust_env=False)

    def start(self) -> None:
        """Start everything and return once the API server is ready."""
        self._write_files()
        self._start_program("etcd", *_list_etcd_flags(self.folder))
        self.start_api_server()
        for name in ("kube-controller-manager", "kube-scheduler"):
            self._start_program(name, *_list_client_flags(self.folder), *_OWN_FLAGS[name])

    def start_api_server(self) -> None:
        """Start the API server and return once it is ready."""
        self._start_program("kube-apiserver", *_list_api_server_flags(self.folder))
        wait_until(self.is_ready, "the API server is ready")

    def stop(self, name: str) -> None:
        """Kill one program, as a power failure does."""
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def is_ready(self) -> bool:
        """Return whether the API server responds and has finished its start."""
        assert self.running["kube-apiserver"].poll() is None, self.read_log("kube-apiserver")
        try:
            with self.open_client() as client:
                return client.get("/readyz").is_success
        except (httpx.TransportError, FileNotFoundError, ssl.SSLError):
            return False

    def read_log(self, name: str) -> str:
        """Return the end of a program's log."""
        return (self.folder / f"{name}.log").read_text()[-2000:]

    def _start_program(self, name: str, *flags: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen([self.programs / name, *flags], stdout=log, stderr=log)

    def _write_files(self) -> None:
        lines = [f"{token},{user},{user},{USERS[user]}" for user, token in self.tokens.items()]
        (self.folder / "tokens.csv").write_text("\n".join(lines) + "\n")
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        (self.folder / "accounts.key").write_bytes(private)
        (self.folder / "accounts.pub").write_bytes(public)
        (self.folder / "kubeconfig").write_text(
            yaml.safe_dump(_make_kubeconfig(self.folder, self.tokens["admin"]))
        )


@contextmanager
def run_control_plane(programs: Path, folder: Path) -> Iterator[ControlPlane]:
    """Run a control plane while the block runs."""
    plane = ControlPlane(programs, folder)
    try:
        plane.start()
        yield plane
    finally:
        for name in reversed(list(plane.running)):
            plane.stop(name)


def _list_etcd_flags(folder: Path) -> list[str]:
    peers = "http://127.0.0.1:2380"
    return [
        f"--data-dir={folder}/etcd",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        "--unsafe-no-fsync",  # no test needs the data after a power failure
        "--log-level=warn",
    ]


def _list_api_server_flags(folder: Path) -> list[str]:
    return [
        f"--etcd-servers={ETCD}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--secure-port=6443",
        f"--cert-dir={folder}",
        f"--token-auth-file={folder}/tokens.csv",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder}/accounts.pub",
        f"--service-account-signing-key-file={folder}/accounts.key",
        "--endpoint-reconciler-type=none",
        f"--default-not-ready-toleration-seconds={EVICTION}",
        f"--default-unreachable-toleration-seconds={EVICTION}",
    ]


def _list_client_flags(folder: Path) -> list[str]:
    return [
        f"--kubeconfig={folder}/kubeconfig",
        "--bind-address=127.0.0.1",
        f"--cert-dir={folder}/serving",
        "--authentication-skip-lookup",
        "--leader-elect=false",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    ]


_OWN_FLAGS = {
    "kube-controller-manager": [
        f"--controllers={','.join(CONTROLLERS)}",
        f"--node-monitor-grace-period={NODE_GRACE}s",
        "--node-monitor-period=1s",
    ],
    "kube-scheduler": [],
}


def _make_kubeconfig(folder: Path, token: str) -> dict[str, object]:
    cluster = {"server": SERVER, "certificate-authority": f"{folder}/apiserver.crt"}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin"}}],
        "current-context": "lab",
    }
