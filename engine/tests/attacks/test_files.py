"""Attacks on files of the host and of the engine: by links, archives, devices, volumes and exports."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import stat
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest

from attacks.conftest import Target

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a session needs root")


def shell(script: str, fields: str = "stdout", expect: str = "SUCCESS") -> str:
    return f"withExec(args:{json.dumps(['sh', '-c', script])},expect:{expect}){{{fields}}}"


def value_in(answer: dict[str, Any]) -> Any:
    """Return the innermost value of a response; AssertionError when it has errors."""
    assert "errors" not in answer, answer["errors"]
    found = answer["data"]
    while isinstance(found, dict):
        found = next(iter(found.values()))
    return found


def volume(target: Target, name: str) -> str:
    return str(target.engine.query(f'{{cacheVolume(key:"{name}"){{id}}}}')["data"]["cacheVolume"]["id"])


@pytest.fixture
def outside(target: Target) -> Path:
    """Return a world-writable folder of the host, with an empty folder and an empty file."""
    place = target.engine.home.parent / "outside"
    for folder in (place, place / "deep"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
    (place / "file").touch()
    return place


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_link_in_the_place_of_a_mount_points_folder_is_not_followed(target: Target, outside: Path) -> None:
    swap = f"perl -e 'rename q(/new), q(/old) or die $!; symlink q({outside}), q(/new) or die $!'"
    cache = volume(target, "swapped")
    for path in ("/new/deep", "/new/deep/er"):
        chain = f'withMountedCache(path:"{path}",cache:"{cache}"){{{shell(swap, "exitCode")}}}'
        assert value_in(target.engine.container(target.root, chain)) == 0
    assert names(outside) == ["deep", "file"]


def test_a_link_in_a_volume_does_not_lead_out_of_the_container(target: Target, outside: Path) -> None:
    cache, link = volume(target, "linked"), f"perl -e 'symlink q({outside}), q(/v/out)'"
    mounted = f'withMountedCache(path:"/v",cache:"{cache}",owner:"1:1")'
    assert value_in(target.engine.container(target.root, f"{mounted}{{{shell(link, 'exitCode')}}}")) == 0
    below = (
        f'withMountedTemp(path:"/v/out/deep/new"){{{shell("touch /v/out/deep/new/x", "exitCode", "ANY")}}}'
    )
    target.engine.container(target.root, f"{mounted}{{{below}}}")
    assert names(outside) == ["deep", "file"]
    assert {(outside / name).stat().st_uid for name in ("deep", "file")} == {0}


def test_a_working_directory_behind_a_link_is_the_containers(target: Target, outside: Path) -> None:
    linked = shell(f"perl -e 'symlink q({outside}), q(/out)'", "{}")
    work = f'withWorkdir(path:"/out/made"){{{shell("touch here", "exitCode")}}}'
    assert value_in(target.engine.container(target.root, linked.replace("{}", work, 1)[:-1] + "}")) == 0
    assert names(outside) == ["deep", "file"]


def archive(*members: tuple[str, bytes, str, int]) -> bytes:
    """Return a tar archive of members with a name, a type, a link's target and a mode."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name, kind, link, mode in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mode = kind, link, mode
            member.devmajor, member.devminor = 1, 5
            tar.addfile(member)
    return written.getvalue()


def build_with_archive(target: Target, hostile: bytes, script: str) -> dict[str, Any]:
    """Build a Dockerfile that adds an archive and runs a script."""
    # A session looks once at a folder of the host.
    context = Path(tempfile.mkdtemp(dir=target.engine.home))
    context.chmod(0o755)
    (context / "hostile.tar").write_bytes(hostile)
    root, archived = (
        target.engine.query(f'{{host{{directory(path:"{place}"){{id}}}}}}')["data"]["host"]["directory"]["id"]
        for place in (target.root, context)
    )
    run = f"RUN {json.dumps(['sh', '-c', script])}"
    text = json.dumps("\n".join(("FROM scratch", "COPY root /", "ADD context/hostile.tar /", run)))
    build = f'withNewFile(path:"Dockerfile",contents:{text}){{dockerBuild{{file(path:"/seen"){{contents}}}}}}'
    files = f'withDirectory(path:"/context",source:"{archived}"){{{build}}}'
    return target.engine.query(f'{{directory{{withDirectory(path:"/root",source:"{root}"){{{files}}}}}}}')


def test_an_archive_does_not_write_out_of_the_image(target: Target, outside: Path) -> None:
    climbing = f"../../../../../../../..{outside}/climbed"
    hostile = archive(
        (climbing, tarfile.REGTYPE, "", 0o644),
        ("out", tarfile.SYMTYPE, str(outside), 0o777),
        ("out/followed", tarfile.REGTYPE, "", 0o644),
    )
    answer = build_with_archive(target, hostile, "ls / >/seen")
    assert "errors" in answer or "out" in value_in(answer)
    assert names(outside) == ["deep", "file"]


def image(layer: bytes) -> bytes:
    """Return an image of one layer as an OCI layout in a tar archive."""
    blobs: list[bytes] = []

    def add_blob(kind: str, content: bytes) -> dict[str, object]:
        blobs.append(content)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest, "size": len(content)}

    def of(**fields: object) -> bytes:
        return json.dumps(fields).encode()

    filled = add_blob("layer.v1.tar", layer)
    system = {"type": "layers", "diff_ids": [filled["digest"]]}
    config = add_blob("config.v1+json", of(architecture="amd64", os="linux", config={}, rootfs=system))
    manifest = add_blob("manifest.v1+json", of(schemaVersion=2, config=config, layers=[filled]))
    files = {f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}": blob for blob in blobs}
    files |= {
        "oci-layout": of(imageLayoutVersion="1.0.0"),
        "index.json": of(schemaVersion=2, manifests=[manifest]),
    }
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return written.getvalue()


def reason(target: Target) -> str:
    """Return the expected error for a device of an archive: only root can unpack one."""
    return "No such file or directory" if target.rootless else "Permission denied"


def test_a_device_in_an_archive_is_none_in_a_run_step(target: Target) -> None:
    hostile = archive(("device", tarfile.CHRTYPE, "", 0o666))
    answer = build_with_archive(target, hostile, "perl -e 'open(F, q(<), q(/device)) or print $!' >/seen")
    assert value_in(answer) == reason(target)


def test_a_device_in_an_image_is_none_in_a_command(target: Target) -> None:
    place = target.engine.home / "image.tar"
    place.write_bytes(image(archive(("device", tarfile.CHRTYPE, "", 0o666))))
    source = target.engine.query(f'{{host{{file(path:"{place}"){{id}}}}}}')["data"]["host"]["file"]["id"]
    root = target.engine.query(f'{{host{{directory(path:"{target.root}"){{id}}}}}}')["data"]["host"][
        "directory"
    ]["id"]
    script = shell("perl -e 'open(F, q(<), q(/device)) or print $!'")
    filled = f'withDirectory(path:"/",source:"{root}"){{{script}}}'
    answer = target.engine.query(f'{{container{{import(source:"{source}"){{{filled}}}}}}}')
    assert value_in(answer) == reason(target)


def test_a_device_in_a_volume_is_none_in_a_command(target: Target) -> None:
    cache = volume(target, "device")
    mounted = f'withMountedCache(path:"/v",cache:"{cache}")'
    assert (
        value_in(target.engine.container(target.root, f"{mounted}{{{shell('touch /v/mine', 'exitCode')}}}"))
        == 0
    )
    (place,) = (path.parent for path in (target.engine.cache / "volumes").glob("*/mine"))
    if not (place / "device").exists():
        os.mknod(place / "device", stat.S_IFCHR | 0o666, os.makedev(1, 5))
        (place / "device").chmod(0o666)
    script = shell("perl -e 'open(F, q(<), q(/v/device)) or print $!'")
    assert value_in(target.engine.container(target.root, f"{mounted}{{{script}}}")) == "Permission denied"


def test_a_setuid_program_gives_what_an_ordinary_root_has_and_no_more(target: Target) -> None:
    made = shell("perl -e 'chmod 04755, q(/bin/cat)'", "@")
    read = f'withUser(name:"1234"){{{shell("cat /proc/self/status")}}}'
    status = value_in(target.engine.container(target.root, made.replace("@", read)))
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert lines["Uid"].split()[:2] == ["1234", "0"]
    assert {lines[f"Cap{kind}"] for kind in ("Prm", "Eff", "Bnd")} == {"00000000a00405fb"}
    assert {lines[f"Cap{kind}"] for kind in ("Inh", "Amb")} == {"0" * 16}


@pytest.mark.parametrize("link", ["../outside/file", "{outside}/file", "../../../../etc/hostname"])
def test_an_upload_brings_nothing_that_a_link_in_it_leads_to(
    target: Target, outside: Path, link: str
) -> None:
    uploaded = Path(tempfile.mkdtemp(dir=target.engine.home))
    uploaded.chmod(0o755)
    (uploaded / "link").symlink_to(link.format(outside=outside))
    found = target.engine.query(f'{{host{{directory(path:"{uploaded}"){{id}}}}}}')
    source = found["data"]["host"]["directory"]["id"]
    chain = f'withDirectory(path:"/in",source:"{source}"){{{shell("cat /in/link", "exitCode", "FAILURE")}}}'
    assert value_in(target.engine.container(target.root, chain))


def test_an_export_brings_no_setuid_program_and_no_capability(target: Target) -> None:
    # A capability as <linux/capability.h> has it: revision 2, effective, net_bind_service.
    given = base64.b16encode(bytes.fromhex("0100000200040000000000000000000000000000")).decode()
    number = {"x86_64": 188, "aarch64": 5}[os.uname().machine]  # setxattr
    words = "my $p = q(/x/f), my $n = q(security.capability)"
    cap = f"perl -e 'my $v = pack(q(H*), q({given})); syscall({number}, {words}, $v, 20, 0) and die $!'"
    script = f"perl -e 'mkdir q(/x); open(F, q(>), q(/x/f)); chmod 06755, q(/x/f); chmod 02755, q(/x)'; {cap}"
    exported = target.engine.home / "exported"
    path = f'directory(path:"/x"){{export(path:"{exported}")}}'
    value_in(target.engine.container(target.root, shell(script, path)))
    for found in (exported, exported / "f"):
        assert not found.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)
        assert not [name for name in os.listxattr(found) if name.startswith("security.")]


def test_an_export_does_not_follow_the_link_that_one_before_it_made(target: Target, outside: Path) -> None:
    exported = target.engine.home / "linked"
    for script in (
        f"perl -e 'mkdir q(/x); symlink q({outside}), q(/x/deep)'",
        "perl -e 'mkdir q(/x)'; touch /x/deep",
    ):
        path = f'directory(path:"/x"){{export(path:"{exported}")}}'
        value_in(target.engine.container(target.root, shell(script, path)))
    below = "perl -e 'mkdir q(/x); mkdir q(/x/deep)'; touch /x/deep/evil"
    target.engine.container(target.root, shell(below, f'directory(path:"/x"){{export(path:"{exported}")}}'))
    assert names(outside) == ["deep", "file"]
