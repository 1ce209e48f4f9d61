"""Restrictions of every container, also of those that Buildah specifies; mount points; limits."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from daggerw_engine.errors import EngineError
from daggerw_engine.isolation import buildah_runtime
from daggerw_engine.isolation.cgroups import available_memory, parents
from daggerw_engine.isolation.mount_points import MountPoints
from daggerw_engine.isolation.specification import (
    ARCHITECTURES,
    CAPABILITIES,
    MASKED,
    Mounted,
    Process,
    restrict,
    specification,
    system_calls,
)
from daggerw_engine.run.preparation import text_of_variable

DEBIANS = Path("/usr/share/containers/seccomp.json")
PROCESS = Process(["true"], {"PATH": "/bin"}, "/")


def allowed_calls(rules: list[dict[str, Any]]) -> set[str]:
    """Return the allowed system calls, including those allowed only with some arguments."""
    return {name for rule in rules if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}


@pytest.mark.skipif(not DEBIANS.exists(), reason="requires Debian's golang-github-containers-common")
def test_no_system_call_is_allowed_that_debians_list_does_not_allow() -> None:
    def fits(rule: dict[str, Any]) -> bool:
        included, excluded = rule.get("includes") or {}, rule.get("excludes") or {}
        given = set(CAPABILITIES)
        return set(included.get("caps", [])) <= given and not set(excluded.get("caps", [])) & given

    debians = [rule for rule in json.loads(DEBIANS.read_text())["syscalls"] if fits(rule)]
    assert allowed_calls(system_calls()["syscalls"]) <= allowed_calls(debians)


@pytest.mark.parametrize(
    "name",
    [
        *("clone3", "setns", "mount", "umount2", "pivot_root", "fsopen", "fsmount", "fsconfig", "fspick"),
        *("move_mount", "open_tree", "mount_setattr", "keyctl", "add_key", "request_key", "socketcall"),
        *("io_uring_setup", "io_uring_enter", "io_uring_register", "bpf", "userfaultfd", "syslog"),
    ],
)
def test_what_debians_list_allows_without_need_is_left_out(name: str) -> None:
    assert name not in allowed_calls(system_calls()["syscalls"])


def test_calls_that_make_namespaces_are_allowed_without_their_flags() -> None:
    found = {
        rule["names"][0]: rule["args"][0]
        for rule in system_calls()["syscalls"]
        if rule["names"][0] in ("clone", "unshare") and rule["action"] == "SCMP_ACT_ALLOW"
    }
    flags = 0x20000 | 0x2000000 | 0x4000000 | 0x8000000 | 0x10000000 | 0x20000000 | 0x40000000
    assert (found["clone"]["value"], found["clone"]["valueTwo"]) == (flags, 0)
    assert (found["unshare"]["value"], found["unshare"]["valueTwo"]) == (flags | 0x80, 0)


def test_an_unknown_machine_has_no_architecture_but_its_own() -> None:
    assert system_calls("riscv64")["architectures"] == []
    assert system_calls("x86_64")["architectures"] == ARCHITECTURES["x86_64"]


def test_a_specification_has_no_device_on_any_mount_of_the_host() -> None:
    mounts = [Mounted("/v", Path("/volume")), Mounted("/dev/mine", Path("/file")), Mounted("/t")]
    config = specification(PROCESS, Path("/root"), mounts, processes=0)
    bound = {each["destination"]: each["options"] for each in config["mounts"]}
    assert all("nodev" in bound[path] for path in ("/v", "/dev/mine", "/t", "/proc", "/sys", "/dev/shm"))
    assert config["hooks"]["createContainer"][0]["args"][-1] == "/root"


def test_processes_are_limited_by_a_cgroup_or_a_resource_limit() -> None:
    def limits(processes: int) -> dict[str, int]:
        config = specification(PROCESS, Path("/root"), [], processes=processes)
        return {each["type"]: each["hard"] for each in config["process"]["rlimits"]}

    assert limits(0) == {"RLIMIT_CORE": 0}
    assert limits(7) == {"RLIMIT_CORE": 0, "RLIMIT_NPROC": 7}


def test_the_shared_memory_has_a_limit_for_its_files() -> None:
    config = specification(PROCESS, Path("/root"), [], processes=0)
    bound = {each["destination"]: each["options"] for each in config["mounts"]}
    assert [path for path, options in bound.items() if "nr_inodes=16k" in options] == ["/dev/shm"]


def buildahs() -> dict[str, Any]:
    """Return a specification with more rights than a container may have."""
    every = [f"CAP_{name}" for name in ("SYS_ADMIN", "MKNOD", "NET_RAW")]
    return {
        "root": {"path": "rootfs"},
        "process": {
            "args": ["true"],
            "capabilities": dict.fromkeys(("bounding", "effective", "ambient"), every),
            "rlimits": [{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}],
        },
        "mounts": [
            {"destination": "/etc/hosts", "type": "bind", "source": "/hosts", "options": ["rbind", "dev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"]},
        ],
        "linux": {
            "namespaces": [{"type": "pid", "path": "/proc/1/ns/pid"}, {"type": "network", "path": "/n"}],
            "devices": [{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}],
            "maskedPaths": [],
            "sysctl": {"net.ipv4.ip_forward": "1"},
        },
    }


def test_a_foreign_specification_is_restricted_and_otherwise_kept() -> None:
    config = restrict(buildahs(), Path("/bundle/rootfs"), processes=0)
    assert config["process"]["args"] == ["true"]
    assert config["process"]["capabilities"]["effective"] == list(CAPABILITIES)
    assert config["process"]["capabilities"]["ambient"] == []
    assert config["linux"]["maskedPaths"] == list(MASKED)
    assert "devices" not in config["linux"]
    assert config["linux"]["sysctl"] == {"net.ipv4.ip_forward": "1"}
    assert {"type": "pid"} in config["linux"]["namespaces"]
    assert {"type": "network", "path": "/n"} in config["linux"]["namespaces"]
    assert [each["options"] for each in config["mounts"]] == [["rbind", "nodev"], ["nosuid"]]


def test_buildahs_runtime_restricts_the_bundle_that_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(buildahs()))
    buildah_runtime.main("9", "create", "--bundle", str(tmp_path), "name")
    config = json.loads((tmp_path / "config.json").read_text())
    assert config == restrict(buildahs(), tmp_path / "rootfs", processes=9)


def test_buildahs_runtime_enters_its_cgroup_before_it_creates_a_container(tmp_path: Path) -> None:
    text = buildah_runtime.script(tmp_path / "state", [tmp_path / "limits"], processes=0)
    assert f"echo 0 >{tmp_path}/limits/cgroup.procs" in text
    assert "cgroup.procs" not in buildah_runtime.script(tmp_path / "state", [], processes=9)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a file system without mounts, which contains its own changes."""
    folder = tmp_path / "root"
    (folder / "etc").mkdir(parents=True)
    return folder


def test_mount_points_are_made_where_they_lack_and_removed(root: Path) -> None:
    points = MountPoints(root, root)
    (root / "link").symlink_to("/etc")
    assert points.make("/new/deep/file", folder=False) == "/new/deep/file"
    assert points.make("/link/folder", folder=True) == "/etc/folder"
    assert points.make("/etc", folder=True) == "/etc"
    assert points.make("/work", folder=True, keep=True) == "/work"
    assert (root / "new/deep/file").is_file()
    points.remove()
    assert sorted(path.name for path in root.iterdir()) == ["etc", "link", "work"]
    assert not list((root / "etc").iterdir())


def test_a_mount_point_that_was_used_stays(root: Path) -> None:
    points = MountPoints(root, root)
    points.make("/new/deep", folder=True)
    points.make("/file", folder=False)
    (root / "new/other").touch()
    (root / "file").write_text("filled")
    points.remove()
    assert sorted(path.name for path in root.rglob("*")) == ["etc", "file", "new", "other"]


def test_a_link_in_place_of_a_mount_points_folder_is_not_followed(root: Path, tmp_path: Path) -> None:
    points, outside = MountPoints(root, root), tmp_path / "outside"
    points.make("/new/deep", folder=True)
    (outside / "deep").mkdir(parents=True)
    (root / "new").rename(root / "old")
    (root / "new").symlink_to(outside)
    points.remove()
    assert (outside / "deep").is_dir()


def test_a_cgroup_of_version_1_is_made_in_our_own(tmp_path: Path) -> None:
    (tmp_path / "pids").mkdir()
    text = "9:cpu:/\n8:pids:/user/one\n0::/\n"
    assert parents(text, "pids", tmp_path) == [tmp_path / "pids/user/one"]


def test_a_cgroup_of_version_2_is_made_where_children_can_be_limited(tmp_path: Path) -> None:
    own = tmp_path / "user.slice/session.scope"
    own.mkdir(parents=True)
    for folder, controllers in ((own, ""), (own.parent, "cpu memory"), (tmp_path, "cpu pids")):
        (folder / "cgroup.subtree_control").write_text(controllers)
    assert parents("0::/user.slice/session.scope\n", "pids", tmp_path) == [tmp_path]
    assert parents("0::/gone\n", "pids", tmp_path / "none") == []


def test_a_cgroup_of_version_2_that_limits_both_is_taken_before_a_nearer_one(tmp_path: Path) -> None:
    own = tmp_path / "user.slice"
    own.mkdir()
    (own / "cgroup.subtree_control").write_text("pids")
    (tmp_path / "cgroup.subtree_control").write_text("memory pids")
    assert parents("0::/user.slice\n", "pids", tmp_path) == [tmp_path, own]
    assert parents("0::/user.slice\n", "memory", tmp_path) == [tmp_path]


def test_the_memory_that_can_be_had_is_the_least_of_machine_and_cgroups(tmp_path: Path) -> None:
    own = tmp_path / "group"
    own.mkdir()
    machine = available_memory(own)
    assert machine == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    (own / "memory.max").write_text("max\n")
    (tmp_path / "memory.limit_in_bytes").write_text("1048576\n")
    assert available_memory(own) == 1048576


def test_a_variable_can_not_have_what_is_not_utf8() -> None:
    assert text_of_variable("KEY", "käse") == "käse"
    with pytest.raises(EngineError, match="the secret in the variable KEY isn't UTF-8: mount it as a file"):
        text_of_variable("KEY", os.fsdecode(b"\xff"))
