"""Known errors of keyless releases with cause and fix, and the attribute mapping that fixes print.

Imports nothing of this repository; `errors` imports it, and any room may.
"""
