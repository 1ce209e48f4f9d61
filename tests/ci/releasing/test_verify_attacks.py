"""Attacks by a writer to the registry without our identity: each is found by name.

An attacker changes an image that was released, and makes its documents anew with our own program, so that
digests and documents fit each other.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from errors import InvalidLayout, NotVerified
from image import (
    archive_reader,
    archive_writer,
    canonical,
    canonical_json,
    conformance,
    layer_tree,
    provenance,
    release_files,
    sbom,
)
from image.archive_reader import Blob, Layout
from oci.reference import Image, Release
from oci.repository import Repository, connect
from releasing import publishing, verify
from tests.ci.sample_image import FILES, ORIGIN, build, layer
from tests.ci.sigstore_lab import UNSIGNED

if TYPE_CHECKING:
    from tests.ci.conftest import Archive

pytestmark = pytest.mark.anyio
Config = dict[str, Any]


@dataclass
class Attacker:
    """A released image's layers and configuration, to be changed and pushed."""

    repository: Repository
    folder: Path
    layers: list[bytes]
    config: Config

    def change(self, number: int, change: Callable[[tarfile.TarInfo], None], **contents: bytes) -> None:
        """Change the headers of a layer's entries, and the contents of those that are named."""
        written = io.BytesIO()
        with (
            tarfile.open(fileobj=io.BytesIO(self.layers[number])) as old,
            tarfile.open(fileobj=written, mode="w") as new,
        ):
            for member in old:
                file = old.extractfile(member) if member.isreg() else None
                content = contents.get(member.name.rpartition("/")[2].partition(".")[0]) or (
                    file.read() if file else b""
                )
                member.size = len(content)
                change(member)
                new.addfile(member, io.BytesIO(content))
        self.layers[number] = written.getvalue()

    async def push(self, *, documents: Path | None = None) -> Release:
        """Push the image with documents made anew, or with the real ones of a folder."""
        digests = [canonical_json.digest(each) for each in self.layers]
        self.config["rootfs"] = {"diff_ids": digests, "type": "layers"}
        packed = [gzip.compress(each, mtime=0) for each in self.layers]
        config = canonical_json.canonical(self.config)
        blobs = [Blob(canonical_json.digest(each), len(each), 0) for each in packed]
        path = self.folder / "pushed.tar"
        with archive_writer.Archive.of(path, canonical.manifest(config, blobs)) as written:
            for each in (config, *packed):
                written.document(canonical_json.digest(each), each)
        image = archive_reader.read(path)
        if documents is None:
            documents = self.folder / "forged"
            documents.mkdir()
            with layer_tree.open_tree(image) as tree:
                bill = sbom.document(image, tree)
                (documents / release_files.SBOM).write_bytes(bill)
                statement = provenance.statement(image, tree, bill)
                (documents / release_files.PROVENANCE).write_bytes(statement)
        await self.repository.publish(image, "v1.0.0", publishing.attachments(image, documents))
        return Release(Image("localhost:5000", self.repository.name, "v1.0.0"), image.digest)


@pytest.fixture
async def attacker(
    registry_url: str, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Attacker]:
    monkeypatch.chdir(tmp_path)
    release_files.write(build(archive, layer(FILES)), ORIGIN, tmp_path / "real")
    image: Layout = archive_reader.read(tmp_path / "real" / release_files.IMAGE)
    layers = [gzip.decompress(b"".join(image.chunks(each))) for each in image.layers]
    async with connect(registry_url, f"tests/{uuid.uuid4()}") as repository:
        yield Attacker(repository, tmp_path, layers, image.config)


async def reason(attacker: Attacker, **how: Any) -> str:
    """Return why what an attacker pushed is not verified."""
    released = await attacker.push(**how)
    with pytest.raises(NotVerified) as raised:
        await verify.verify_release(attacker.repository, released, UNSIGNED)
    return raised.value.message


async def test_what_another_zlib_compressed_is_verified(attacker: Attacker) -> None:
    assert await verify.verify_release(attacker.repository, await attacker.push(), UNSIGNED)


async def test_a_changed_file_is_named_though_the_documents_are_about_the_changed_image(
    attacker: Attacker,
) -> None:
    attacker.change(2, lambda member: None, __init__=b"import os\n")
    real = attacker.folder / "real"
    for name in release_files.KINDS:  # the real documents, now about the changed image
        text = (real / name).read_text()
        genuine = json.loads((real / release_files.PROVENANCE).read_text())["subject"][0]["digest"]["sha256"]
        (real / name).write_text(text.replace(genuine, "0" * 64))
    complaint = await reason(attacker, documents=real)
    assert re.search(
        r"sbom.cdx.json.components.\S*-service@v1.0.0.components.app/app/__init__.py: '", complaint
    )


async def test_another_configuration_is_named(attacker: Attacker) -> None:
    config = attacker.config["config"]
    config |= {"User": "0", "Cmd": ["sh"], "WorkingDir": None, "Volumes": {"/app": {}}}
    config |= {"Entrypoint": ["/venv/bin/python", "-c", "x"], "Healthcheck": {"Test": ["CMD", "x"]}}
    config["Env"] += ["LD_PRELOAD=/app/model/x.so", "PYTHONPATH=/app/model"]
    attacker.config["architecture"] = "arm64"
    complaint = await reason(attacker)
    for one in (
        "User: '0' in the registry, '65532:65532' by the rule",
        "Cmd: ['sh'] in the registry, nothing by the rule",
        "Entrypoint[1]: '-c' in the registry, '-m' by the rule",
        "WorkingDir: nothing in the registry, '/app' by the rule",
        "Volumes: {'/app': {}} in the registry, nothing by the rule",
        "config.Healthcheck: {'Test': ['CMD', 'x']} in the registry",
        "variable.LD_PRELOAD: '/app/model/x.so' in the registry, nothing by the rule",
        "variable.PYTHONPATH: '/app/model' in the registry, nothing by the rule",
        "platform: 'linux/arm64' in the registry, 'linux/amd64' by the rule",
    ):
        assert one in complaint


async def test_a_mode_an_owner_a_time_or_a_capability_is_named(attacker: Attacker) -> None:
    def change(member: tarfile.TarInfo) -> None:
        if member.name.endswith("__init__.py"):
            member.mode, member.uid, member.mtime = 0o4666, 65532, 1
            member.pax_headers = {"SCHILY.xattr.security.capability": "x"}

    attacker.change(2, change)
    complaint = await reason(attacker)
    for one in (
        "mode 4666 in the registry, 644 by the rule",
        "owner 65532:0 : in the registry, 0:0 : by the rule",
        "time 1 in the registry, 0 by the rule",
        "attributes SCHILY.xattr.security.capability in",
    ):
        assert f"layer 3 (service and model): app/app/__init__.py: {one}" in complaint


async def test_an_extra_layer_is_named_with_what_it_hides(attacker: Attacker) -> None:
    attacker.layers.append(
        layer(
            {"app/app/__init__.py": b"import os\n", "app/.wh.model": b""}
            | {f"app/model/{name}": FILES[f"app/model/{name}"] for name in ("card.json", "model.joblib")}
        )
    )
    complaint = await reason(attacker)
    assert "layer 4: is no layer of the canonical form" in complaint
    assert "layer 3 (service and model): app/app/__init__.py: size" in complaint


async def test_a_layer_with_more_after_its_end_is_named(attacker: Attacker) -> None:
    attacker.layers[0] += b"\0" * 10_240
    assert "layer 1 (interpreter): the same entries in another order, or with more after" in await reason(
        attacker
    )


async def test_a_configuration_of_other_kinds_is_refused(attacker: Attacker) -> None:
    attacker.config["config"]["Env"] = {"LD_PRELOAD": "x"}
    with pytest.raises(InvalidLayout, match="is no configuration"):
        await attacker.push()


@pytest.mark.parametrize("target", ["runtime", "runtime-full"])
def test_the_rule_is_what_the_dockerfile_sets(target: str) -> None:
    text = (Path(__file__).parents[3] / "Dockerfile").read_text()
    stage = text.partition(f"FROM scratch AS {target}\n")[2].partition("\nFROM ")[0]
    values = dict(reversed(re.findall(r"^([A-Z]+) (.*)$", stage, re.MULTILINE)))
    assert set(values) == {"ARG", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "LABEL", "USER", "WORKDIR"}
    lines = re.findall(r"^ENV (.*)$", stage, re.MULTILINE)
    variables = dict(each.split("=") for line in lines for each in line.split())
    assert variables == {**conformance.VARIABLES, conformance.MODEL_VERSION: "$VERSION"}
    said = {
        "Entrypoint": json.loads(values["ENTRYPOINT"]),
        "ExposedPorts": {f"{values['EXPOSE']}/tcp": {}},
        "User": values["USER"],
        "WorkingDir": values["WORKDIR"],
    }
    assert said == conformance.RUNTIME
