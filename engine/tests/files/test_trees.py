"""Trees: reads, copies and links of an upload, and the content behind a tree's name."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from daggerw_engine.errors import PathError
from daggerw_engine.files import copying, upload
from daggerw_engine.files.copying import copy_entry, copy_into
from daggerw_engine.files.listing import Entry, Listing, entries, file_digest, head_of
from daggerw_engine.files.patterns import Filter
from daggerw_engine.files.trees import Place, Trees, write_new

FILES = {"a.txt": "a", "sub/b.txt": "b", "sub/deep/c.txt": "c", "sub/empty": "", "other/empty": ""}


def listing_of(folder: Path) -> Listing:
    """Return the list of a folder's whole content, with each file read."""
    return Listing.of((head_of(entry, file_digest), path) for path, entry in entries(folder))


@pytest.fixture
def trees(tmp_path: Path) -> Trees:
    for name in ("trees", "uploads", "scratch"):
        (tmp_path / name).mkdir()
    return Trees(tmp_path / "trees", tmp_path / "scratch")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for path, text in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "a.txt").chmod(0o755)
    return folder


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of files that uploads read; all files count as old enough for a stored stamp."""
    names: list[str] = []

    def take(path: str, entry: Entry, target: str) -> str:
        names.append(entry.name)
        return copying.take(path, entry, target)

    monkeypatch.setattr(upload, "take", take)
    monkeypatch.setattr(upload, "TICK", -(1 << 62))
    return names


def contents(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
    return {str(file.relative_to(folder)): file.read_text() for file in files}


def inodes(folder: Path) -> dict[str, int]:
    return {str(f.relative_to(folder)): f.lstat().st_ino for f in folder.rglob("*") if not f.is_dir()}


def test_an_upload_has_the_same_files_links_and_modes(trees: Trees, source: Path) -> None:
    root = trees.upload(source, Filter.of(["link"])).on_disk
    assert contents(root) == FILES
    assert os.access(root / "a.txt", os.X_OK)
    assert os.readlink(trees.upload(source).on_disk / "link") == "/etc/passwd"


@pytest.mark.parametrize("name", ["file", "folder"])
@pytest.mark.parametrize("relative", [True, False])
def test_an_upload_has_links_that_lead_out_as_links(
    trees: Trees, source: Path, tmp_path: Path, name: str, *, relative: bool
) -> None:
    (tmp_path / "folder").mkdir()
    for secret in ("folder/secret", "file"):
        (tmp_path / secret).write_text("hidden")
    target = f"../{name}" if relative else str(tmp_path / name)
    (source / "out").symlink_to(target)
    uploaded = trees.upload(source)
    assert os.readlink(uploaded.on_disk / "out") == target
    assert contents(uploaded.on_disk) == FILES


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize(("replaced", "path"), [("sub/b.txt", "sub/b.txt"), ("sub", "sub/b.txt")])
def test_an_upload_follows_no_link_that_takes_a_place_in_it_meanwhile(
    trees: Trees, source: Path, tmp_path: Path, replaced: str, path: str, *, relative: bool
) -> None:
    outside = tmp_path / "outside"
    (outside / "sub").mkdir(parents=True)
    (outside / "sub/b.txt").write_text("hidden")
    entry = dict(entries(source))[path]
    entry.stat(follow_symlinks=False)
    (source / replaced).rename(tmp_path / "away")
    target = outside / replaced
    (source / replaced).symlink_to(
        os.path.relpath(target, (source / replaced).parent) if relative else target
    )
    assert Path(entry.path).read_text() == "hidden"
    with pytest.raises(PathError, match=r"b\.txt was replaced .*during its upload.*: call again"):
        copying.take(path, entry, str(tmp_path / "taken"))
    assert "hidden" not in [made.read_text() for made in tmp_path.glob("taken")]


def test_an_upload_keeps_the_times_of_files(trees: Trees, source: Path) -> None:
    os.utime(source / "a.txt", (5, 5))
    assert (trees.upload(source).on_disk / "a.txt").stat().st_mtime == 5


def test_equal_folders_are_one_tree(trees: Trees, source: Path, tmp_path: Path) -> None:
    copy_into(source, tmp_path / "again")
    os.utime(tmp_path / "again/a.txt", (1, 1))
    assert trees.upload(source) == trees.upload(tmp_path / "again")


def test_a_trees_name_is_the_hash_of_its_list(trees: Trees, source: Path) -> None:
    place = trees.upload(source)
    assert listing_of(place.on_disk) == place.listing
    assert place.listing.digest == place.digest == place.root.parent.name


def test_an_unchanged_folder_is_not_read_again(trees: Trees, source: Path, taken: list[str]) -> None:
    first = trees.upload(source)
    taken.clear()
    assert trees.upload(source) == first
    assert taken == ["link"]


def test_only_what_changed_is_read_and_copied(trees: Trees, source: Path, taken: list[str]) -> None:
    first = trees.upload(source)
    (source / "sub/b.txt").write_text("B")
    taken.clear()
    second = trees.upload(source)
    assert taken == ["link", "b.txt"]
    assert contents(first.on_disk) == FILES
    assert contents(second.on_disk) == {**FILES, "sub/b.txt": "B"}
    before, after = inodes(first.on_disk), inodes(second.on_disk)
    assert {path for path in before if before[path] != after[path]} == {"link", "sub/b.txt"}


@pytest.mark.parametrize("change", ["add", "remove", "mode", "kind", "folder"])
def test_any_change_gives_what_a_first_upload_would(
    trees: Trees, source: Path, taken: list[str], tmp_path: Path, change: str
) -> None:
    trees.upload(source)
    if change in ("remove", "kind", "folder"):
        (source / "sub/b.txt").unlink()
    match change:
        case "add":
            (source / "new").mkdir()
            (source / "new/file").write_text("new")
        case "mode":
            (source / "sub/b.txt").chmod(0o600)
        case "kind":
            (source / "sub/b.txt").symlink_to("deep")
        case "folder":
            (source / "sub/b.txt").mkdir()
    again = trees.upload(source)
    assert again.digest == listing_of(again.on_disk).digest == listing_of(source).digest


def test_a_file_replaced_by_one_with_its_size_and_time_is_noticed(
    trees: Trees, source: Path, taken: list[str]
) -> None:
    trees.upload(source)
    times = (source / "a.txt").stat()
    (source / "a.txt").write_text("A")
    os.utime(source / "a.txt", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert (trees.upload(source).on_disk / "a.txt").read_text() == "A"


def test_a_file_changed_within_the_clocks_tick_is_read_again(trees: Trees, source: Path) -> None:
    for text in "abcdefgh":  # all of one size, many within a tick
        (source / "a.txt").write_text(text)
        assert (trees.upload(source).on_disk / "a.txt").read_text() == text


@pytest.mark.parametrize(("stamp", "racy"), [(-1, False), (0, True), (5, True)])
def test_a_stamp_is_trusted_when_it_is_older_than_a_tick(stamp: int, racy: bool) -> None:
    now = 10**18 + 1
    assert upload._is_racy(f"{now - upload.TICK + 1 + stamp} 0 0 0", now) is racy


def test_a_stamp_of_whole_seconds_must_be_older(trees: Trees) -> None:
    now = 10**18
    assert upload._is_racy(f"{now - upload.SECOND} 0 0 0", now)
    assert not upload._is_racy(f"{now - 3 * upload.SECOND} 0 0 0", now)


def test_an_upload_whose_last_tree_is_gone_reads_all(trees: Trees, source: Path, taken: list[str]) -> None:
    first = trees.upload(source)
    shutil.rmtree(first.root.parent)
    assert trees.get(first.digest) is None
    assert contents(trees.upload(source).on_disk) == FILES


def test_a_torn_memory_of_the_last_upload_is_none(trees: Trees, source: Path, tmp_path: Path) -> None:
    first = trees.upload(source)
    for file in (tmp_path / "uploads").iterdir():
        file.write_text(file.read_text()[:20])
    assert trees.upload(source) == first


def test_no_two_files_of_a_tree_are_one(trees: Trees, source: Path, taken: list[str]) -> None:
    trees.upload(source)
    (source / "a.txt").write_text("A")
    found = inodes(trees.upload(source).on_disk)
    assert len(set(found.values())) == len(found)


def test_what_is_neither_file_nor_folder_is_left_out(trees: Trees, source: Path) -> None:
    os.mkfifo(source / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(source / "socket"))
        names = os.listdir(trees.upload(source).on_disk)
    assert not {"fifo", "socket"} & set(names)


def test_names_that_are_no_utf8_are_kept(trees: Trees, source: Path) -> None:
    name = os.fsdecode(b"odd\xff\nname")
    (source / name).write_text("odd")
    place = trees.upload(source)
    assert (place.on_disk / name).read_text() == "odd"
    assert place.below(name).key.startswith("f ")


@pytest.mark.parametrize(("path", "reason"), [("none", "no such file or directory"), ("a.txt", "not a dir")])
def test_only_a_folder_can_be_uploaded(trees: Trees, source: Path, path: str, reason: str) -> None:
    with pytest.raises(PathError, match=f"{path}: {reason}"):
        trees.upload(source / path)


def test_a_copy_shares_its_files_until_they_are_replaced(trees: Trees, source: Path) -> None:
    first = trees.upload(source)
    folder = trees.copy(first)
    write_new(folder / "sub/b.txt", "B", 0o600)
    second = trees.adopt(folder)
    assert contents(first.on_disk) == FILES
    assert contents(second.on_disk) == {**FILES, "sub/b.txt": "B"}
    assert listing_of(second.on_disk) == second.listing


def test_a_copy_of_a_sub_folder_is_a_tree_of_its_own(trees: Trees, source: Path) -> None:
    sub = trees.upload(source).below("sub")
    assert trees.adopt(trees.copy(sub)).key == sub.key == trees.upload(source / "sub").key


def test_a_filtered_copy_is_what_a_filtered_upload_would_be(trees: Trees, source: Path) -> None:
    kept = Filter.of(["**/empty"])
    assert trees.adopt(trees.copy(trees.upload(source), kept)) == trees.upload(source, kept)


def test_folders_that_a_filter_empties_go(trees: Trees, source: Path) -> None:
    assert contents(trees.upload(source, Filter.of(include=["**/empty"])).on_disk).keys() == {
        "sub/empty",
        "other/empty",
    }
    assert os.listdir(trees.upload(source, Filter.of(include=["*.txt"])).on_disk) == ["a.txt"]


def test_forced_times_count(trees: Trees, source: Path) -> None:
    plain = trees.upload(source)
    timed = trees.force_time(plain, 7)
    assert timed.digest != plain.digest != trees.force_time(plain, 8).digest
    assert timed.listing.without_times == plain.listing
    assert {file.lstat().st_mtime for file in timed.on_disk.rglob("*")} == {7}
    assert (plain.on_disk / "a.txt").stat().st_mtime != 7


def test_forced_times_still_count_after_a_change(trees: Trees, source: Path) -> None:
    folder = trees.copy(trees.force_time(trees.upload(source), 7))
    write_new(folder / "sub/b.txt", "B", 0o644)
    heads = trees.adopt(folder).listing.heads
    assert (heads["sub"][:3], heads["a.txt"][:3], heads["sub/b.txt"][:2]) == ("d@7", "f@7", "f ")


def test_a_files_forced_time_counts(trees: Trees, source: Path) -> None:
    file = trees.upload(source).below("a.txt")
    timed = trees.force_time(file, 7)
    assert (timed.on_disk.stat().st_mtime, timed.on_disk.name) == (7, "a.txt")
    assert timed.key != file.key


@pytest.mark.parametrize("path", ["sub/..", ".", "/", "../.."])
def test_a_place_never_lies_above_its_root(trees: Trees, source: Path, path: str) -> None:
    place = trees.upload(source)
    assert place.below(path) == place


def test_a_place_may_have_a_dot_before_or_after_its_name(trees: Trees, source: Path) -> None:
    for name in (".git", "end."):
        (source / name).mkdir()
        assert trees.upload(source).below(name).path == f"/{name}"


def test_a_link_out_of_a_tree_leads_back_into_it(trees: Trees, source: Path) -> None:
    (source / "up").symlink_to("../../../../etc")
    with pytest.raises(PathError, match="no such file or directory"):
        trees.upload(source).below("link")
    with pytest.raises(PathError, match="no such file or directory"):
        trees.upload(source).below("up/passwd")


@pytest.mark.parametrize("name", ["../a", "/a", "a/b", "..", ".", ""])
def test_a_new_file_has_a_name_without_folders(trees: Trees, name: str) -> None:
    with pytest.raises(PathError, match="isn't a file's name"):
        trees.write_file(name, "", 0o644)


def test_copying_follows_links_of_the_target_only_within_its_root(tmp_path: Path, source: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "real").mkdir(parents=True)
    outside.mkdir()
    (root / "sub").symlink_to("/real")
    (root / "other").symlink_to(outside)
    copy_into(source, root, root=root)
    assert (root / "real/b.txt").read_text() == "b"
    assert os.listdir(outside) == []
    assert (root / str(outside)[1:] / "empty").exists()


def test_copying_replaces_files_links_and_folders_of_another_kind(tmp_path: Path, source: Path) -> None:
    target = tmp_path / "target"
    (target / "a.txt").mkdir(parents=True)
    (target / "sub").write_text("a file")
    (target / "outside").write_text("stays")
    (target / "link").symlink_to("outside")
    copy_into(source, target)
    assert contents(target) == {**FILES, "outside": "stays"}
    assert os.readlink(target / "link") == "/etc/passwd"


def test_copying_gives_owner_and_mode_to_all(tmp_path: Path, source: Path) -> None:
    copy_into(source, tmp_path / "target", owner=(12, 34), mode=0o750)
    found = [tmp_path / "target", *(tmp_path / "target").rglob("*")]
    assert {(file.lstat().st_uid, file.lstat().st_gid) for file in found} == {(12, 34)}
    assert {file.stat().st_mode & 0o777 for file in found if not file.is_symlink()} == {0o750}


def test_a_copied_entry_never_changes_the_file_that_it_replaces(tmp_path: Path, source: Path) -> None:
    (tmp_path / "other").write_text("kept")
    os.link(tmp_path / "other", tmp_path / "target")
    copy_entry(source / "a.txt", tmp_path / "target")
    assert ((tmp_path / "target").read_text(), (tmp_path / "other").read_text()) == ("a", "kept")


def test_a_tree_is_used_by_getting_it(trees: Trees, source: Path) -> None:
    place = trees.upload(source)
    os.utime(place.root.parent, (1, 1))
    assert isinstance(trees.get(place.digest), Place)
    assert place.root.parent.stat().st_mtime > time.time() - 60


def test_many_files_are_linked_each_to_its_own(trees: Trees, tmp_path: Path, taken: list[str]) -> None:
    for number in range(3 * copying.FEW):
        (tmp_path / "many").mkdir(exist_ok=True)
        (tmp_path / f"many/{number}").write_text(str(number))
    trees.upload(tmp_path / "many")
    (tmp_path / "many/7").write_text("changed")
    found = contents(trees.upload(tmp_path / "many").on_disk)
    assert found == {**{str(number): str(number) for number in range(3 * copying.FEW)}, "7": "changed"}


@pytest.fixture
def run_in_overlay(tmp_path: Path) -> Callable[[Path, str], tuple[Path, Path]]:
    """Return a function that runs a script in an overlay on a folder; it returns a copy and the changes."""

    def run_in_overlay(lower: Path, script: str) -> tuple[Path, Path]:
        shown, changed, work, root = (tmp_path / name for name in ("shown", "changed", "work", "root"))
        for folder in (changed, work, root):
            folder.mkdir()
        options = f"lowerdir={lower},upperdir={changed},workdir={work}"
        steps = f"mount -t overlay -o {options} o {root} && cd {root} && {script} && cp -a {root} {shown}"
        subprocess.run(["unshare", "--mount", "sh", "-ec", steps], check=True)
        return shown, changed

    return run_in_overlay


def test_what_an_overlay_left_shares_the_files_that_it_did_not_change(
    trees: Trees, source: Path, run_in_overlay: Callable[[Path, str], tuple[Path, Path]]
) -> None:
    base = trees.upload(source)
    script = "echo b > sub/b.txt; rm a.txt; mv sub/deep sub/moved; chmod 600 other/empty; echo n > new"
    shown, changed = run_in_overlay(base.on_disk, script)
    left = trees.merge_overlay(base, shown, changed)
    assert left.listing == listing_of(shown)
    assert contents(left.on_disk) == contents(shown)
    assert contents(base.on_disk) == FILES
    before, after = inodes(base.on_disk), inodes(left.on_disk)
    assert {path for path in after if before.get(path) == after[path]} == {"link", "sub/empty"}
