"""The host's trusted certificate authorities, lent to every command.

Where TLS is intercepted, only the host knows the interceptor's certificate. It is mounted over the
container's own bundle and named by the variables that common clients read; no image and no key holds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@dataclass(frozen=True)
class Trust:
    """The host's bundle, when it has one."""

    bundle: Path | None
    pip_configuration: Path

    @classmethod
    def of_host(cls, scratch: Path, bundle: str = BUNDLE) -> Trust:
        """Return the trust of this host; writes pip's configuration for Dockerfiles into `scratch`."""
        configuration = scratch / "pip.conf"
        configuration.write_text(f"[global]\ncert = {BUNDLE}\n")
        found = Path(bundle)
        return cls(found if found.is_file() else None, configuration)

    def build_volumes(self) -> list[str]:
        """Return the volumes for a Dockerfile's RUN steps, which get no variables."""
        if not self.bundle:
            return []
        return [f"{self.bundle}:{BUNDLE}:ro", f"{self.pip_configuration}:/etc/pip.conf:ro"]
