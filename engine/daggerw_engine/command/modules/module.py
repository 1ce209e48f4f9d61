"""Dagger module on this machine: its folders, its types and its running process."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daggerw_engine.command.modules.typedefs import Types, kept_types
from daggerw_engine.errors import ApiError, ModuleError, NotOfferedError
from daggerw_engine.process import kill, tied_prefix
from daggerw_engine.run.trust import BUNDLE, VARIABLES, Trust

if TYPE_CHECKING:
    from daggerw_engine.api.clients.client import ModuleClient

PROCESS = Path(__file__).with_name("module_process.py")
MAX_REPLY_BYTES = 1 << 30
KEPT = ("PATH", "HOME", "LANG", *VARIABLES)
# Dagger's rule for an address, as opposed to a folder: https://…, ssh://…, user@host:…, host.tld/…
GIT_ADDRESS = re.compile(r"\w+://|[\w.-]+@[\w.-]+:|\w[\w-]*(\.[\w-]+)+/")
VENDORED = {".venv", "sdk", "__pycache__"}


@dataclass(frozen=True)
class Module:
    """Module as described by its dagger.json and pyproject.toml.

    `root` is the folder of dagger.json, `source` that of the code, `context` that of DefaultPath("/"): the
    Git checkout that contains the module, or `root` outside of Git.
    """

    name: str
    root: Path
    source: Path
    context: Path
    entry: str

    def default_path(self, path: str) -> Path:
        """Return the host path of a DefaultPath."""
        return self.context / path.lstrip("/") if path.startswith("/") else self.root / path

    def content(self) -> str:
        """Return a digest of the module's code and of everything else that its types depend on."""
        digest = hashlib.sha256(f"{self.entry} {sdk_version()}".encode())
        code = (path for path in self.source.rglob("*.py") if VENDORED.isdisjoint(path.parts))
        for path in (PROCESS, *sorted(code)):
            digest.update(f"{path}\0".encode() + path.read_bytes())
        return digest.hexdigest()


def sdk_version() -> str:
    """Return the version of dagger-io, equal to that of the API and of Dagger's command line."""
    return metadata.version("dagger-io")


def find(start: Path, fallback: Path | None = None) -> Module:
    """Return the module of the nearest dagger.json from `start` upward, else the one in `fallback`."""
    folders = [start, *start.parents, *([fallback] if fallback else [])]
    root = next((folder for folder in folders if (folder / "dagger.json").is_file()), None)
    if root is None:
        raise ModuleError(f"module: no dagger.json in {str(start)!r} or above it; name its folder with --mod")
    return load(root)


def find_named(name: str, folder: Path) -> Module:
    """Return the module in the folder of --mod, relative to `folder`; ModuleError for a Git address."""
    root = (folder / name).resolve()
    if GIT_ADDRESS.match(name) and not root.exists():
        raise ModuleError(
            f"module: {name!r} is a Git address, and the embedded engine takes modules from local folders "
            "only: clone it and name its folder, or use the Dagger engine (DAGGERW_ENGINE=dagger)"
        )
    return load(root)


def load(root: Path) -> Module:
    """Read the manifest in `root`."""
    manifest = _manifest(root / "dagger.json")
    sdk = manifest.get("sdk")
    if isinstance(sdk, str):  # the form until Dagger 0.15
        sdk = {"source": sdk}
    if not isinstance(sdk, dict) or sdk.get("source") != "python":
        raise NotOfferedError(f"module {manifest['name']!r}: a module with the SDK {sdk!r}")
    if manifest.get("dependencies"):
        raise NotOfferedError(f"module {manifest['name']!r}: a module with dependencies on others")
    source = (root / manifest.get("source", ".")).resolve()
    checkouts = (folder for folder in (root, *root.parents) if (folder / ".git").exists())
    name = manifest["name"]
    return Module(name, root, source, next(checkouts, root), _entry(source, name))


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ModuleError(f"module: no {str(path)!r}") from error
    except ValueError as error:
        raise ModuleError(f"module: {str(path)!r} is not JSON: {error}") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("name"), str):
        raise ModuleError(f"module: {str(path)!r} lacks a name")
    return manifest


def _entry(source: Path, name: str) -> str:
    """Return the main object that pyproject.toml names, else the one of Dagger's template."""
    path = source / "pyproject.toml"
    try:
        project = tomllib.loads(path.read_text()).get("project", {})
    except FileNotFoundError as error:
        raise ModuleError(f"module: no {str(path)!r}") from error
    except tomllib.TOMLDecodeError as error:
        raise ModuleError(f"module: {str(path)!r} is not TOML: {error}") from error
    if entry := project.get("entry-points", {}).get("dagger.mod", {}).get("main_object"):
        return str(entry)
    for package in (re.sub(r"[-.]+", "_", project.get("name", "main")).lower(), "main"):
        for folder in code_folders(source):
            if (folder / package).is_dir() or (folder / f"{package}.py").is_file():
                return f"{package}:{''.join(map(str.capitalize, re.split('[-_ ]+', name)))}"
    raise ModuleError(
        f'module: {str(path)!r} lacks [project.entry-points."dagger.mod"] with main_object = "main:Class"'
    )


def code_folders(source: Path) -> list[Path]:
    """Return the import folders of a module's code."""
    return [folder for folder in (source / "src", source) if folder.is_dir()]


def types(module: Module, cache: Path, *, verbose: bool) -> Types:
    """Return the module's types; its code runs only when it has changed."""
    place = hashlib.sha256(str(module.root).encode()).hexdigest()
    return kept_types(
        cache / "types" / f"{place[:16]}.json",
        key=module.content(),
        make=lambda: _describe(module, verbose=verbose),
    )


def _describe(module: Module, *, verbose: bool) -> dict[str, Any]:
    """Read the types in a separate process: importing the code can have any effect, and takes a second."""
    process = subprocess.run(
        (*tied_prefix(), *_command(module, "describe")),
        env=_environment(module, verbose=verbose),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
        check=False,
    )
    result = _result(process.stdout, f"status {process.returncode}")
    assert isinstance(result, dict)
    return result


def _command(module: Module, mode: str) -> Sequence[str]:
    # -P and a script's path: a module must neither find the engine's files nor those of the user's folder.
    caching = ("-X", f"pycache_prefix={sys.pycache_prefix}") if sys.pycache_prefix else ()
    return (sys.executable, "-P", *caching, str(PROCESS), mode, str(module.source), module.entry)


def _environment(module: Module, *, verbose: bool) -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    trusted = dict.fromkeys(VARIABLES, BUNDLE) if Path(BUNDLE).is_file() else {}
    return {
        **trusted,
        **kept,
        **Trust.proxies(os.environ),
        "DAGGER_MODULE": module.name,
        "DAGGER_MAIN_OBJECT": module.entry.partition(":")[2],
        "DAGGERW_VERBOSE": "1" if verbose else "",
    }


def _result(reply: bytes, end: str) -> object:
    """Return a reply's result, or raise its error; `end` describes the end of a process without a reply."""
    if not reply:
        raise ModuleError(f"module: its process ended with {end} before it answered")
    message = json.loads(reply)
    if error := message.get("error"):
        raise ApiError(error["message"], error["extensions"])
    return message["result"]


async def _forward(process: asyncio.subprocess.Process, show: Callable[[str], None]) -> None:
    assert process.stderr is not None
    async for line in process.stderr:
        show(line.decode(errors="replace"))


class ModuleProcess:
    """A module's running process; it handles one request at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def start(
        cls, module: Module, prefix: Sequence[str], show: Callable[[str], None], *, verbose: bool
    ) -> AsyncIterator[ModuleProcess]:
        """Start the process, which then imports dagger-io; the end of the block ends it.

        `show` receives each line that the module prints.
        """
        process = await asyncio.create_subprocess_exec(
            *prefix,
            *_command(module, "serve"),
            env=_environment(module, verbose=verbose),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=MAX_REPLY_BYTES,
        )
        printed = asyncio.create_task(_forward(process, show))
        try:
            yield cls(process)
        finally:
            await kill(process)
            await printed

    async def connect(self, client: ModuleClient) -> None:
        """Send the engine's address and the base folder of relative paths to the process."""
        await self._send({"env": dict(client.env), "workdir": str(client.workdir)})

    async def invoke(self, parent: str, state: object, name: str, inputs: Mapping[str, object]) -> object:
        """Run function `name` of the object `parent`; engine objects are IDs, module objects their state."""
        request = {"parent_name": parent, "parent_state": state, "name": name, "raw_inputs": inputs}
        async with self._turn:
            await self._send(request)
            assert self._process.stdout is not None
            reply = await self._process.stdout.readline()
        return _result(reply, "" if reply else f"status {await self._process.wait()}")

    async def _send(self, message: Mapping[str, object]) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        # A process that could not import the module has sent its error before the request, and exited.
        with suppress(ConnectionError):
            stdin.write(json.dumps(message).encode() + b"\n")
            await stdin.drain()
