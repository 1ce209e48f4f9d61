"""Scan of a release for known vulnerabilities: `advisories.py` in a container."""

from collections.abc import Sequence
from pathlib import Path

import dagger
import httpx
from dagger import dag

from errors import NoAdvisories, UnusableAnswer, Vulnerable
from net.bounded_reading import pieces, seconds_for
from net.retry_policy import Retrying, patient

PROGRAM = "ci/releasing/advisories.py"
SEVERITIES = ("low", "medium", "high", "critical")
_FOLDER = Path("advisories")
_MOST = 4 * 1024**3  # bytes of one file
_TIMEOUT = httpx.Timeout(30, read=120)


async def scan(
    programs: dagger.Container,
    bill: dagger.File,
    sources: Sequence[dagger.File],
    urls: Sequence[str],
    fail_on: str,
) -> str:
    """Return what is known against a bill of materials, in files and at addresses of the OSV format.

    Raises NoAdvisories without a source that says anything, and Vulnerable for what is as grave as `fail_on`.
    """
    if fail_on not in SEVERITIES:
        raise NoAdvisories(f"scan: {fail_on!r} is no severity; there are {', '.join(SEVERITIES)}")
    if not sources and not urls:
        raise NoAdvisories(
            "scan: no advisories are given, and without any none is found; give --advisories FILE or --url "
            "ADDRESS with what OSV publishes, such as all.zip of PyPI and of Debian:12"
        )
    given = [*sources, *await _fetch(urls)]
    names = [f"/advisories/{number}" for number in range(len(given))]
    for name, source in zip(names, given, strict=True):
        programs = programs.with_mounted_file(name, source)
    command = ["python", PROGRAM, "/sbom.json", *names, "--fail-on", fail_on]
    done = programs.with_mounted_file("/sbom.json", bill).with_exec(command, expect=dagger.ReturnType.ANY)
    report, status = (await done.stdout()).strip(), await done.exit_code()
    if status == 1:
        raise Vulnerable(f"scan:\n{report}")
    if status:
        raise NoAdvisories(f"scan: {(await done.stderr()).strip()}")
    return report


async def _fetch(urls: Sequence[str]) -> list[dagger.File]:
    _FOLDER.mkdir(exist_ok=True)
    async with patient(_TIMEOUT) as client:
        names = [await _download(client, url, number) for number, url in enumerate(urls)]
    folder = dag.current_module().workdir(str(_FOLDER))
    return [folder.file(name) for name in names]


async def _download(client: Retrying, url: str, number: int) -> str:
    """Return the name of the file that what is at an address was written to."""
    request = client.http.build_request("GET", url)
    answer = await client.send(request, follow_redirects=True, stream=True)
    try:
        if not answer.is_success:
            raise NoAdvisories(f"scan: {url} answered {answer.status_code}; check the address")
        name = f"{number}-{Path(request.url.path).name or 'advisories'}"
        with (_FOLDER / name).open("wb") as file:
            async for piece in pieces(answer, _MOST, seconds_for(_MOST)):
                file.write(piece)
    except (httpx.TransportError, UnusableAnswer) as error:
        raise NoAdvisories(f"scan: {url} broke off: {error!r}; try again") from error
    finally:
        await answer.aclose()
    return name
