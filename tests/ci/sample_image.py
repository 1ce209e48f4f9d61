"""Images as an engine exports them, small but with all that the real one has records of."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from image.canonical import Origin

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ci.conftest import Archive

BASE = f"python:3.11-slim@sha256:{'b' * 64}"
ORIGIN = Origin("c" * 40, "2026-07-01T12:00:00Z", BASE)
MODEL = b"a model"
CARD = {"name": "rehearsed", "data_sha256": "d" * 64, "artifact_sha256": hashlib.sha256(MODEL).hexdigest()}
REQUIREMENTS = b"httptools==0.9.0 \\\n" + b" \\\n".join(
    b"    --hash=sha256:%s" % (digit * 64) for digit in (b"1", b"2")
)
PACKAGES = "venv/lib/python3.11/site-packages"

VARIABLES = ["PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1"]

# A text, a link's target, or the bytes of a file.
Contents = Mapping[str, bytes | str]

FILES: Contents = {
    "etc/os-release": b'ID=debian\nVERSION_ID="12"\n',
    "usr/lib/libz.so.1.2.13": b"library",
    "usr/lib/libz.so.1": "libz.so.1.2.13",
    "usr/share/doc/zlib1g/copyright": b"Format: 1\n\nFiles: *\nLicense: Zlib\n",
    "usr/local/bin/python3.11": b"interpreter",
    "usr/local/lib/python3.11/os.py": b"import sys\n",
    "var/lib/dpkg/status.d/zlib1g": b"Package: zlib1g\nSource: zlib (1.2.13)\nVersion: 1:1.2.13\n"
    b"Architecture: amd64\n",
    "var/lib/dpkg/status.d/zlib1g.md5sums": f"{'0' * 32}  usr/lib/libz.so.1.2.13\n".encode(),
    "venv/pyvenv.cfg": b"home = /usr/local/bin\nversion = 3.11.16\n",
    "venv/bin/python": "/usr/local/bin/python3.11",
    f"{PACKAGES}/httptools/__init__.py": b"pass\n",
    f"{PACKAGES}/httptools/__pycache__/__init__.cpython-311.pyc": b"byte-code",
    f"{PACKAGES}/httptools-0.9.0.dist-info/METADATA": b"Name: httptools\nVersion: 0.9.0\n"
    b"License-Expression: MIT\n",
    f"{PACKAGES}/httptools-0.9.0.dist-info/RECORD": b"httptools/__init__.py,,\n"
    b"httptools-0.9.0.dist-info/METADATA,,\nhttptools-0.9.0.dist-info/RECORD,,\n",
    "app/app/__init__.py": b'"""The service."""\n',
    "app/app/requirements.txt": REQUIREMENTS,
    "app/model/card.json": json.dumps(CARD).encode(),
    "app/model/model.joblib": MODEL,
}


def layer(contents: Contents, *, mode: int = 0o644, time: int = 1_750_000_000, owner: int = 1000) -> bytes:
    """Return a layer as some engine on some day under some umask would write it; str is a link's target."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for path, content in contents.items():
            member = tarfile.TarInfo(path)
            member.mtime, member.mode, member.uid = time, mode, owner
            if path.endswith("/"):
                member.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
            else:
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return written.getvalue()


def configuration(version: str = "v1.0.0", **said: Any) -> bytes:
    """Return the configuration of an image of a version as an engine writes it."""
    labels = {
        "org.opencontainers.image.title": "rehearsed",
        "org.opencontainers.image.version": version,
        "io.buildah.version": "1.28.2",
        **said.pop("labels", {}),
    }
    config = {
        "User": "65532:65532",
        "Env": ["PATH=/usr/bin:/bin", *VARIABLES, f"MODEL_VERSION={version}"],
        "Entrypoint": ["/venv/bin/python", "-m", "app"],
        "ExposedPorts": {"8080/tcp": {}},
        "WorkingDir": "/app",
        "Labels": labels,
        **said,
    }
    return json.dumps(
        {"architecture": "amd64", "os": "linux", "created": "2026-11-26", "config": config}
    ).encode()


def build(
    archive: Archive, *layers: bytes, version: str = "v1.0.0", compressed: bool = False, **said: Any
) -> Path:
    """Write an image of these layers, or of all FILES in one, and return the archive's path."""
    packed = layers or (layer(FILES),)
    if compressed:
        packed = tuple(gzip.compress(each) for each in packed)
    archive.files.clear()
    archive.index(archive.add_manifest(*packed, configuration=configuration(version, **said)))
    return archive.write()
