"""Trusted certificate authorities of the host, made available to every command.

Where TLS is intercepted, only the host trusts the interceptor's certificate. The host's bundle is mounted
over the container's, and the variables that common clients read name it; it is not part of images and keys.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY")
VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@dataclass(frozen=True)
class Trust:
    """CA bundle of the host, if it has one."""

    bundle: Path | None
    pip_configuration: Path

    @classmethod
    def of_host(cls, scratch: Path, bundle: str = "") -> Trust:
        """Return the bundle of this host; write pip's configuration for Dockerfiles into `scratch`."""
        configuration = scratch / "pip.conf"
        configuration.write_text(f"[global]\ncert = {BUNDLE}\n")
        found = Path(bundle or os.environ.get("SSL_CERT_FILE") or BUNDLE)
        return cls(found if found.is_file() else None, configuration)

    @staticmethod
    def proxies(environment: Mapping[str, str], reached: Iterable[str] = ()) -> dict[str, str]:
        """Return the host's proxy variables, in both spellings, with the `reached` hosts exempted."""
        found = {
            name: value
            for name in PROXIES
            if (value := environment.get(name) or environment.get(name.lower()))
        }
        if not found:
            return {}
        direct = [*filter(None, found.get("NO_PROXY", "").split(",")), "localhost", "127.0.0.1", *reached]
        found["NO_PROXY"] = ",".join(direct)
        return {spelt: value for name, value in found.items() for spelt in (name, name.lower())}

    def build_volumes(self) -> list[str]:
        """Return the volumes for a Dockerfile's RUN steps, which get no variables."""
        if not self.bundle:
            return []
        return [f"{self.bundle}:{BUNDLE}:ro", f"{self.pip_configuration}:/etc/pip.conf:ro"]
