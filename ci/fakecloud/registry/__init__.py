"""Artifact Registry: its API, token endpoint, and a guard in front of a real registry.

Imports `fakecloud.identity` and `fakecloud.state`.
"""
