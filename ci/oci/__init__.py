"""Client for OCI registries: references, repositories, manifests, transport, authentication, listing.

Imports `net`, `image`, `advice` and `errors`.
"""
