"""Certificates of the fake Sigstore: authorities with a root of their own, and what they issue (RFC 5280)."""

from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fakecloud.sigstore.keys import Key

_START, _END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)
_USAGES = [
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
]


@dataclass(frozen=True)
class Issuer:
    """A certificate, and the key that signs for it."""

    key: Key
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        """The certificate in DER."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> str:
        """The certificate in PEM."""
        return self.certificate.public_bytes(Encoding.PEM).decode()

    def sign(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        """Return a certificate that is issued by this one."""
        return builder.issuer_name(self.certificate.subject).sign(self.key.private, hashes.SHA256())


@dataclass(frozen=True)
class Authority:
    """An issuer of certificates or of timestamps, and the root above it."""

    issuer: Issuer
    root: Issuer

    @classmethod
    def of_certificates(cls, name: str) -> "Authority":
        """Make an authority whose issuer signs certificates of code signers."""
        root, key = _root(name), Key()
        builder = add_issuer(
            builder_of(key.private.public_key(), _make_name(name)), root.key, key_cert_sign=True
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(usage(ExtendedKeyUsageOID.CODE_SIGNING), critical=False)
        return cls(Issuer(key, root.sign(builder)), root)

    @classmethod
    def of_timestamps(cls, name: str) -> "Authority":
        """Make an authority whose issuer signs timestamps (RFC 3161, section 2.3)."""
        root, key = _root(name), Key()
        builder = builder_of(key.private.public_key(), _make_name(name))
        builder = add_issuer(builder, root.key, digital_signature=True)
        builder = builder.add_extension(usage(ExtendedKeyUsageOID.TIME_STAMPING), critical=True)
        return cls(Issuer(key, root.sign(builder)), root)


def builder_of(
    key: ec.EllipticCurvePublicKey, subject: x509.Name, start: datetime = _START, end: datetime = _END
) -> x509.CertificateBuilder:
    """Return what is common to all certificates; an issuer and extensions are missing."""
    builder = x509.CertificateBuilder(subject_name=subject, public_key=key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(start).not_valid_after(end)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def add_issuer(builder: x509.CertificateBuilder, issuer: Key, **usages: bool) -> x509.CertificateBuilder:
    """Return a certificate's builder with its issuer's key and what the certificate's own may do."""
    named = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.private.public_key())
    allowed = x509.KeyUsage(**{name: usages.get(name, False) for name in _USAGES})
    return builder.add_extension(named, critical=False).add_extension(allowed, critical=True)


def usage(kind: x509.ObjectIdentifier) -> x509.ExtendedKeyUsage:
    """Return the extension for one purpose."""
    return x509.ExtendedKeyUsage([kind])


def _root(name: str) -> Issuer:
    key, subject = Key(), _make_name(f"{name} root")
    builder = add_issuer(builder_of(key.private.public_key(), subject), key, key_cert_sign=True)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
    return Issuer(key, builder.issuer_name(subject).sign(key.private, hashes.SHA256()))


def _make_name(name: str) -> x509.Name:
    pairs = ((NameOID.ORGANIZATION_NAME, "fake cloud"), (NameOID.COMMON_NAME, name))
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in pairs])
