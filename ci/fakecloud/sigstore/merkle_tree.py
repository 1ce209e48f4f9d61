"""The Merkle tree of a transparency log: its root and proofs of inclusion (RFC 6962, section 2.1)."""

import hashlib
from collections.abc import Sequence


def leaf_hash(content: bytes) -> bytes:
    """Return the hash of an entry."""
    return hashlib.sha256(b"\0" + content).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """Return the root of a tree of hashed entries."""
    if len(leaves) == 1:
        return leaves[0]
    split = _split(len(leaves))
    return hashlib.sha256(b"\1" + root(leaves[:split]) + root(leaves[split:])).digest()


def inclusion(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the hashes that lead from an entry to the root, from below."""
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if index < split:
        return [*inclusion(leaves[:split], index), root(leaves[split:])]
    return [*inclusion(leaves[split:], index - split), root(leaves[:split])]


def _split(size: int) -> int:
    """Return the largest power of two below a size."""
    return int(1 << (size - 1).bit_length() - 1)
