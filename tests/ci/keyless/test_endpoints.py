"""Addresses of services, in production and in a rehearsal."""

from __future__ import annotations

import pytest

from errors import InvalidEndpoints
from keyless.endpoints import Endpoints


def test_endpoints_are_google_s_own_without_a_file() -> None:
    endpoints = Endpoints.of(None)
    assert endpoints == Endpoints.of("") == Endpoints()
    assert endpoints.sts == "https://sts.googleapis.com"
    assert endpoints.registry("us-central1-docker.pkg.dev") == "https://us-central1-docker.pkg.dev"


def test_endpoints_say_what_the_file_says() -> None:
    endpoints = Endpoints.of('sts = "http://g:1/sts/"\n[registries]\n"a.pkg.dev" = "http://g:1"')
    assert endpoints.sts == "http://g:1/sts"
    assert endpoints.registry("a.pkg.dev") == "http://g:1"
    assert endpoints.registry("b.pkg.dev") == "https://b.pkg.dev"
    assert endpoints.iamcredentials == Endpoints().iamcredentials


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sts", "not TOML"),
        ('st = "https://x"', r"no such endpoint: \['st'\]; there are sts, iamcredentials"),
        ("sts = 1", "sts is 1; write an address such as 'http://google:8080/sts'"),
        ('sts = "google"', "sts is 'google'; write an address"),
        ('sts = "ftp://google"', "sts is 'ftp://google'; write"),
        ('sts = "https://google?x"', "write an address"),
        ('registries = "x"', "registries is 'x'; write it as a table"),
        ('[registries]\n"a" = 1', "a is 1; write an address"),
    ],
)
def test_endpoints_refuse_a_file_that_is_not_one(text: str, message: str) -> None:
    with pytest.raises(InvalidEndpoints, match=f"google endpoints: .*{message}"):
        Endpoints.of(text)
