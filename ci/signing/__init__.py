"""Keyless signatures of releases through Sigstore: made with a job's identity, held against a policy.

Imports `net`, `image`, `oci` and `keyless`. The `sigstore` package is imported where something is signed or
verified, as it takes a third of a second.
"""
