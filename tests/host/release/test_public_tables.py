"""Public tables, from the raw file to a served container, with at most five lines of settings each.

Each test builds an image.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509

from engine_process import until
from fakecloud.state.fixtures import BUCKET
from tests.host.certificates import certify, trust
from tests.host.download_site import serve_files
from tests.host.release.checkouts import Checkout
from tests.host.release.google import end_afterwards, run_fake_cloud
from tests.host.release.neighbour import ADDRESS, listen, neighbour
from tests.training.tables.test_public_tables import raw_table

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a session needs root")
PATIENCE = 1200.0  # for an engine that has to make its base images first
HEAD = '''"""The team's estimator."""

if __name__ == "__main__":
    from training.launch import launch

    launch()

'''
ONE_HOT = """from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


def make_model():
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include="category")),
    )
    return make_pipeline(columns, LogisticRegression())
"""
BOOSTING = """from sklearn.ensemble import HistGradientBoosting{0}


def make_model():
    return HistGradientBoosting{0}()
"""
TITANIC = """target = "survived"
features = ["class", "age", "sex"]
minimum = {roc_auc = 0.8}"""
PENGUINS = """target = "species"
minimum = {balanced_accuracy = 0.9}"""
ELEMENTS = """target = "atomic number"
features = ["electronegativity", "IE-1", "standard state", "bonding type", "density", "metal"]
minimum = {r2 = 0.3}"""


def project(folder: Path, settings: str, model: str) -> Checkout:
    """Return a team's clone with its own settings and estimator, not yet committed."""
    made = Checkout.of_template(folder)
    assert settings.count("\n") < 5
    ours = re.compile(r"(?<=\[tool\.milestone2\]\n).*?(?=\n\[)", re.DOTALL)
    made.write("pyproject.toml", ours.sub(lambda _: f"{settings}\n", made.read("pyproject.toml"), count=1))
    made.write("train_model.py", HEAD + model)
    return made


def golden_rows(made: Checkout, environment: dict[str, str], *arguments: str) -> list[dict[str, Any]]:
    """Train in a container, and return the golden rows."""
    made.call(environment, "train", *arguments, "export", "--path", "out")
    rows: list[dict[str, Any]] = json.loads(made.read("out/golden.json"))["rows"]
    return rows


def serve_and_check(
    made: Checkout, environment: dict[str, str], port: int, rows: list[dict[str, Any]]
) -> Any:
    """Serve the image, check the golden rows, and return its card."""
    line = ["./daggerw", "call", "serve", "--tag", "v1.0.0", "up", "--ports", f"{port}:8080"]
    with (
        end_afterwards(subprocess.Popen(line, cwd=made.folder, env=environment, text=True)) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):

        def is_ready() -> bool:
            assert process.poll() is None
            try:
                return client.get("/readyz").is_success
            except httpx.TransportError:
                return False

        until(is_ready, "the container answers", PATIENCE)
        for row in rows:
            answer = client.post("/predict", json={"features": row["features"]}).raise_for_status()
            assert answer.json()["prediction"] == row["prediction"]
        assert client.get("/").is_success
        return client.get("/model").json()


@pytest.mark.parametrize(
    ("name", "settings", "model"),
    [
        ("penguins.csv", PENGUINS, BOOSTING.format("Classifier")),
        pytest.param("titanic_all.csv", TITANIC, ONE_HOT, marks=pytest.mark.long),
        pytest.param("elements.csv", ELEMENTS, BOOSTING.format("Regressor"), marks=pytest.mark.long),
    ],
)
def test_a_raw_file_becomes_a_container_that_predicts_without_scikit_learn(
    name: str, settings: str, model: str, tmp_path: Path, wrapper_environment: dict[str, str], free_port: int
) -> None:
    lines = f'name = "{name.partition(".")[0].replace("_", "-")}"\ndata = "data/{name}"\n{settings}'
    made = project(tmp_path / "team", lines, model)
    (made.folder / "data").mkdir(exist_ok=True)
    (made.folder / "data" / name).write_bytes(raw_table(name))
    made.commit("Our model")
    card = serve_and_check(made, wrapper_environment, free_port, golden_rows(made, wrapper_environment))
    assert card["portable"]
    assert card["release"]["scorer"] == "native"
    assert any(feature["missing_share"] and feature["missing"] for feature in card["features"])
    assert any(feature["kind"] == "category" for feature in card["features"])


def refuse_training(made: Checkout, environment: dict[str, str]) -> str:
    """Have a training fail, and return standard error."""
    line = ["./daggerw", "call", "train", "sync"]
    done = subprocess.run(line, cwd=made.folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    return done.stderr


@contextmanager
def https_site(folder: Path, certificate: Path) -> Iterator[str]:
    """Serve a folder's files by TLS from the neighbouring machine while the block runs."""
    certify(certificate, x509.IPAddress(ip_address(ADDRESS)))
    with neighbour() as name, listen(name) as listening:
        port = listening.getsockname()[1]
        with serve_files(folder, certificate, listening):
            yield f"https://{ADDRESS}:{port}"


def test_a_table_of_a_web_site_is_fetched_once_and_only_with_its_hash(
    tmp_path: Path, wrapper_environment: dict[str, str]
) -> None:
    folder, certificate = tmp_path / "site", tmp_path / "site.pem"
    folder.mkdir()
    content = raw_table("penguins.csv") + b"\n"  # a table that no other test keeps
    (folder / "penguins.csv").write_bytes(content)
    with https_site(folder, certificate) as url:
        environment = trust(wrapper_environment, certificate, tmp_path / "trusted.pem")
        lines = f'name = "penguins"\ndata = "{url}/penguins.csv"\nsha256 = "%s"\n{PENGUINS}'
        wrong = project(tmp_path / "wrong", lines % ("0" * 64), ONE_HOT)
        assert hashlib.sha256(content).hexdigest() in refuse_training(wrong, environment)
        made = project(tmp_path / "team", lines % hashlib.sha256(content).hexdigest(), ONE_HOT)
        fetched = golden_rows(made, environment)
    assert golden_rows(made, wrapper_environment) == fetched  # the site is gone: the table is kept
    assert json.loads(made.read("out/card.json"))["data_uri"] == f"{url}/penguins.csv"


def test_a_table_in_cloud_storage_is_fetched_as_the_release_and_kept(
    tmp_path: Path, wrapper_environment: dict[str, str]
) -> None:
    content = raw_table("penguins.csv")
    settings = f'''name = "penguins"
data = "gs://{BUCKET}/2026/penguins.csv"
sha256 = "{hashlib.sha256(content).hexdigest()}"
{PENGUINS}'''
    made = project(tmp_path / "team", settings, ONE_HOT)
    made.commit("Our model")
    reason = refuse_training(made, wrapper_environment)
    assert "penguins.csv is fetched by an identity, and none is given" in reason
    objects = tmp_path / "objects"
    (objects / BUCKET / "2026").mkdir(parents=True)
    (objects / BUCKET / "2026/penguins.csv").write_bytes(content)
    options = ("--objects", str(objects))
    with neighbour(), run_fake_cloud("http://127.0.0.1:9", tmp_path, "v1.0.0", *options) as google:
        arguments = google.arguments(tmp_path / "endpoints.toml")
        rows = golden_rows(made, wrapper_environment | google.identity, *arguments)
    assert golden_rows(made, wrapper_environment) == rows  # without an identity: the table is kept
    card = json.loads(made.read("out/card.json"))
    assert card["data_uri"] == f"gs://{BUCKET}/2026/penguins.csv"
    assert card["data_sha256"] == hashlib.sha256(content).hexdigest()
