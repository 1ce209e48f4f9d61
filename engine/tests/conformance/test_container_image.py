"""Container: images as archives, and Directory.dockerBuild."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import dagger
import pytest

from engine_fixtures import PYTHON

pytestmark = pytest.mark.anyio


async def test_an_image_leaves_what_was_set_before(dag: dagger.Client, base: dagger.Container) -> None:
    container = dag.container().with_env_variable("MINE", "1").with_label("mine", "2").with_exposed_port(7)
    container = container.with_workdir("/w").with_user("nobody").with_new_file("/file", "").from_(PYTHON)
    assert (await container.env_variable("MINE"), await container.label("mine")) == ("1", "2")
    assert (await container.workdir(), await container.user()) == (await base.workdir(), await base.user())
    assert [await port.port() for port in await container.exposed_ports()] == [7]
    assert await container.rootfs().glob("file") == []


class Layout:
    """OCI layout in a tar archive."""

    def __init__(self, path: Path) -> None:
        with tarfile.open(path) as archive:
            members = [member for member in archive if member.isfile()]
            self.files = {member.name: archive.extractfile(member).read() for member in members}  # type: ignore[union-attr]
        self.index = json.loads(self.files["index.json"])

    def blob(self, descriptor: dict[str, Any]) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.files[f"blobs/{descriptor['digest'].replace(':', '/')}"])
        return content

    @property
    def manifest(self) -> dict[str, Any]:
        return self.blob(self.index["manifests"][0])


async def test_an_image_is_exported_as_an_oci_layout_with_its_configuration(
    base: dagger.Container, tmp_path: Path
) -> None:
    image = (
        base.with_new_file("/added", "1").with_entrypoint(["cat"]).with_default_args(["/added", "two words"])
    )
    image = image.with_label("kind", "test").with_exposed_port(80).with_env_variable("NAME", "image.tar")
    path = str(tmp_path / "$NAME")
    assert await image.export(path, expand=True) == str(tmp_path / "image.tar")
    layout = Layout(tmp_path / "image.tar")
    config = layout.blob(layout.manifest["config"])["config"]
    assert (config["Entrypoint"], config["Cmd"]) == (["cat"], ["/added", "two words"])
    assert config["Labels"]["kind"] == "test"
    assert "80/tcp" in config["ExposedPorts"]
    assert "NAME=image.tar" in config["Env"]


@pytest.mark.parametrize(("forced", "kind"), [("Gzip", "+gzip"), ("Uncompressed", "")])
async def test_layers_are_compressed_as_requested(
    dag: dagger.Client, tmp_path: Path, forced: str, kind: str
) -> None:
    compression = dagger.ImageLayerCompression(forced)
    image = dag.container().with_new_file("/file", "text")
    await image.export(str(tmp_path / "exported.tar"), forced_compression=compression)
    await image.as_tarball(forced_compression=compression).export(str(tmp_path / "packed.tar"))
    for name in ("exported.tar", "packed.tar"):
        layers = Layout(tmp_path / name).manifest["layers"]
        assert {layer["mediaType"] for layer in layers} == {f"application/vnd.oci.image.layer.v1.tar{kind}"}


async def test_an_image_comes_in_from_an_archive(dag: dagger.Client, tmp_path: Path) -> None:
    layouts = []
    for name in ("one", "two"):
        await (
            dag.container().with_new_file("/name", name).with_label("name", name).export(str(tmp_path / name))
        )
        layouts.append(Layout(tmp_path / name))
        layouts[-1].index["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": name}
    both = {**layouts[0].files, **layouts[1].files}
    manifests = [layout.index["manifests"][0] for layout in layouts]
    both["index.json"] = json.dumps({**layouts[0].index, "manifests": manifests}).encode()
    with tarfile.open(tmp_path / "both", "w") as archive:
        for name, content in both.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    single = dag.container().import_(dag.host().file(str(tmp_path / "one")))
    assert (await single.label("name"), await single.file("/name").contents()) == ("one", "one")
    second = dag.container().import_(dag.host().file(str(tmp_path / "both")), tag="two")
    assert (await second.label("name"), await second.file("/name").contents()) == ("two", "two")


async def test_a_dockerfile_is_built_with_arguments_and_target(dag: dagger.Client) -> None:
    dockerfile = f"""FROM {PYTHON} AS first
ARG WORD
RUN echo "$WORD" > /word
FROM first AS second
RUN touch /second
FROM scratch
COPY --from=first /word /word
LABEL kind=last
"""
    context = dag.directory().with_new_file("other.Dockerfile", dockerfile)
    arguments = [dagger.BuildArg("WORD", "given")]
    platform = await dag.default_platform()
    last = context.docker_build(dockerfile="other.Dockerfile", build_args=arguments, platform=platform)
    assert await last.file("/word").contents() == "given\n"
    assert await last.label("kind") == "last"
    second = context.docker_build(dockerfile="other.Dockerfile", target="second", build_args=arguments)
    assert await second.with_exec(["ls", "/second"]).stdout() == "/second\n"


@pytest.mark.parametrize("word", ["one", 'two "quoted" $words \\'])
async def test_a_build_argument_reaches_what_stands_behind_it(dag: dagger.Client, word: str) -> None:
    dockerfile = f"FROM {PYTHON}\nARG WORD=default\nENV SAID=$WORD\nLABEL said=$WORD\n"
    context = dag.directory().with_new_file("Dockerfile", dockerfile)
    built = context.docker_build(build_args=[dagger.BuildArg("WORD", word)])
    assert await built.env_variable("SAID") == word
    assert await built.label("said") == word


async def test_a_dockerfile_reads_secrets_that_stay_out_of_the_image(dag: dagger.Client) -> None:
    step = "RUN --mount=type=secret,id=token rev /run/secrets/token >/reversed"
    context = dag.directory().with_new_file("Dockerfile", f"FROM {PYTHON}\n{step}\n")
    built = context.docker_build(secrets=[dag.set_secret("token", "s3cr3t-build")])
    assert await built.file("/reversed").contents() == "dliub-t3rc3s"
    assert "token" not in await built.directory("/run").glob("**")


async def test_a_dockerfile_step_that_fails_shows_what_it_wrote(dag: dagger.Client) -> None:
    context = dag.directory().with_new_file("Dockerfile", f"FROM {PYTHON}\nRUN echo $((40 + 2)) && exit 5\n")
    with pytest.raises(dagger.ExecError) as failed:
        await context.docker_build().sync()
    assert failed.value.exit_code == 5
    assert "42" in failed.value.stdout + failed.value.stderr
