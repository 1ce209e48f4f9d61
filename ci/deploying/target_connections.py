"""Connections to the targets of environments, as the operator or as Google's identity."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import dagger
from dagger import dag

from deploying.alerts import Alertmanager
from deploying.environments import Environment
from deploying.rollout.target import Target
from deploying.targets import cloud_run, kubernetes, swarm
from deploying.targets.api_client import Api, Mint
from deploying.targets.api_server import ApiServer
from deploying.targets.manifests import Manifests
from errors import InvalidIdentity
from keyless.federation import Federation
from keyless.google_identity import Identity
from net.retry_policy import Retrying, patient
from net.tokens import Token

_KUBERNETES, _SWARM = "deploy/kubernetes/service.yaml", "deploy/swarm/service.yaml"
_RELAY, _RELAY_PORT = "ci/deploying/targets/socket_relay.py", 2375

Reached = AsyncIterator[tuple[Target, Retrying]]


@dataclass(frozen=True)
class Operator:
    """Operator of a deployment: name, credentials where Google's tokens are not enough, Alertmanager."""

    by: str | None = None
    takeover: bool = False
    docker: dagger.Socket | None = None
    kubernetes_token: dagger.Secret | None = None
    alertmanager: Alertmanager | None = None


class Files(Protocol):
    """The repository."""

    def file(self, path: str) -> dagger.File:
        """Return one of its files."""


@dataclass(frozen=True)
class Reach:
    """Opens targets as an operator, with the repository's files; a container of the base gets the socket."""

    source: Files
    base: dagger.Container
    identity: Identity | None
    operator: Operator

    @asynccontextmanager
    async def open_target(self, environment: Environment) -> Reached:
        """Open an environment's target and the client for its requests."""
        settings = environment.settings
        if isinstance(settings, kubernetes.Settings):
            opening = self._cluster(settings)
        elif isinstance(settings, swarm.Settings):
            opening = self._swarm(settings)
        else:
            opening = self._cloud_run(settings)
        async with opening as found:
            yield found

    async def owner(self, client: Retrying) -> str:
        """Return who deploys: as they say, else as their identity says."""
        if self.operator.by or self.identity is None:
            return self.operator.by or "an operator without --by"
        claims = (await Federation(self.identity, client).identity_token()).claims()
        return f"{claims['repository']} run {claims['run_id']}" if "run_id" in claims else str(claims["sub"])

    @asynccontextmanager
    async def _cloud_run(self, settings: cloud_run.Settings) -> Reached:
        async with patient() as client:
            federation = Federation(self._identity("cloud run"), client)
            yield cloud_run.CloudRun.of(settings, federation, client), client

    @asynccontextmanager
    async def _cluster(self, settings: kubernetes.Settings) -> Reached:
        manifests = Manifests.of(await self.source.file(_KUBERNETES).contents())
        authority = await self.source.file(settings.authority).contents() if settings.authority else None
        given = self.operator.kubernetes_token
        async with patient(authority=authority) as client, patient() as google:
            if given:
                mint = _mint_of(Token(await given.plaintext()))
            else:
                mint = Federation(self._identity("kubernetes"), google).access_token
            api = ApiServer("Kubernetes", settings.server, client, mint, kubernetes.conflict)
            yield kubernetes.Kubernetes(settings, manifests, api), client

    @asynccontextmanager
    async def _swarm(self, settings: swarm.Settings) -> Reached:
        if self.operator.docker is None:
            raise InvalidIdentity(
                "swarm: requests need a manager's socket; give --docker unix:///var/run/docker.sock"
            )
        service = swarm.template(await self.source.file(_SWARM).contents())
        key = Token(secrets.token_urlsafe())
        relay = await self._relay(self.operator.docker, key).start()
        try:
            address = await relay.endpoint(port=_RELAY_PORT, scheme="http")
            async with patient() as client:
                api = Api("Docker", address, client, _mint_of(key), swarm.is_conflict)
                yield swarm.Swarm(settings, service, api, client.http), client
        finally:
            await relay.stop()

    def _relay(self, socket: dagger.Socket, key: Token) -> dagger.Service:
        """Return what leads to a socket: module code cannot open one, but a container can have it."""
        command = ["python", "/relay.py", "/docker.sock", str(_RELAY_PORT), "/run/key"]
        return (
            self.base.with_file("/relay.py", self.source.file(_RELAY))
            .with_unix_socket("/docker.sock", socket)
            .with_mounted_secret("/run/key", dag.set_secret("docker-key", key.reveal()))
            .with_exposed_port(_RELAY_PORT)
            .as_service(args=command)
        )

    def _identity(self, what: str) -> Identity:
        if self.identity is None:
            raise InvalidIdentity(
                f"{what}: Google has to know who deploys; give --workload-identity-provider, which `dagger "
                "call setup-google` prints"
            )
        return self.identity


def _mint_of(token: Token) -> Mint:
    async def mint() -> Token:
        return token

    return mint
