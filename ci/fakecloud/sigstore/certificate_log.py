"""The certificate transparency log: a promise in every certificate that it will be listed (RFC 6962)."""

import struct
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat import asn1

from fakecloud.sigstore.keys import Key

SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_V1, _CERTIFICATE_TIMESTAMP, _PRECERTIFICATE, _SHA256, _ECDSA = 0, 0, 1, 4, 3


@dataclass(frozen=True)
class CertificateLog:
    """The log of one certificate authority."""

    key: Key = field(default_factory=Key)

    def timestamps(self, certificate: x509.Certificate, issuer: Key, now: float) -> bytes:
        """Return the extension with the log's promise for a certificate that does not have it yet.

        The structures are those of RFC 6962, section 3.2 and 3.3.
        """
        milliseconds, body = int(now * 1000), certificate.tbs_certificate_bytes
        head = struct.pack("!BBQH", _V1, _CERTIFICATE_TIMESTAMP, milliseconds, _PRECERTIFICATE)
        entry = issuer.identifier + len(body).to_bytes(3) + body
        signature = self.key.sign(head + entry + _no_extensions())
        timestamp = struct.pack("!B32sQ", _V1, self.key.identifier, milliseconds) + _no_extensions()
        timestamp += struct.pack("!BBH", _SHA256, _ECDSA, len(signature)) + signature
        listed = len(timestamp).to_bytes(2) + timestamp
        return asn1.encode_der(len(listed).to_bytes(2) + listed)


def _no_extensions() -> bytes:
    return bytes(2)
