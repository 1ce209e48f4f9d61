"""Workload Identity Federation: identity tokens, token exchange, Google's set-up script and `doctor`.

Imports `oci`, `image`, `net`, `conditions`, `advice` and `errors`.
"""
