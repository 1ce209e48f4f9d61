"""Components of an image: Debian's packages, Python's, the interpreter, the service, its model, the rest.

Every file of an image belongs to one component, by the image's own records: dpkg's, as `package_record.py`
left them, and pip's (`*.dist-info`). Byte-code belongs to its source's component. Raises InvalidLayout when
a record is broken.
"""

import csv
import email.parser
import json
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.message import Message
from urllib.parse import quote

from errors import InvalidLayout
from image.layer_tree import Tree

DEBIAN_RECORDS, OS_RELEASE = "var/lib/dpkg/status.d/", "etc/os-release"
SERVICE, MODEL, CARD = "app/", "app/model/", "app/model/card.json"
ENVIRONMENT = "venv/pyvenv.cfg"
REQUIREMENTS = re.compile(r"app/(app|features)/requirements[a-z-]*\.txt")
_INTERPRETER = re.compile(r"usr/(local/)?(bin|include|lib)/")
_DISTRIBUTION = re.compile(r"(?P<packages>.+/site-packages)/[^/]+\.dist-info/METADATA")
_BYTE_CODE = re.compile(r"(?P<folder>(?:.*/)?)__pycache__/(?P<name>[^/]+)\.cpython-\d+\.pyc")
_DEBIAN_LICENCE = re.compile(r"^License: *(\S.*?) *$", re.MULTILINE)
_LICENCE_CLASSIFIER = "License :: "
_MD5 = 34  # characters of a sum and the two blanks after it
_MALFORMED = (ValueError, LookupError, TypeError, AttributeError, RecursionError, csv.Error)


@dataclass(frozen=True)
class Component:
    """A part of an image by its package URL.

    `expression` is an SPDX licence expression; without one, `licences` are what licences are called.
    `source` is what a Debian package was built from, as `NAME VERSION`, which is what advisories name.
    """

    kind: str
    name: str
    version: str
    purl: str
    expression: str = ""
    licences: tuple[str, ...] = ()
    source: str = ""


Claim = tuple[Component, Iterable[str]]


def components(tree: Tree, name: str, version: str) -> dict[Component, list[str]]:
    """Return an image's components with their files; the first is the image, with what is no other's."""
    image = Component("container", name, version, f"pkg:oci/{quote(name)}?tag={quote(version)}")
    try:
        claims = [*_debian(tree), *_python(tree), *_service(tree, version)]
        interpreter = _interpreter(tree)
    except _MALFORMED as error:
        raise InvalidLayout(f"image: its records of what is in it are broken: {error!r}") from error
    owners = {path: component for component, paths in claims for path in paths}
    found: dict[Component, list[str]] = {image: []}
    for path, entry in tree.items():
        if entry.kind == "file":
            fallback = interpreter if _INTERPRETER.match(path) else image
            found.setdefault(owners.get(_source(path), fallback), []).append(path)
    return found


def _source(path: str) -> str:
    """Return the path of a file's source: its own, but for byte-code."""
    found = _BYTE_CODE.fullmatch(path)
    return f"{found['folder']}{found['name']}.py" if found else path


def _text(tree: Tree, path: str) -> str:
    return tree[path].content().decode() if path in tree else ""


def _debian(tree: Tree) -> Iterator[Claim]:
    release = re.search(r'^VERSION_ID="?([^"\n]+)', _text(tree, OS_RELEASE), re.MULTILINE)
    distribution = f"&distro=debian-{release[1]}" if release else ""
    for path in tree:
        if not path.startswith(DEBIAN_RECORDS) or path.endswith(".md5sums") or tree[path].kind != "file":
            continue
        fields = _headers(_text(tree, path))
        name, version = fields["Package"], fields["Version"]
        where = f"?arch={fields['Architecture']}{distribution}"
        purl = f"pkg:deb/debian/{quote(name)}@{quote(version, safe='')}{where}"
        sums, terms = f"{path}.md5sums", f"usr/share/doc/{name}/copyright"
        licences = sorted(set(_DEBIAN_LICENCE.findall(_text(tree, terms))))
        origin, _, built_from = (fields["Source"] or name).partition(" ")
        source = f"{origin} {built_from.strip('()') or version}"
        component = Component("library", name, version, purl, licences=tuple(licences), source=source)
        yield component, [path, sums, terms, *(line[_MD5:] for line in _text(tree, sums).splitlines())]


def _python(tree: Tree) -> Iterator[Claim]:
    for path in tree:
        if not (found := _DISTRIBUTION.fullmatch(path)):
            continue
        fields = _headers(_text(tree, path))
        name, version = re.sub(r"[-_.]+", "-", fields["Name"]).lower(), fields["Version"]
        licences = _python_licences(fields)
        purl = f"pkg:pypi/{name}@{quote(version, safe='')}"
        component = Component("library", name, version, purl, fields["License-Expression"] or "", licences)
        rows = csv.reader(_text(tree, f"{posixpath.dirname(path)}/RECORD").splitlines())
        yield component, [posixpath.normpath(f"{found['packages']}/{row[0]}") for row in rows]


def _python_licences(fields: Message) -> tuple[str, ...]:
    """Return what a distribution calls its licences, its classifiers before its own words."""
    classified = (each for each in fields.get_all("Classifier", ()) if each.startswith(_LICENCE_CLASSIFIER))
    names = sorted({each.rpartition(" :: ")[2] for each in classified})
    words = (fields["License"] or "").strip().splitlines()
    return tuple(names or words[:1])


def _headers(text: str) -> Message:
    return email.parser.HeaderParser().parsestr(text)


def _service(tree: Tree, version: str) -> Iterator[Claim]:
    name = json.loads(_text(tree, CARD))["name"] if CARD in tree else "service"
    own = [path for path in tree if path.startswith(SERVICE)]
    purl = f"pkg:generic/{quote(name)}-{{}}@{quote(version)}"
    yield Component("application", f"{name}-service", version, purl.format("service")), own
    model = [path for path in own if path.startswith(MODEL)]
    yield Component("machine-learning-model", f"{name}-model", version, purl.format("model")), model


def _interpreter(tree: Tree) -> Component:
    """Return the interpreter, as its virtual environment names it; Debian's is made of Debian's packages."""
    found = re.search(r"^version = (\S+)$", _text(tree, ENVIRONMENT), re.MULTILINE)
    version = found[1] if found else "unknown"
    return Component("platform", "python", version, f"pkg:generic/python@{version}", "PSF-2.0")
