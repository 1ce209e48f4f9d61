"""Known errors of keyless releases with cause and fix, and the attribute condition that many are about.

Imports only `errors`, which imports `known_errors`; any room may import it.
"""
