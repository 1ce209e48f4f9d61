"""The bill of materials and the provenance: all of an image is in them, in the standards' form."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from errors import InvalidLayout
from image import archive_reader, canonical, components, layer_tree, provenance, sbom
from image.archive_reader import STAND_IN_LABEL
from tests.ci.sample_image import CARD, FILES, ORIGIN, PACKAGES, REQUIREMENTS, build, layer

if TYPE_CHECKING:
    from tests.ci.conftest import Archive

Changed = dict[str, bytes | None]
Describe = Callable[..., tuple[dict[str, Any], dict[str, Any]]]


@pytest.fixture
def describe(archive: Archive, tmp_path: Path) -> Describe:
    """Return what writes an image of changed FILES and gives its bill of materials and its provenance."""

    def describe(
        changed: dict[str, bytes] | None = None, **how: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        origin = how.pop("origin", ORIGIN)
        contents = {path: each for path, each in {**FILES, **(changed or {})}.items() if each is not None}
        image = archive_reader.read(build(archive, layer(contents), **how))
        with layer_tree.open_tree(image) as tree:
            written = canonical.write(image, tree, origin, tmp_path / "canonical.tar")
            bill = sbom.document(written, tree)
            statement = provenance.statement(written, tree, bill)
        return json.loads(bill), json.loads(statement)

    return describe


def component(bill: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in bill["components"] if each["name"] == name)


def properties(component: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in component["properties"]}


def test_the_bill_of_materials_is_cyclonedx(describe: Describe) -> None:
    bill, _ = describe()
    errors = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill))
    assert errors is None


def test_the_bill_of_materials_names_every_part_once(describe: Describe) -> None:
    bill, _ = describe()
    assert [(each["type"], each["bom-ref"]) for each in bill["components"]] == [
        ("library", "pkg:deb/debian/zlib1g@1%3A1.2.13?arch=amd64&distro=debian-12"),
        ("platform", "pkg:generic/python@3.11.16"),
        ("machine-learning-model", "pkg:generic/rehearsed-model@v1.0.0"),
        ("application", "pkg:generic/rehearsed-service@v1.0.0"),
        ("library", "pkg:pypi/httptools@0.9.0"),
    ]
    main = bill["metadata"]["component"]
    assert (main["type"], main["name"], main["version"]) == ("container", "rehearsed", "v1.0.0")
    assert bill["dependencies"][0]["dependsOn"] == [each["bom-ref"] for each in bill["components"]]


def test_every_file_is_in_one_component_with_its_hash(describe: Describe) -> None:
    bill, _ = describe()
    parts = [*bill["components"], bill["metadata"]["component"]]
    counts = {each["name"]: len(each["components"]) for each in parts}
    assert counts == {
        "zlib1g": 4,  # its file, its licence, its two records
        "python": 2,
        "httptools": 4,  # with byte-code
        "rehearsed-service": 2,
        "rehearsed-model": 2,
        "rehearsed": 2,
    }
    listed = {
        file["name"]: file["hashes"]
        for each in parts
        for file in each["components"]
        if file["type"] == "file"
    }
    assert listed == {
        path: [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}]
        for path, content in FILES.items()
        if isinstance(content, bytes)
    }


def test_licences_come_from_each_package_s_own_words(describe: Describe) -> None:
    metadata = f"{PACKAGES}/httptools-0.9.0.dist-info/METADATA"
    bill, _ = describe()
    assert component(bill, "httptools")["licenses"] == [{"expression": "MIT"}]
    assert component(bill, "zlib1g")["licenses"] == [{"license": {"name": "Zlib"}}]
    silent = b"Name: httptools\nVersion: 0.9.0\n"
    for said, name in {
        b"License: Apache 2\n": "Apache 2",
        b"License: long text\nClassifier: License :: OSI Approved :: BSD License\n": "BSD License",
    }.items():
        bill, _ = describe({metadata: silent + said})
        assert component(bill, "httptools")["licenses"] == [{"license": {"name": name}}]
    assert "licenses" not in component(describe({metadata: silent})[0], "httptools")


def test_a_python_package_has_the_hashes_it_is_pinned_by(describe: Describe) -> None:
    bill, _ = describe()
    (reference,) = component(bill, "httptools")["externalReferences"]
    assert [each["content"] for each in reference["hashes"]] == ["1" * 64, "2" * 64]


def test_a_python_package_that_nothing_pins_is_refused(describe: Describe) -> None:
    with pytest.raises(InvalidLayout, match=r"httptools 0\.9\.0 is installed, but no app/requirements\.txt"):
        describe({"app/app/requirements.txt": REQUIREMENTS.replace(b"0.9.0", b"0.9.1")})


def test_a_python_package_of_the_team_s_is_pinned_in_its_folder(describe: Describe) -> None:
    other = REQUIREMENTS.replace(b"httptools", b"another")
    bill, _ = describe({"app/app/requirements.txt": other, "app/features/requirements.txt": REQUIREMENTS})
    assert component(bill, "httptools")["externalReferences"]


def test_advisories_find_a_debian_package_by_its_source(describe: Describe) -> None:
    bill, _ = describe()
    assert properties(component(bill, "zlib1g"))["milestone2:source"] == "zlib 1.2.13"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("var/lib/dpkg/status.d/zlib1g", b"Package: zlib1g\n"),
        ("var/lib/dpkg/status.d/zlib1g.md5sums", b"\xff"),
        (components.CARD, b"{"),
        (components.CARD, b"[]"),
    ],
)
def test_a_broken_record_is_refused(describe: Describe, path: str, content: bytes) -> None:
    with pytest.raises(InvalidLayout, match="its records of what is in it are broken"):
        describe({path: content})


def test_the_provenance_binds_commit_base_requirements_data_and_model(describe: Describe) -> None:
    bill, statement = describe()
    definition, details = (statement["predicate"][name] for name in ("buildDefinition", "runDetails"))
    assert (
        statement["subject"][0]["digest"]["sha256"] == bill["metadata"]["component"]["hashes"][0]["content"]
    )
    assert definition["externalParameters"] == {"tag": "v1.0.0"}
    requirements = hashlib.sha256(REQUIREMENTS).hexdigest()
    assert definition["resolvedDependencies"] == [
        {"digest": {"gitCommit": "c" * 40}, "name": "commit"},
        {"digest": {"sha256": "b" * 64}, "name": "base image", "uri": "docker://python:3.11-slim"},
        {"digest": {"sha256": requirements}, "name": "app/app/requirements.txt"},
        {"digest": {"sha256": "d" * 64}, "name": "data"},
    ]
    assert [each["name"] for each in details["byproducts"]] == [
        "sbom",
        components.CARD,
        "app/model/model.joblib",
    ]
    assert details["byproducts"][2]["digest"] == {"sha256": CARD["artifact_sha256"]}


def test_the_provenance_holds_the_files_that_describe_the_model(describe: Describe) -> None:
    golden = b'{"rows": []}'
    _, statement = describe({provenance.GOLDEN: golden})
    assert provenance.content(statement, provenance.GOLDEN) == golden
    assert json.loads(provenance.content(statement, components.CARD) or b"") == CARD
    assert provenance.content(statement, "app/model/model.joblib") is None


def test_the_provenance_names_the_address_of_data_that_is_not_in_git(describe: Describe) -> None:
    card = json.dumps(CARD | {"data_uri": "gs://a-bucket/rows.csv"}).encode()
    _, statement = describe({components.CARD: card})
    *_, data = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert data == {"digest": {"sha256": "d" * 64}, "name": "data", "uri": "gs://a-bucket/rows.csv"}


def test_the_provenance_records_changes_and_a_stand_in(describe: Describe) -> None:
    dirty = replace(ORIGIN, revision=f"{'c' * 40}-dirty")
    _, statement = describe(origin=dirty, labels={STAND_IN_LABEL: "python:3.11-slim"})
    commit, base, *_ = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert commit == {"annotations": {"dirty": True}, "digest": {"gitCommit": "c" * 40}, "name": "commit"}
    assert base["annotations"] == {"standIn": True}


def test_the_provenance_of_an_image_without_a_card_is_refused(describe: Describe) -> None:
    with pytest.raises(InvalidLayout, match=r"card\.json is no model card"):
        describe({components.CARD: None})
