"""Condition of the workload identity provider, and what it says of a token's claims.

Imports `advice` and `errors`; any room above may import it, and the fake cloud enforces it.
"""
