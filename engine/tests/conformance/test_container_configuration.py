"""Container: environment, entrypoint, labels, ports, and replaced variables."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import dagger
import pytest

from conformance.commands import shell, stats

pytestmark = pytest.mark.anyio


async def test_environment_workdir_and_user_hold_for_commands(base: dagger.Container) -> None:
    container = base.with_env_variable("NAME", "value").with_workdir("/some/where").with_user("nobody")
    assert await shell(container, 'echo "$NAME"; pwd; id -un') == "value\n/some/where\nnobody\n"
    assert await container.env_variable("NAME") == "value"
    assert (await container.workdir(), await container.user()) == ("/some/where", "nobody")
    assert await container.with_workdir("../there").workdir() == "/some/there"
    bare = container.without_user().without_workdir().without_env_variable("NAME")
    assert await shell(bare, 'echo "[$NAME]"; pwd; id -un') == "[]\n/\nroot\n"
    assert (await bare.workdir(), await bare.user(), await bare.env_variable("NAME")) == ("", "", None)


async def test_variables_keep_their_order_and_one_value_each(base: dagger.Container) -> None:
    before = [await variable.name() for variable in await base.env_variables()]
    after = await base.with_env_variable("PATH", "/bin").with_env_variable("NEW", "1").env_variables()
    assert [await variable.name() for variable in after] == [*before, "NEW"]
    assert {await variable.name(): await variable.value() for variable in after}["PATH"] == "/bin"
    assert await after[-1].id()


async def test_a_variable_of_the_image_can_be_taken_away(base: dagger.Container) -> None:
    bare = base.without_env_variable("LANG")
    assert await base.env_variable("LANG") is not None
    assert await bare.env_variable("LANG") is None
    assert "LANG=" not in await bare.with_exec(["env"]).stdout()


async def test_entrypoint_and_default_arguments_can_be_set_and_taken_back(base: dagger.Container) -> None:
    container = base.with_entrypoint(["echo"]).with_default_args(["hello"])
    assert (await container.entrypoint(), await container.default_args()) == (["echo"], ["hello"])
    kept = container.with_entrypoint(["cat"], keep_default_args=True)
    assert (await kept.entrypoint(), await kept.default_args()) == (["cat"], ["hello"])
    assert await container.with_entrypoint(["cat"]).default_args() == []
    assert await container.without_entrypoint(keep_default_args=True).default_args() == ["hello"]
    bare = container.without_entrypoint()
    assert (await bare.entrypoint(), await bare.default_args()) == ([], [])
    assert await container.without_default_args().default_args() == []


async def test_labels_can_be_set_and_taken_back(base: dagger.Container) -> None:
    labelled = base.with_label("one", "1").with_label("two", "2")
    assert await labelled.label("one") == "1"
    found = {await label.name(): await label.value() for label in await labelled.labels()}
    assert (found["one"], found["two"]) == ("1", "2")
    assert await labelled.without_label("one").label("one") is None
    assert await (await labelled.labels())[0].id()


async def test_ports_can_be_exposed_and_taken_back(base: dagger.Container) -> None:
    container = base.with_exposed_port(8080)
    tcp, udp = dagger.NetworkProtocol.TCP, dagger.NetworkProtocol.UDP
    container = container.with_exposed_port(53, protocol=udp).with_exposed_port(53)
    ports = await container.exposed_ports()  # in no order
    assert {(await port.port(), await port.protocol()) for port in ports} == {
        (8080, tcp),
        (53, udp),
        (53, tcp),
    }
    left = await container.without_exposed_port(53, protocol=udp).without_exposed_port(8080).exposed_ports()
    assert [(await port.port(), await port.protocol()) for port in left] == [(53, tcp)]
    (web,) = await base.with_exposed_port(
        8080, description="web", experimental_skip_healthcheck=True
    ).exposed_ports()
    assert (await web.description(), await web.experimental_skip_healthcheck()) == ("web", True)
    assert await web.id()


EXPANDING: dict[str, Callable[[dagger.Container, dagger.Client], Awaitable[Any]]] = {
    "withEnvVariable": lambda c, _: c.with_env_variable("X", "$IT-${IT}", expand=True).env_variable("X"),
    "withWorkdir": lambda c, _: c.with_workdir("/$IT", expand=True).workdir(),
    "withExec": lambda c, _: c.with_exec(["echo", "$IT"], expand=True).stdout(),
    "directory": lambda c, _: c.directory("/in/$IT", expand=True).entries(),
    "file": lambda c, _: c.file("/in/$IT/file", expand=True).contents(),
    "withDirectory": lambda c, d: (
        c.with_directory("/$IT", d.directory().with_new_file("x", ""), expand=True).directory("/it").entries()
    ),
    "withFile": lambda c, d: c.with_file("/$IT", d.file("x", "1"), expand=True).file("/it").contents(),
    "withFiles": lambda c, d: (
        c.with_files("/$IT", [d.file("x", "1")], expand=True).directory("/it").entries()
    ),
    "withNewFile": lambda c, _: c.with_new_file("/$IT", "2", expand=True).file("/it").contents(),
    "withoutFile": lambda c, _: c.without_file("/in/$IT/file", expand=True).directory("/in/it").entries(),
    "withoutFiles": lambda c, _: c.without_files(["/in/$IT/*"], expand=True).directory("/in/it").entries(),
    "withoutDirectory": lambda c, _: c.without_directory("/in/$IT", expand=True).directory("/in").entries(),
    "withMountedDirectory": lambda c, d: c.with_mounted_directory(
        "/$IT", d.directory(), expand=True
    ).mounts(),
    "withMountedFile": lambda c, d: c.with_mounted_file("/$IT", d.file("x", "1"), expand=True).mounts(),
    "withMountedCache": lambda c, d: c.with_mounted_cache(
        "/$IT", d.cache_volume("test-expanded"), expand=True
    ).mounts(),
    "withMountedTemp": lambda c, _: c.with_mounted_temp("/$IT", expand=True).mounts(),
    "withoutMount": lambda c, _: c.with_mounted_temp("/it").without_mount("/$IT", expand=True).mounts(),
    "withMountedSecret": lambda c, d: stats(
        c.with_mounted_secret("/$IT", d.set_secret("expanded", "s3cr3t-expanded"), expand=True), "/it"
    ),
}
EXPANDED = {
    "withEnvVariable": "it-it",
    "withWorkdir": "/it",
    "withExec": "it\n",
    "directory": ["file"],
    "file": "text",
    "withDirectory": ["x"],
    "withFile": "1",
    "withFiles": ["x"],
    "withNewFile": "2",
    "withoutFile": [],
    "withoutFiles": [],
    "withoutDirectory": [],
    "withMountedDirectory": ["/it"],
    "withMountedFile": ["/it"],
    "withMountedCache": ["/it"],
    "withMountedTemp": ["/it"],
    "withoutMount": [],
    "withMountedSecret": ["400 root:root /it"],
}


@pytest.mark.parametrize("field", EXPANDING)
async def test_variables_are_replaced_on_request(
    dag: dagger.Client, base: dagger.Container, field: str
) -> None:
    container = base.with_env_variable("IT", "it").with_new_file("/in/it/file", "text")
    assert await EXPANDING[field](container, dag) == EXPANDED[field]
