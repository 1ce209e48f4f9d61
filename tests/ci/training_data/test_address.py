"""Settings that name a table that is not in Git."""

from __future__ import annotations

from pathlib import Path

import pytest

from errors import InvalidData
from training.reading import fetched
from training.settings import read_settings
from training_data.address import FOLDER, TableAddress

SHA256 = "0123456789abcdef" * 4


@pytest.mark.parametrize("data", ["breast-cancer", "data/rows.csv", "https.csv"])
def test_a_file_of_the_repository_has_no_address(data: str) -> None:
    assert TableAddress.of({"data": data, "sha256": SHA256}) is None


@pytest.mark.parametrize(
    ("data", "suffix"),
    [
        ("https://example.com/rows.csv", ".csv"),
        ("https://example.com/rows.PARQUET?version=2", ".parquet"),
        ("gs://a-bucket/2026/rows.csv", ".csv"),
        ("gs://a-bucket/rows", ""),
    ],
)
def test_a_table_lies_where_training_looks_for_it(data: str, suffix: str, tmp_path: Path) -> None:
    table = TableAddress.of({"data": data, "sha256": SHA256})
    assert table
    assert table.path == f"{FOLDER}/{SHA256}{suffix}"
    (tmp_path / FOLDER).mkdir(parents=True)
    (tmp_path / table.path).touch()
    settings = f'[tool.milestone2]\nname="n"\ndata="{data}"\nsha256="{SHA256}"\ntarget="y"\n'
    (tmp_path / "pyproject.toml").write_text(settings)
    found = fetched.table_path(read_settings(tmp_path / "pyproject.toml"), tmp_path)
    assert found == tmp_path / table.path


def test_an_object_s_name_is_escaped_as_google_wants_it() -> None:
    table = TableAddress("gs://a-bucket/2026/rows%20of a.csv", SHA256)
    assert table.object == ("a-bucket", "2026/rows of a.csv")
    assert table.storage_path() == "/storage/v1/b/a-bucket/o/2026%2Frows%20of%20a.csv"


@pytest.mark.parametrize(
    ("data", "sha256", "message"),
    [
        ("http://example.com/rows.csv", SHA256, "has to begin with https:// or gs://"),
        ("s3://bucket/rows.csv", SHA256, "has to begin with https:// or gs://"),
        ("https://me:secret@example.com/rows.csv", SHA256, "may have no user, password or fragment"),
        ("https://example.com/", SHA256, "names no file"),
        ("gs://bucket", SHA256, "names no file"),
        ("gs://Bucket/rows.csv", SHA256, "names no bucket"),
        ("https://[::1/rows.csv", SHA256, "is no address"),
        ("https://example.com/rows.csv", None, "needs its SHA-256 in .* `sha256sum FILE` prints"),
        ("https://example.com/rows.csv", SHA256[1:], "needs its SHA-256"),
        ("https://example.com/rows.csv", SHA256.upper(), "needs its SHA-256"),
    ],
)
def test_other_addresses_are_refused_before_anything_starts(
    data: str, sha256: str | None, message: str
) -> None:
    with pytest.raises(InvalidData, match=message):
        TableAddress.of({"data": data, "sha256": sha256})
