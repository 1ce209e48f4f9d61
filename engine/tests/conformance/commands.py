"""Commands in containers, with which the tests look at an effect."""

from __future__ import annotations

import dagger

FETCH = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=60).read().decode(), end='')"
ANY, FAILURE = dagger.ReturnType.ANY, dagger.ReturnType.FAILURE


async def shell(container: dagger.Container, script: str) -> str:
    """Return a script's output in a container."""
    return await container.with_exec(["sh", "-c", script]).stdout()


async def stats(container: dagger.Container, *paths: str) -> list[str]:
    """Return mode, user, group and name of paths in a container."""
    return (await shell(container, f"stat -c '%a %U:%G %n' {' '.join(paths)}")).splitlines()


async def fetch(container: dagger.Container, url: str) -> str:
    """Return the content of a URL, read in a container."""
    return await container.with_exec(["python", "-c", FETCH, url]).stdout()


def serve_text(container: dagger.Container, text: str, port: int = 8000) -> dagger.Container:
    """Return a container whose default arguments serve a text at /it.txt."""
    served = container.with_workdir("/served").with_new_file("it.txt", text).with_exposed_port(port)
    return served.with_default_args(["python", "-m", "http.server", str(port)])
