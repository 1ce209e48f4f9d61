"""Matcher of a bill of materials with advisories in the OSV format; fails at or above a severity.

    python advisories.py sbom.cdx.json ADVISORIES... [--fail-on high]

ADVISORIES are files as OSV publishes them: a record or a list of records in JSON, or a zip archive of records
(https://ossf.github.io/osv-schema/). Prints what fits. Ends with 1 when one at least as severe as
--fail-on does, and with 2 when the sources say nothing of a part's ecosystem: unknown is not safe.
"""

import argparse
import json
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cvss import CVSS2, CVSS3, CVSS4
from cvss.exceptions import CVSSError
from debian.debian_support import Version as DebianVersion
from packaging.version import InvalidVersion
from packaging.version import Version as PythonVersion

# Also in scan.py, which cannot import this file: its libraries are installed only where it runs.
SEVERITIES = ("unknown", "none", "low", "medium", "high", "critical")
MAX_RECORD, MAX_RECORDS = 16 * 1024 * 1024, 1_000_000
_SCORES = {"CVSS_V2": CVSS2, "CVSS_V3": CVSS3, "CVSS_V4": CVSS4}
_WORDS = {"moderate": "medium", "important": "high", "negligible": "low", "unimportant": "none"}
_ORDERS: Mapping[str, Callable[[str], Any]] = {"PyPI": PythonVersion, "Debian": DebianVersion}
_OWN = "milestone2:"


class UnusableSource(Exception):
    """A source of advisories that cannot be read, or says nothing of what is looked for."""


@dataclass(frozen=True)
class Part:
    """A component as advisories name it; `ecosystem` is OSV's, such as PyPI or Debian:12."""

    ecosystem: str
    name: str
    version: str


@dataclass(frozen=True)
class Finding:
    """An advisory that fits a part; `fixed` is the first version without it, if there is one."""

    part: Part
    id: str
    severity: str
    fixed: str
    summary: str

    @property
    def line(self) -> str:
        """The finding as a line to read."""
        fixed = f"fixed in {self.fixed}" if self.fixed else "no fixed version"
        part = f"{self.part.name} {self.part.version}"
        return f"{self.severity:<8}  {part}  {self.id}  {fixed}  {self.summary:.80}".rstrip()


def parts(bill: Mapping[str, Any]) -> Iterator[Part]:
    """Yield what of a bill of materials advisories can be about."""
    for component in bill["components"]:
        purl, _, qualifiers = component["purl"].partition("?")
        if purl.startswith("pkg:pypi/"):
            yield Part("PyPI", component["name"], component["version"])
        elif purl.startswith("pkg:deb/debian/"):
            own = {each["name"].removeprefix(_OWN): each["value"] for each in component["properties"]}
            release = qualifiers.rpartition("distro=debian-")[2].partition("&")[0]
            name, version = own["source"].split(" ")
            yield Part(f"Debian:{release}", name, version)


def records(path: Path, largest: int = MAX_RECORD) -> Iterator[dict[str, Any]]:
    """Yield the records of a source, each of the largest's bytes at most; raises UnusableSource."""
    try:
        if zipfile.is_zipfile(path):
            yield from _read_archive(path, largest)
            return
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UnusableSource(
            f"advisories: {path.name} is neither JSON nor a zip archive of it: {error}"
        ) from error
    yield from content if isinstance(content, list) else [content]


def _read_archive(path: Path, largest: int) -> Iterator[dict[str, Any]]:
    with zipfile.ZipFile(path) as archive:
        members = [each for each in archive.infolist() if each.filename.endswith(".json")]
        if len(members) > MAX_RECORDS or any(each.file_size > largest for each in members):
            raise ValueError(f"more than {MAX_RECORDS} records, or one above {largest} bytes")
        for member in members:
            yield json.loads(archive.read(member))


def findings(wanted: Iterable[Part], advisories: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """Return the advisories that fit, the gravest first.

    Raises UnusableSource when the advisories say nothing of an ecosystem that something is wanted of.
    """
    by_name: dict[tuple[str, str], list[Part]] = {}
    for part in wanted:
        by_name.setdefault((part.ecosystem, part.name), []).append(part)
    said: Counter[str] = Counter()
    found = []
    for record in advisories:
        for affected in _affected_parts(record):
            package = affected["package"]
            said[package["ecosystem"]] += 1
            for part in by_name.get((package["ecosystem"], package["name"]), ()):
                if _fits(part, affected):
                    found.append(_make_finding(part, record, affected))
    _check_coverage({ecosystem for ecosystem, _ in by_name}, said)
    return sorted(set(found), key=lambda each: (-SEVERITIES.index(each.severity), each.part.name, each.id))


def _affected_parts(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if not isinstance(record, dict) or "id" not in record:
        raise UnusableSource(
            f"advisories: {record!r:.80} is no OSV record; see https://ossf.github.io/osv-schema/"
        )
    if "withdrawn" not in record:
        yield from (each for each in record.get("affected") or () if "package" in each)


def _check_coverage(wanted: set[str], said: Mapping[str, int]) -> None:
    silent = sorted(ecosystem for ecosystem in wanted if not said.get(ecosystem))
    if silent:
        raise UnusableSource(
            f"advisories: the sources say nothing of {', '.join(silent)}; give OSV's archives of these, too"
        )


def _fits(part: Part, affected: Mapping[str, Any]) -> bool:
    """Return if a part is affected; where a range can't be read, only a list of versions rules it out."""
    versions = affected.get("versions") or ()
    order = _ORDERS[part.ecosystem.partition(":")[0]]
    ranges = [each["events"] for each in affected.get("ranges") or () if each.get("type") == "ECOSYSTEM"]
    try:
        return part.version in versions or any(_within(order, part.version, events) for events in ranges)
    except InvalidVersion:
        return not versions


def _within(order: Callable[[str], Any], version: str, events: Iterable[Mapping[str, str]]) -> bool:
    """Return whether a version lies in a range, by OSV's algorithm: the last event before it decides."""
    own, vulnerable = order(version), False
    bounds = [(kind, bound) for event in events for kind, bound in event.items()]
    for kind, bound in sorted(bounds, key=lambda each: order(each[1])):
        if kind == "introduced" and (bound == "0" or own >= order(bound)):
            vulnerable = True
        elif (kind == "fixed" and own >= order(bound)) or (kind == "last_affected" and own > order(bound)):
            vulnerable = False
    return vulnerable


def _make_finding(part: Part, record: Mapping[str, Any], affected: Mapping[str, Any]) -> Finding:
    ranges = affected.get("ranges") or ()
    fixes = [event["fixed"] for each in ranges for event in each["events"] if "fixed" in event]
    later = [fix for fix in fixes if _later(part, fix)]
    summary = record.get("summary") or str(record.get("details") or "").partition("\n")[0]
    return Finding(part, record["id"], _severity(record, affected), later[0] if later else "", summary)


def _later(part: Part, version: str) -> bool:
    order = _ORDERS[part.ecosystem.partition(":")[0]]
    try:
        return bool(order(version) > order(part.version))
    except InvalidVersion:
        return False


def _severity(record: Mapping[str, Any], affected: Mapping[str, Any]) -> str:
    """Return the gravest severity that an advisory gives, by score or in words."""
    scored = [*(record.get("severity") or ()), *(affected.get("severity") or ())]
    severities = [_rate(each.get("type", ""), each.get("score", "")) for each in scored]
    severities.append(_word((record.get("database_specific") or {}).get("severity")))
    severities.append(_word((affected.get("ecosystem_specific") or {}).get("urgency")))
    return max(severities, key=SEVERITIES.index)


def _rate(kind: str, vector: str) -> str:
    try:
        return _word(_SCORES[kind](vector).severities()[0])
    except (KeyError, CVSSError):
        return SEVERITIES[0]


def _word(text: object) -> str:
    word = text.lower() if isinstance(text, str) else ""
    word = _WORDS.get(word, word)
    return word if word in SEVERITIES else SEVERITIES[0]


def main() -> int:
    """Print what fits the command line's bill of materials and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bill", type=Path, help="a bill of materials in CycloneDX's JSON")
    parser.add_argument("sources", type=Path, nargs="+", help="advisories in the OSV format")
    parser.add_argument("--fail-on", choices=SEVERITIES[2:], default="high", help="how grave is too grave")
    given = parser.parse_args()
    wanted = list(parts(json.loads(given.bill.read_bytes())))
    try:
        found = findings(wanted, (record for source in given.sources for record in records(source)))
    except UnusableSource as error:
        print(error, file=sys.stderr)
        return 2
    grave = [each for each in found if SEVERITIES.index(each.severity) >= SEVERITIES.index(given.fail_on)]
    print("\n".join(each.line for each in found) or "nothing fits")
    print(f"{len(wanted)} parts, {len(found)} findings, {len(grave)} of them {given.fail_on} or graver")
    return int(bool(grave))


if __name__ == "__main__":
    sys.exit(main())
