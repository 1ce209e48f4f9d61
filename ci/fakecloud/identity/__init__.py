"""Identities of callers: GitHub's identity tokens, Google's token exchange and service accounts.

Imports `fakecloud.state`.
"""
