"""Proxy variables of the host for commands, with exempted addresses."""

from __future__ import annotations

from daggerw_engine.run.trust import Trust


def test_proxies_come_in_both_spellings_and_know_what_is_near() -> None:
    host = {"https_proxy": "http://proxy.example:3128", "NO_PROXY": "intra.example", "OTHER": "x"}
    assert Trust.proxies(host, ["database"]) == {
        "HTTPS_PROXY": "http://proxy.example:3128",
        "https_proxy": "http://proxy.example:3128",
        "NO_PROXY": "intra.example,localhost,127.0.0.1,database",
        "no_proxy": "intra.example,localhost,127.0.0.1,database",
    }


def test_without_a_proxy_nothing_is_lent() -> None:
    assert Trust.proxies({"PATH": "/bin"}) == {}
