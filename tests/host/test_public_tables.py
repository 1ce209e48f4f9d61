"""Public tables, from the raw file to a served container, with at most five lines of settings each.

Each test builds an image.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine_process import until
from fakecloud.state.fixtures import BUCKET
from tests.host.checkouts import Checkout
from tests.host.google import ended, standing_in
from tests.host.neighbour import neighbour
from tests.training.test_public_tables import raw_table

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


def asked(made: Checkout, environment: dict[str, str], port: int, rows: list[dict[str, Any]]) -> Any:
    """Serve the image, hold it to the golden rows, and return its card."""
    line = ["./daggerw", "call", "serve", "--tag", "v1.0.0", "up", "--ports", f"{port}:8080"]
    with (
        ended(subprocess.Popen(line, cwd=made.folder, env=environment, text=True)) as process,
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
        ("titanic_all.csv", TITANIC, ONE_HOT),
        ("penguins.csv", PENGUINS, BOOSTING.format("Classifier")),
        ("elements.csv", ELEMENTS, BOOSTING.format("Regressor")),
    ],
)
def test_a_raw_file_becomes_a_container_that_predicts_without_scikit_learn(
    name: str, settings: str, model: str, tmp_path: Path, wrapped: dict[str, str], free_port: int
) -> None:
    lines = f'name = "{name.partition(".")[0].replace("_", "-")}"\ndata = "data/{name}"\n{settings}'
    made = project(tmp_path / "team", lines, model)
    (made.folder / "data").mkdir(exist_ok=True)
    (made.folder / "data" / name).write_bytes(raw_table(name))
    made.commit("Our model")
    card = asked(made, wrapped, free_port, golden_rows(made, wrapped))
    assert card["portable"]
    assert card["release"]["scorer"] == "native"
    assert any(feature["missing_share"] and feature["missing"] for feature in card["features"])
    assert any(feature["kind"] == "category" for feature in card["features"])


def test_a_table_in_cloud_storage_is_fetched_as_the_release_and_kept(
    tmp_path: Path, wrapped: dict[str, str], free_port: int
) -> None:
    content = raw_table("penguins.csv")
    settings = f'''name = "penguins"
data = "gs://{BUCKET}/2026/penguins.csv"
sha256 = "{hashlib.sha256(content).hexdigest()}"
{PENGUINS}'''
    made = project(tmp_path / "team", settings, ONE_HOT)
    made.commit("Our model")
    refused = subprocess.run(
        ["./daggerw", "call", "train", "sync"],
        cwd=made.folder,
        env=wrapped,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert "penguins.csv is fetched by an identity, and none is given" in refused.stderr
    objects = tmp_path / "objects"
    (objects / BUCKET / "2026").mkdir(parents=True)
    (objects / BUCKET / "2026/penguins.csv").write_bytes(content)
    options = ("--objects", str(objects))
    with neighbour(), standing_in("http://127.0.0.1:9", tmp_path, "v1.0.0", *options) as google:
        arguments = google.arguments(tmp_path / "endpoints.toml")
        rows = golden_rows(made, wrapped | google.identity, *arguments)
    card = asked(made, wrapped, free_port, rows)  # without an identity: it is kept
    assert card["data_uri"] == f"gs://{BUCKET}/2026/penguins.csv"
    assert card["data_sha256"] == hashlib.sha256(content).hexdigest()
