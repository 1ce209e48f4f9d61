"""Files for browsers: a page at `/`, the API's documentation at `/docs`, and the files that both load.

No file comes from another host. The files are our own (static/), the model folder's plots, and Swagger UI
from the package fastapi_swagger, which is never imported. They are kept gzipped, as all browsers accept them.
The image has those of Swagger UI gzipped already (docker/slim.py); the others are gzipped at their first
request.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from app.connections.http_response import HttpResponse
from app.errors import ArtifactError, UnknownPath
from app.modelling.artifact import PLOT_FILES, read_file, sha256
from app.settings import Settings

PAGES = {"/": "page.html", "/docs": "docs.html"}
OURS = ("answer.js", "card.js", "docs.js", "icon.svg", "page.css", "page.js", "question.js")
SWAGGER = ("swagger-ui-bundle.js", "swagger-ui.css")
MAX_BYTES = 4 * 1024 * 1024  # of a file
_gzip = re.compile(rb"(?:^|,)[ \t]*gzip[ \t]*(?:;(?P<weight>[^,]*))?(?:,|$)").search
MEDIA_TYPES = {
    ".css": b"text/css; charset=utf-8",
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
# Swagger UI's style sheet has images in it: hence data.
POLICY = (
    b"default-src 'none'; connect-src 'self'; img-src 'self' data:; script-src 'self'; style-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FIELDS = (
    (b"cache-control", b"no-cache"),  # so that no release shows the script of another
    (b"content-security-policy", POLICY),
    (b"referrer-policy", b"no-referrer"),
    (b"vary", b"accept-encoding"),
    (b"x-content-type-options", b"nosniff"),
)


class File:
    """One file for browsers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.media_type = MEDIA_TYPES[path.suffix]

    def answer(self, headers: Mapping[bytes, bytes]) -> HttpResponse:
        """Return the response to a request with these headers. Raises UnknownPath for a missing file."""
        extra = (*FIELDS, (b"etag", b'W/"%b"' % self._tag))
        if _names(headers.get(b"if-none-match", b""), self._tag):
            return HttpResponse(304, b"", self.media_type, extra)
        if takes_gzip(headers.get(b"accept-encoding", b"")):
            return HttpResponse(200, self._gzipped, self.media_type, (*extra, (b"content-encoding", b"gzip")))
        return HttpResponse(200, self._whole, self.media_type, extra)

    @cached_property
    def _gzipped(self) -> bytes:
        packed = self.path.with_name(f"{self.path.name}.gz")
        try:
            if packed.exists():
                return bytes(read_file(packed, MAX_BYTES))
            return gzip.compress(read_file(self.path, MAX_BYTES), mtime=0)
        except ArtifactError as error:
            raise UnknownPath("path", "a file that can be read", self.path.name) from error

    @cached_property
    def _whole(self) -> bytes:
        """Return the file as it is: the same bytes each time, as slow clients keep them in memory."""
        return gzip.decompress(self._gzipped)

    @cached_property
    def _tag(self) -> bytes:
        return sha256(self._gzipped)[:16].encode()


def file_routes(settings: Settings) -> dict[str, File]:
    """Return the files by their paths."""
    ours, swagger = Path(__file__).with_name("static"), _package("fastapi_swagger") / "resources"
    return {
        **{path: File(ours / name) for path, name in PAGES.items()},
        **{f"/static/{name}": File(ours / name) for name in OURS},
        **{f"/static/{name}": File(swagger / name) for name in SWAGGER},
        **{f"/model/{name}": File(settings.model_dir / name) for name in PLOT_FILES},
    }


def takes_gzip(accepted: bytes) -> bool:
    """Return whether an Accept-Encoding header names gzip, and not to refuse it (RFC 9110, 12.5.3)."""
    named = _gzip(accepted.lower())
    if named is None:
        return False
    return not named["weight"] or named["weight"].strip().removeprefix(b"q=").strip(b"0.") != b""


def _names(given: bytes, tag: bytes) -> bool:
    """Return whether an If-None-Match header names the tag, weakly compared (RFC 9110, 13.1.2)."""
    return given.strip() == b"*" or re.search(rb'(?:^|[ \t,/])"%b"[ \t]*(?:,|$)' % tag, given) is not None


def _package(name: str) -> Path:
    """Return the folder of an installed package."""
    spec = find_spec(name)
    assert spec is not None, f"{name} is not installed"
    assert spec.origin is not None, f"{name} has no folder of its own"
    return Path(spec.origin).parent
