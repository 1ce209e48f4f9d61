"""Secrets: their providers, their keys, and their absence from all output."""

from __future__ import annotations

import asyncio
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from daggerw_engine.api.clients.secret_providers import Secrets
from daggerw_engine.api.queries.calls import ROOT, Call
from daggerw_engine.errors import EngineError, NotOfferedError, PathError
from daggerw_engine.values.secret import Secret

PLAIN = "hunter2-plaintext"


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    return Secrets(tmp_path)


def of(secrets: Secrets, uri: str, cache_key: str | None = None) -> Secret:
    return asyncio.run(secrets.of(uri, cache_key))


@pytest.mark.parametrize("form", ["env:A_TOKEN", "env://A_TOKEN"])
def test_a_variable_is_a_secret(secrets: Secrets, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", PLAIN)
    found = of(secrets, form)
    assert (found.text, found.name, found.uri) == (PLAIN, "", form)


@pytest.mark.parametrize("form", ["file:{}", "file://{}", "file:~/token", "file://~/token"])
def test_a_file_is_a_secret_to_its_last_newline(
    secrets: Secrets, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "token").write_bytes(b"a\r\nb\xff\n")
    found = of(secrets, form.format(tmp_path / "token"))
    assert found.text.encode(errors="surrogateescape") == b"a\r\nb\xff\n"


def test_a_relative_file_is_sought_from_the_callers_folder(
    secrets: Secrets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "token").write_text(PLAIN)
    assert of(secrets, "file://token").text == PLAIN


@pytest.mark.parametrize("form", ["cmd:", "cmd://"])
def test_a_commands_output_is_a_secret_untrimmed(secrets: Secrets, form: str) -> None:
    assert of(secrets, f"{form}printf '%s\\n' one two | tail -1").text == "two\n"


def test_a_missing_variable_is_named_by_its_beginning_only(secrets: Secrets) -> None:
    with pytest.raises(EngineError, match=r"^secret env var not found: 'hun\.\.\.'$"):
        of(secrets, f"env:{PLAIN}")


@pytest.mark.parametrize(
    ("path", "reason"), [("/nowhere/token", "no such file or directory"), ("/", "is a directory")]
)
def test_a_file_that_cannot_be_read_is_said_why(secrets: Secrets, path: str, reason: str) -> None:
    with pytest.raises(PathError, match=f"^failed to read secret file '{path}': {reason}$"):
        of(secrets, f"file://{path}")


def test_a_failing_commands_output_is_not_shown(secrets: Secrets, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text(PLAIN)
    with pytest.raises(EngineError, match="exit status 3") as failed:
        of(secrets, f"cmd:cat {tmp_path}/plain; cat {tmp_path}/plain >&2; exit 3")
    assert PLAIN not in str(failed.value)


@pytest.mark.parametrize("uri", ["vault://a.b", "op://a/b", "aws+sm://a", "gcp://a", "libsecret://a"])
def test_other_providers_are_refused_by_name(secrets: Secrets, uri: str) -> None:
    scheme = uri.partition(":")[0]
    with pytest.raises(NotOfferedError, match=f"secret provider '{scheme.replace('+', '.')}'"):
        of(secrets, uri)


def test_what_is_no_uri_is_refused_unshown(secrets: Secrets) -> None:
    with pytest.raises(EngineError, match="a secret is given as env://NAME") as refused:
        of(secrets, PLAIN)
    assert PLAIN not in str(refused.value)


def test_the_key_counts_the_plaintext_alone(secrets: Secrets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", PLAIN)
    named = secrets.set("token", secrets.hide(PLAIN))
    assert named.key == of(secrets, "env:A_TOKEN").key != secrets.hide("other").id


def test_a_cache_key_stands_for_any_plaintext(secrets: Secrets) -> None:
    assert of(secrets, "cmd:echo a", "same").key == of(secrets, "cmd:echo b", "same").key
    assert of(secrets, "cmd:echo a", "same").key != of(secrets, "cmd:printf same").key


def test_a_key_differs_between_caches_and_stays_within_one(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    keys = [Secrets(tmp_path / name).hide(PLAIN).id for name in ("a", "a", "b")]
    assert keys[0] == keys[1] != keys[2]
    assert stat.S_IMODE((tmp_path / "a/salt").stat().st_mode) == 0o600


def test_sessions_that_race_for_the_salt_get_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: Secrets(tmp_path).hide(PLAIN).id, range(8)))
    assert len(keys) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["salt"]


def test_nothing_shows_a_plaintext(secrets: Secrets, tmp_path: Path) -> None:
    hidden = secrets.hide(PLAIN)
    call = Call.to("Secret", "setSecret", {"name": "token", "plaintext": hidden}, ROOT)
    assert PLAIN not in f"{hidden!r} {secrets.set('token', hidden)!r} {call!r}"
    assert all(PLAIN.encode() not in file.read_bytes() for file in tmp_path.iterdir())


def test_equal_plaintexts_are_one_call(secrets: Secrets) -> None:
    def call(text: str) -> str:
        return Call.to("Secret", "setSecret", {"name": "n", "plaintext": secrets.hide(text)}, ROOT).id

    assert call(PLAIN) == call(PLAIN) != call("other")
