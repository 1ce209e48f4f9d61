"""Conversion of a flag's texts to an argument's value, by the argument's type."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from daggerw_engine.command.modules.typedefs import Argument, Catalogue
from daggerw_engine.errors import NotOfferedError

TRUE, FALSE = {"1", "t", "true"}, {"0", "f", "false"}
MAX_PORT = 65535
# Fields by which the engine loads the object that an argument names.
LOADERS = {
    "CacheVolume": "query ($key: String!) { cacheVolume(key: $key) { id } }",
    "Container": "query ($address: String!) { container { from(address: $address) { id } } }",
    "Directory": """query ($path: String!, $exclude: [String!]) {
        host { directory(path: $path, exclude: $exclude) { id } }
    }""",
    "File": "query ($path: String!) { host { file(path: $path) { id } } }",
    "GitRef": """query ($path: String!, $ref: String!) {
        host { directory(path: $path) { asGit { ref(name: $ref) { id } } } }
    }""",
    "GitRepository": "query ($path: String!) { host { directory(path: $path) { asGit { id } } } }",
    "Secret": "query ($uri: String!, $cacheKey: String) { secret(uri: $uri, cacheKey: $cacheKey) { id } }",
    "Service": """query ($host: String!, $ports: [PortForward!]!) {
        host { service(host: $host, ports: $ports) { id } }
    }""",
    "Socket": "query ($path: String!) { host { unixSocket(path: $path) { id } } }",
}


@dataclass(frozen=True)
class Loaded:
    """A value that the engine must load first, by the query in LOADERS for `type`, with these variables."""

    type: str
    variables: Mapping[str, object]


@dataclass(frozen=True)
class Host:
    """Parts of the user's machine that a value can refer to."""

    folder: Path
    environment: Mapping[str, str]


def is_supported(argument: Argument, catalogue: Catalogue) -> bool:
    """Return whether a command line can express values of the argument's type."""
    name = argument.type.name
    return name in READERS or name in ADDRESSES or catalogue.enum(name) is not None


def read(argument: Argument, texts: Sequence[str], catalogue: Catalogue, host: Host) -> object:
    """Return the value of the last text, or for a list, of the comma-separated parts of all texts.

    Raises ValueError that names the expected form.
    """
    if argument.type.many:
        return [_read(argument, text.strip(), catalogue, host) for row in csv.reader(texts) for text in row]
    return _read(argument, texts[-1], catalogue, host)


def _read(argument: Argument, text: str, catalogue: Catalogue, host: Host) -> object:
    name = argument.type.name
    try:
        if reader := READERS.get(name):
            return reader(text)
        if address := ADDRESSES.get(name):
            return Loaded(name, address(text, argument, host))
        return _member(text, catalogue.enum(name) or ())
    except ValueError as error:
        # The invalid text may be the secret itself.
        shown = "" if name == "Secret" else f"{text!r} "
        raise ValueError(f'invalid argument {shown}for "--{argument.flag}": {error}') from error


def _boolean(text: str) -> bool:
    if text.lower() not in TRUE | FALSE:
        raise ValueError("expected true or false")
    return text.lower() in TRUE


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ValueError("expected a whole number")
    return int(text)


def _float(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("expected a finite number")
    return number


def _member(text: str, members: Sequence[str]) -> str:
    """Return the enum member named `text`, in any case, as Dagger does."""
    for member in members:
        if member.lower() == text.lower():
            return member
    raise ValueError(f"expected one of {', '.join(members)}")


def _port_forward(text: str) -> dict[str, int]:
    frontend, colon, backend = text.partition(":")
    if not colon:
        raise ValueError("expected FRONTEND:BACKEND")
    return {"frontend": _port(frontend), "backend": _port(backend)}


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > MAX_PORT:
        raise ValueError(f"{text!r} is not a port")
    return int(text)


def _build_argument(text: str) -> dict[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError("expected NAME=VALUE")
    return {"name": name, "value": value}


READERS: dict[str, Callable[[str], object]] = {
    "Boolean": _boolean,
    "BuildArg": _build_argument,
    "Float": _float,
    "Int": _integer,
    "JSON": str,
    "Platform": str,
    "PortForward": _port_forward,
    "String": str,
}


def _path(text: str, argument: Argument, host: Host) -> Path:
    if re.match(r"[a-z+]+://|git@", text) and not text.startswith("file://"):
        raise NotOfferedError(f"a remote {argument.type.name} (--{argument.flag} {text})")
    return (host.folder / Path(text.removeprefix("file://")).expanduser()).resolve()


def _folder(text: str, argument: Argument, host: Host) -> dict[str, object]:
    path = _path(text, argument, host)
    if not path.is_dir():
        raise ValueError(f"no such folder: {str(path)!r}")
    return {"path": str(path)}


def _directory(text: str, argument: Argument, host: Host) -> dict[str, object]:
    return {**_folder(text, argument, host), "exclude": list(argument.ignore)}


def _file(text: str, argument: Argument, host: Host) -> dict[str, object]:
    path = _path(text, argument, host)
    if not path.is_file():
        raise ValueError(f"no such file: {str(path)!r}")
    return {"path": str(path)}


def _ref(text: str, argument: Argument, host: Host) -> dict[str, object]:
    folder, _, name = text.partition("#")
    return {**_folder(folder, argument, host), "ref": name or "HEAD"}


def _secret(text: str, argument: Argument, host: Host) -> dict[str, object]:
    address, _, key = text.partition("?cacheKey=")
    scheme, colon, rest = address.partition(":")
    if not colon:
        scheme, rest = "env", address
    rest = rest.removeprefix("//")
    if scheme not in {"env", "file", "cmd"}:
        raise NotOfferedError(f"a secret of the provider {scheme!r} (--{argument.flag})")
    if scheme == "env" and rest not in host.environment:
        raise ValueError("no such environment variable; expected env://NAME, file://PATH or cmd://COMMAND")
    if scheme == "file":
        rest = str(_file(rest, argument, host)["path"])
    return {"uri": f"{scheme}://{rest}", **({"cacheKey": key} if key else {})}


def _service(text: str, argument: Argument, host: Host) -> dict[str, object]:
    matched = re.fullmatch(r"(tcp|udp)://(\[[0-9a-fA-F:]+\]|[^:/]+):([0-9]+)", text)
    if not matched:
        raise ValueError("expected tcp://HOST:PORT or udp://HOST:PORT")
    protocol, name, port = matched[1].upper(), matched[2].strip("[]"), _port(matched[3])
    return {"host": name, "ports": [{"frontend": port, "backend": port, "protocol": protocol}]}


def _socket(text: str, argument: Argument, host: Host) -> dict[str, object]:
    path = _path(text.removeprefix("unix://"), argument, host)
    if not path.is_socket():
        raise ValueError(f"no such socket: {str(path)!r}")
    return {"path": str(path)}


ADDRESSES: dict[str, Callable[[str, Argument, Host], dict[str, object]]] = {
    "CacheVolume": lambda text, argument, host: {"key": text},
    "Container": lambda text, argument, host: {"address": text},
    "Directory": _directory,
    "File": _file,
    "GitRef": _ref,
    "GitRepository": _folder,
    "Secret": _secret,
    "Service": _service,
    "Socket": _socket,
}
