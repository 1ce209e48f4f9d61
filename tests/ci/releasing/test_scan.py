"""Scan for vulnerabilities: its sources, and its report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import dagger
import httpx
import pytest

from errors import NoAdvisories, Vulnerable
from net.retry_policy import Retrying
from releasing import advisories, scan
from tests.ci.recorder import Recorder

pytestmark = pytest.mark.anyio
Handler = Callable[[httpx.Request], httpx.Response]


@dataclass
class Programs(Recorder, of=(dagger.Container,)):
    """A container with the scanner, which ends with a given status."""

    status: int = 0

    async def stdout(self) -> str:
        return "findings\n"

    async def stderr(self) -> str:
        return "advisories: the sources say nothing\n"

    async def exit_code(self) -> int:
        return self.status


class Engine(Recorder, of=(dagger.Client, dagger.CurrentModule, dagger.Directory)):
    """Dagger's client, as far as files of the module's own go."""

    def file(self, path: str) -> Path:
        return Path("advisories") / path


async def run_scan(
    programs: Programs, *sources: Any, urls: list[str] | None = None, fail_on: str = "high"
) -> str:
    return await scan.scan(cast("Any", programs), cast("Any", "bill"), sources, urls or [], fail_on)


@pytest.fixture(autouse=True)
def _engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(scan, "dag", Engine())
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Handler], None]:
    """Return a function that gives a server its responses."""

    def answer(handler: Handler) -> None:
        class Patient:
            async def __aenter__(self) -> Retrying:
                self.http = httpx.AsyncClient(transport=httpx.MockTransport(handler))
                return Retrying(self.http)

            async def __aexit__(self, *raised: object) -> None:
                await self.http.aclose()

        monkeypatch.setattr(scan, "patient", lambda timeout: Patient())

    return answer


async def test_without_a_source_it_fails_and_says_where_to_get_one() -> None:
    with pytest.raises(NoAdvisories, match=r"no advisories are given[^$]*all\.zip of PyPI and of Debian:12"):
        await run_scan(Programs())


async def test_an_unknown_severity_is_refused() -> None:
    with pytest.raises(NoAdvisories, match="'grave' is no severity; there are low, medium, high, critical"):
        await run_scan(Programs(), "a file", fail_on="grave")
    assert advisories.SEVERITIES[2:] == scan.SEVERITIES


async def test_all_sources_are_held_against_the_bill_of_materials(answer: Callable[[Handler], None]) -> None:
    answer(lambda request: httpx.Response(200, content=b"from afar"))
    programs = Programs()
    assert await run_scan(programs, "a file", urls=["https://osv.test/PyPI/all.zip"]) == "findings"
    *mounted, (_, command, _) = programs.calls
    assert command[1:] == [
        *("ci/releasing/advisories.py", "/sbom.json", "/advisories/0", "/advisories/1", "--fail-on", "high")
    ]
    assert [call[1:] for call in mounted] == [
        ("/advisories/0", "a file"),
        ("/advisories/1", Path("advisories/0-all.zip")),
        ("/sbom.json", "bill"),
    ]
    assert Path("advisories/0-all.zip").read_bytes() == b"from afar"


async def test_what_is_grave_is_a_failure_with_the_findings() -> None:
    with pytest.raises(Vulnerable, match=r"scan:\nfindings"):
        await run_scan(Programs(status=1), "a file")


async def test_what_could_not_be_looked_up_is_a_failure_too() -> None:
    with pytest.raises(NoAdvisories, match="scan: advisories: the sources say nothing"):
        await run_scan(Programs(status=2), "a file")


async def test_an_address_without_advisories_is_named(answer: Callable[[Handler], None]) -> None:
    answer(lambda request: httpx.Response(404))
    with pytest.raises(NoAdvisories, match=r"https://osv\.test/x answered 404; check the address"):
        await run_scan(Programs(), urls=["https://osv.test/x"])


async def test_a_download_that_breaks_off_is_reported(answer: Callable[[Handler], None]) -> None:
    class Broken(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            yield b"some"
            raise httpx.ReadError("gone")

    answer(lambda request: httpx.Response(200, stream=Broken()))
    with pytest.raises(NoAdvisories, match="broke off"):
        await run_scan(Programs(), urls=["https://osv.test/all.zip"])
