"""Making, checking and publishing one release: Git commit, push, verification, vulnerabilities, pins.

Imports `keyless`, `oci`, `image`, `net` and what those import.
"""
