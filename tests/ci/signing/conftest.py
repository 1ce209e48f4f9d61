"""A Sigstore for the tests of a module."""

from collections.abc import Iterator

import pytest

from tests.ci.sigstore_lab import Lab, sigstore_lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Yield a Sigstore and what trusts it."""
    with sigstore_lab() as lab:
        yield lab
