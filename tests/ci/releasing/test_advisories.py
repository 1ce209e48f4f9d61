"""Advisories against the parts of a release, by the OSV schema's own rules."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from releasing import advisories
from releasing.advisories import Finding, Part, UnusableSource, findings, parts, records

STARLETTE = Part("PyPI", "starlette", "1.10.0")
ZLIB = Part("Debian:12", "zlib", "1:1.2.13.dfsg-1")
BILL = {
    "components": [
        {"purl": "pkg:pypi/starlette@1.10.0", "name": "starlette", "version": "1.10.0", "properties": []},
        {
            "purl": "pkg:deb/debian/zlib1g@1%3A1.2.13.dfsg-1?arch=amd64&distro=debian-12",
            "name": "zlib1g",
            "version": "1:1.2.13.dfsg-1+b1",
            "properties": [{"name": "milestone2:source", "value": "zlib 1:1.2.13.dfsg-1"}],
        },
        {"purl": "pkg:generic/python@3.11.16", "name": "python", "version": "3.11.16", "properties": []},
    ]
}


def record(
    part: Part = STARLETTE, id_: str = "GHSA-1", versions: list[str] | None = None, **said: Any
) -> dict[str, Any]:
    """Return an advisory about a part, by default about every version of it."""
    affected: dict[str, Any] = {"package": {"ecosystem": part.ecosystem, "name": part.name}}
    if versions is not None:
        affected["versions"] = versions
    events = said.pop("events", None)
    if events or versions is None:
        affected["ranges"] = [{"type": "ECOSYSTEM", "events": events or [{"introduced": "0"}]}]
    affected |= said.pop("affected", {})
    return {"id": id_, "affected": [affected], "summary": "It breaks", **said}


def fits(part: Part, *events: dict[str, str], versions: list[str] | None = None) -> bool:
    return bool(findings([part], [record(part, events=list(events), versions=versions)]))


def test_the_parts_of_a_bill_of_materials_are_named_as_advisories_name_them() -> None:
    assert list(parts(BILL)) == [STARLETTE, ZLIB]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([{"introduced": "0"}], True),
        ([{"introduced": "0"}, {"fixed": "1.10.0"}], False),
        ([{"introduced": "0"}, {"fixed": "1.10.1"}], True),
        ([{"introduced": "1.10.0"}, {"fixed": "2"}], True),
        ([{"introduced": "1.10.1"}], False),
        ([{"introduced": "0", "fixed": "1.9"}, {"introduced": "1.10.0rc1"}], True),
        ([{"introduced": "0"}, {"last_affected": "1.10.0"}], True),
        ([{"introduced": "0"}, {"last_affected": "1.9.99"}], False),
        ([{"fixed": "1.10.1"}, {"introduced": "0"}], True),
    ],
)
def test_a_range_is_read_as_osv_says(events: list[dict[str, str]], expected: bool) -> None:
    assert fits(STARLETTE, *events) == expected


def test_versions_are_ordered_as_their_ecosystem_orders_them() -> None:
    assert fits(ZLIB, {"introduced": "0"}, {"fixed": "1:1.2.13.dfsg-1+deb12u1"})
    assert not fits(ZLIB, {"introduced": "0"}, {"fixed": "1:1.2.13.dfsg-1~deb12u1"})
    assert fits(STARLETTE, {"introduced": "1.9"}, {"fixed": "1.11"})


def test_a_list_of_versions_fits_where_no_range_does() -> None:
    assert fits(STARLETTE, {"introduced": "3"}, versions=["1.9.0", "1.10.0"])
    assert not fits(STARLETTE, {"introduced": "3"}, versions=["1.9.0"])


def test_a_range_that_cannot_be_read_fits_unless_a_list_of_versions_rules_it_out() -> None:
    assert fits(STARLETTE, {"introduced": "no version"})
    assert not fits(STARLETTE, {"introduced": "no version"}, versions=["1.9.0"])


def test_another_package_another_ecosystem_and_a_withdrawn_advisory_do_not_fit() -> None:
    others = [
        record(Part("PyPI", "flask", "1")),
        record(Part("Debian:12", "starlette", "1")),
        record(withdrawn="2026-01-01T00:00:00Z"),
    ]
    assert findings([STARLETTE], others) == []


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, "unknown"),
        (
            {"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]},
            "critical",
        ),
        (
            {"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}]},
            "high",
        ),
        (
            {
                "severity": [
                    {
                        "type": "CVSS_V4",
                        "score": "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:L/SC:N/SI:N/SA:N",
                    }
                ]
            },
            "medium",
        ),
        ({"severity": [{"type": "CVSS_V2", "score": "AV:L/AC:H/Au:N/C:N/I:P/A:N"}]}, "low"),
        ({"severity": [{"type": "CVSS_V3", "score": "broken"}]}, "unknown"),
        ({"severity": [{"type": "Ubuntu", "score": "high"}]}, "unknown"),
        ({"database_specific": {"severity": "MODERATE"}}, "medium"),
        ({"affected": {"ecosystem_specific": {"urgency": "high"}}}, "high"),
        ({"affected": {"ecosystem_specific": {"urgency": "unimportant"}}}, "none"),
        ({"affected": {"ecosystem_specific": {"urgency": "not yet assigned"}}}, "unknown"),
    ],
)
def test_the_gravest_severity_that_is_given_counts(said: dict[str, Any], expected: str) -> None:
    (found,) = findings([STARLETTE], [record(**said)])
    assert found.severity == expected


def test_findings_come_gravest_first_each_once_with_the_version_that_fixes_them() -> None:
    mild = record(
        id_="B", database_specific={"severity": "LOW"}, events=[{"introduced": "0"}, {"fixed": "1.11"}]
    )
    grave = record(id_="A", database_specific={"severity": "HIGH"}, summary="", details="It burns\nbadly")
    found = findings([STARLETTE], [mild, grave, grave])
    assert found == [
        Finding(STARLETTE, "A", "high", "", "It burns"),
        Finding(STARLETTE, "B", "low", "1.11", "It breaks"),
    ]
    assert [each.line for each in found] == [
        "high      starlette 1.10.0  A  no fixed version  It burns",
        "low       starlette 1.10.0  B  fixed in 1.11  It breaks",
    ]


def test_a_fix_of_an_older_branch_is_not_offered() -> None:
    events = [{"introduced": "0"}, {"fixed": "0.9"}, {"introduced": "1"}, {"fixed": "1.11"}]
    assert findings([STARLETTE], [record(events=events)])[0].fixed == "1.11"


def test_sources_that_say_nothing_of_an_ecosystem_are_refused() -> None:
    with pytest.raises(UnusableSource, match="the sources say nothing of Debian:12; give"):
        findings([STARLETTE, ZLIB], [record()])
    with pytest.raises(UnusableSource, match="nothing of Debian:12, PyPI"):
        findings([STARLETTE, ZLIB], [])


@pytest.mark.parametrize("wrong", [[1], [{"affected": []}], ["x"]])
def test_what_is_no_osv_record_is_refused(wrong: list[Any]) -> None:
    with pytest.raises(UnusableSource, match="is no OSV record"):
        findings([STARLETTE], wrong)


@pytest.fixture
def source(tmp_path: Path) -> Callable[[str, bytes], Path]:
    """Return what writes a source."""

    def source(name: str, content: bytes) -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return source


def test_a_source_is_a_record_a_list_or_an_archive_of_records(
    source: Callable[..., Path], tmp_path: Path
) -> None:
    one = record()
    assert list(records(source("one.json", json.dumps(one).encode()))) == [one]
    assert list(records(source("many.json", json.dumps([one, one]).encode()))) == [one, one]
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("GHSA-1.json", json.dumps(one))
        archive.writestr("README", "nothing")
    assert list(records(tmp_path / "all.zip")) == [one]


@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x03\x04 broken"])
def test_a_source_that_cannot_be_read_is_named(source: Callable[..., Path], content: bytes) -> None:
    with pytest.raises(UnusableSource, match="broken.zip is neither JSON nor a zip"):
        list(records(source("broken.zip", content)))


def test_an_archive_with_a_record_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("GHSA-1.json", json.dumps(record()))
    with pytest.raises(UnusableSource, match="one above 10 bytes"):
        list(records(tmp_path / "all.zip", largest=10))


@pytest.mark.parametrize(
    ("severity", "fail_on", "status"),
    [("HIGH", "high", 1), ("MODERATE", "high", 0), ("MODERATE", "medium", 1)],
)
def test_the_command_fails_on_what_is_grave_enough(
    source: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    severity: str,
    fail_on: str,
    status: int,
) -> None:
    known = [record(database_specific={"severity": severity}), record(Part("Debian:12", "other", "1"))]
    bill, file = source("b", json.dumps(BILL).encode()), source("a.json", json.dumps(known).encode())
    monkeypatch.setattr(sys, "argv", ["advisories", str(bill), str(file), "--fail-on", fail_on])
    assert advisories.main() == status
    assert capsys.readouterr().out.endswith(f"2 parts, 1 findings, {status} of them {fail_on} or graver\n")


def test_the_command_ends_with_2_when_it_could_not_look(
    source: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bill, file = source("b", json.dumps(BILL).encode()), source("a.json", b"[]")
    monkeypatch.setattr(sys, "argv", ["advisories", str(bill), str(file)])
    assert advisories.main() == 2
    assert "say nothing of Debian:12, PyPI" in capsys.readouterr().err
