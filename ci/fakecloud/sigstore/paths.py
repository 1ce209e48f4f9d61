"""Paths of the fake Sigstore; standard library only, as a rehearsal fetches the trusted root there."""

# Clients put Fulcio's at the root of its host, whatever its address says.
FULCIO = "/api/v2/signingCert"
PREFIX = "/sigstore"
REKOR, TIMESTAMPS = f"{PREFIX}/rekor", f"{PREFIX}/timestamps"
TRUSTED_ROOT, SIGNING_CONFIG = f"{PREFIX}/trusted_root.json", f"{PREFIX}/signing_config.json"
