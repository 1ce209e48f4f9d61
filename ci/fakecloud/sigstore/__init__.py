"""Keyless signatures: a strict local Fulcio, certificate transparency log, Rekor and timestamp authority.

Imports `fakecloud.state` and `fakecloud.identity`, and nothing of the `sigstore` package, which is the client
that it is held against.
"""
