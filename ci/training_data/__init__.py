"""Tables that are not in Git: their address, their download, and where they are kept by hash.

Imports `keyless` and what that imports.
"""
