"""Certificates of TLS servers in tests, and trust in them beside the system's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from daggerw_engine.run.trust import BUNDLE


def certify(path: Path, host: x509.GeneralName) -> None:
    """Write a key and a self-signed certificate for a host's name or address."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, str(host.value))])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([host]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))


def trust(environment: Mapping[str, str], certificate: Path, bundle: Path) -> dict[str, str]:
    """Return an environment in which a certificate is trusted, too, by the bundle that is written."""
    system = Path(os.environ.get("SSL_CERT_FILE") or BUNDLE)
    bundle.write_bytes(system.read_bytes() + certificate.read_bytes())
    return {**environment, "SSL_CERT_FILE": str(bundle)}
