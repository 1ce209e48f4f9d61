"""The fake Artifact Registry in front of a real registry: authentication, and permissions to push."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest

from fakecloud.state.fixtures import Binding, CloudSetup
from tests.ci.releaser import IMAGE, Releaser, realm

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
RESOURCE = "projects/rehearsal-project/locations/us-central1/repositories/models"
UPLOAD = "artifactregistry.repositories.uploadArtifacts"
DOWNLOAD = "artifactregistry.repositories.downloadArtifacts"
DELETE = "artifactregistry.repositories.deleteArtifacts"
UNAUTHENTICATED = "Unauthenticated request. Unauthenticated requests do not have permission"


def error(answer: httpx.Response) -> tuple[int, str, str]:
    """Return a refusal's status, and the code and message of its one error."""
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    (found,) = answer.json()["errors"]
    return answer.status_code, found["code"], found["message"]


def denial(permission: str, resource: str = RESOURCE) -> tuple[int, str, str]:
    """Return the refusal of an authenticated caller."""
    message = f'Permission "{permission}" denied on resource "{resource}" (or it may not exist)'
    return 403, "DENIED", message


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def begin(releaser: Releaser, token: str, query: str = "") -> httpx.Response:
    return releaser.registry("POST", f"/v2/{IMAGE}/blobs/uploads/{query}", token)


def push_blob(releaser: Releaser, token: str, content: bytes) -> httpx.Response:
    """Push a blob in one piece."""
    place = begin(releaser, token).headers["Location"]
    return releaser.registry("PUT", f"{place}?digest={digest(content)}", token, content=content)


def push(releaser: Releaser, token: str, tag: str, layer: bytes) -> httpx.Response:
    """Push an image of one layer; the manifest goes last."""
    blobs = [b"{}", layer]
    descriptors = [
        {"mediaType": "application/octet-stream", "digest": digest(blob), "size": len(blob)} for blob in blobs
    ]
    for blob in blobs:
        assert push_blob(releaser, token, blob).status_code == 201
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptors[0],
        "layers": descriptors[1:],
    }
    path, headers = f"/v2/{IMAGE}/manifests/{tag}", {"Content-Type": MANIFEST}
    return releaser.registry("PUT", path, token, content=json.dumps(document).encode(), headers=headers)


@pytest.fixture
def tag() -> str:
    """Return a tag that no other test uses."""
    return f"v1.0.0-{secrets.token_hex(8)}"


def test_a_request_without_a_token_gets_a_challenge(releaser: Releaser, google: str) -> None:
    answer = releaser.registry("GET", "/v2/")
    assert error(answer) == (401, "UNAUTHORIZED", "not authenticated: No credential was supplied.")
    assert realm(answer) == {"realm": f"{google}/v2/token"}


@pytest.mark.parametrize(("method", "actions"), [("GET", "pull"), ("HEAD", "pull"), ("PUT", "pull,push")])
def test_the_challenge_of_an_image_adds_service_and_scope(
    releaser: Releaser, google: str, method: str, actions: str
) -> None:
    answer = releaser.registry(method, f"/v2/{IMAGE}/manifests/v1.0.0")
    assert answer.status_code == 401
    assert realm(answer) == {
        "realm": f"{google}/v2/token",
        "service": "us-central1-docker.pkg.dev",
        "scope": f"repository:{IMAGE}:{actions}",
    }


def test_an_access_token_gets_a_registry_token(releaser: Releaser) -> None:
    for token in (releaser.federate(), releaser.impersonate()):
        answer = releaser.registry_token(token)
        assert answer.json()["expires_in"] == 43200
        assert releaser.registry("GET", "/v2/", answer.json()["token"]).status_code == 200


def test_an_access_token_is_taken_directly_too(releaser: Releaser) -> None:
    assert releaser.registry("GET", "/v2/", releaser.federate()).status_code == 200
    basic = base64.b64encode(f"oauth2accesstoken:{releaser.federate()}".encode()).decode()
    assert releaser.registry("GET", "/v2/", headers={"Authorization": f"Basic {basic}"}).status_code == 200


@pytest.mark.parametrize(
    ("user", "password"), [("oauth2accesstoken", "ya29.forged"), ("_token", "FEDERATED"), ("_json_key", "{}")]
)
def test_the_token_endpoint_refuses_wrong_credentials(releaser: Releaser, user: str, password: str) -> None:
    password = releaser.federate() if password == "FEDERATED" else password
    answer = releaser.registry_token(password, user=user)
    assert error(answer) == (401, "UNAUTHORIZED", "authentication failed")


@pytest.mark.parametrize("actions", ["pull,push", "pull"])
def test_an_empty_password_makes_the_caller_anonymous(releaser: Releaser, actions: str) -> None:
    permission = UPLOAD if "push" in actions else DOWNLOAD
    status, code, message = error(releaser.registry_token("", f"repository:{IMAGE}:{actions}"))
    assert (status, code) == (403, "DENIED")
    assert message == f'{UNAUTHENTICATED} "{permission}" on resource "{RESOURCE}" (or it may not exist)'


def test_anonymous_tokens_are_given_out_but_open_nothing(releaser: Releaser) -> None:
    token = releaser.registry("GET", "/v2/token").json()["token"]
    assert releaser.registry("GET", "/v2/", token).status_code == 200
    status, code, message = error(releaser.registry("GET", f"/v2/{IMAGE}/tags/list", token))
    assert (status, code, message[: len(UNAUTHENTICATED)]) == (403, "DENIED", UNAUTHENTICATED)


@pytest.mark.parametrize(
    "header",
    ["Bearer forged", "Basic !", "Basic Zm9yZ2Vk", "Negotiate x", "Basic b2F1dGgyYWNjZXNzdG9rZW46eA=="],
)
def test_a_credential_that_is_not_good_is_refused_without_a_challenge(
    releaser: Releaser, header: str
) -> None:
    answer = releaser.registry("GET", f"/v2/{IMAGE}/tags/list", headers={"Authorization": header})
    assert error(answer) == (401, "UNAUTHORIZED", "No valid credential was supplied.")
    assert "WWW-Authenticate" not in answer.headers


def test_expired_tokens_are_refused(release_in: Callable[..., Releaser], setup: CloudSetup) -> None:
    # By Google's clock the identity, and so the token for it, has less than a second left.
    releaser = release_in(setup, "clock:-299s")
    token = releaser.federate()
    assert error(releaser.registry("GET", "/v2/", token))[2] == "No valid credential was supplied."
    assert error(releaser.registry_token(token)) == (401, "UNAUTHORIZED", "authentication failed")


@pytest.mark.parametrize(
    ("image", "resource"),
    [
        ("rehearsal-project/model/milestone2", RESOURCE.replace("models", "model")),
        ("rehearsal/models/milestone2", RESOURCE.replace("rehearsal-project", "rehearsal")),
    ],
    ids=["another repository", "another project"],
)
def test_another_repository_is_denied_at_the_token_and_at_the_push(
    releaser: Releaser, image: str, resource: str
) -> None:
    scope = f"repository:{image}:pull,push"
    assert error(releaser.registry_token(releaser.federate(), scope)) == denial(UPLOAD, resource)
    answer = releaser.registry("POST", f"/v2/{image}/blobs/uploads/", releaser.visitor())
    assert error(answer) == denial(UPLOAD, resource)


def test_another_region_s_host_is_denied(releaser: Releaser) -> None:
    headers = {"Host": "europe-west1-docker.pkg.dev"}
    answer = releaser.registry("GET", f"/v2/{IMAGE}/tags/list", releaser.visitor(), headers=headers)
    assert error(answer) == denial(DOWNLOAD, RESOURCE.replace("us-central1", "europe-west1"))


def test_a_reader_may_not_push(release_in: Callable[..., Releaser], setup: CloudSetup) -> None:
    member = f"principalSet://iam.googleapis.com/{setup.provider.pool_resource}/*"
    reader = Binding(RESOURCE, "roles/artifactregistry.reader", member)
    releaser = release_in(replace(setup, bindings=(reader,)))
    token = releaser.registry_token(releaser.federate(), f"repository:{IMAGE}:pull").json()["token"]
    assert error(begin(releaser, token)) == denial(UPLOAD)


def test_a_token_of_another_scope_may_nothing(releaser: Releaser) -> None:
    token = releaser.federate("https://www.googleapis.com/auth/devstorage.read_write")
    assert error(begin(releaser, token)) == denial(UPLOAD)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [("/v2/models/tags/list", 400, "NAME_INVALID"), ("/v2/nothing", 404, "NAME_UNKNOWN")],
)
def test_a_path_that_names_no_image_is_refused(releaser: Releaser, path: str, status: int, code: str) -> None:
    assert error(releaser.registry("GET", path, releaser.visitor()))[:2] == (status, code)


def test_what_is_pushed_can_be_pulled_by_digest(releaser: Releaser, tag: str) -> None:
    token, layer = releaser.visitor(), secrets.token_bytes(3_000_000)
    pushed = push(releaser, token, tag, layer)
    reference = pushed.headers["Docker-Content-Digest"]
    assert (pushed.status_code, pushed.headers["Location"]) == (201, f"/v2/{IMAGE}/manifests/{reference}")
    pulled = releaser.registry(
        "GET", f"/v2/{IMAGE}/manifests/{reference}", token, headers={"Accept": MANIFEST}
    )
    assert digest(pulled.content) == reference
    assert tag in releaser.registry("GET", f"/v2/{IMAGE}/tags/list", token).json()["tags"]
    assert releaser.registry("HEAD", f"/v2/{IMAGE}/blobs/{digest(layer)}", token).status_code == 200
    redirect = releaser.registry("GET", f"/v2/{IMAGE}/blobs/{digest(layer)}", token)
    assert (redirect.status_code, redirect.headers["Location"][:21]) == (302, "/artifacts-downloads/")
    assert releaser.registry("GET", redirect.headers["Location"]).content == layer


def test_each_of_several_accept_headers_counts(releaser: Releaser, tag: str, google: str) -> None:
    token = releaser.visitor()
    push(releaser, token, tag, b"accepted")
    headers = [("Accept", MANIFEST), ("Accept", "text/plain"), ("Authorization", f"Bearer {token}")]
    answer = httpx.get(f"{google}/v2/{IMAGE}/manifests/{tag}", headers=headers, timeout=60)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, MANIFEST)


def test_a_part_of_a_blob_can_be_pulled(releaser: Releaser) -> None:
    token, content = releaser.visitor(), secrets.token_bytes(1000)
    push_blob(releaser, token, content)
    place = releaser.registry("GET", f"/v2/{IMAGE}/blobs/{digest(content)}", token).headers["Location"]
    answer = releaser.registry("GET", place, headers={"Range": "bytes=100-199"})
    assert (answer.status_code, answer.content) == (206, content[100:200])


def test_uploads_go_on_outside_v2_and_start_to_end_without_the_registry_s_own_address(
    releaser: Releaser, registry_url: str
) -> None:
    token, content = releaser.visitor(), secrets.token_bytes(1000)
    begun = begin(releaser, token)
    prefix = "/artifacts-uploads/namespaces/rehearsal-project/repositories/models/uploads/"
    assert (begun.status_code, begun.headers["Location"][: len(prefix)]) == (202, prefix)
    patched = releaser.registry("PATCH", begun.headers["Location"], token, content=content)
    assert (patched.status_code, patched.headers["Location"]) == (202, begun.headers["Location"])
    done = releaser.registry("PUT", f"{patched.headers['Location']}?digest={digest(content)}", token)
    assert (done.status_code, done.headers["Location"]) == (201, f"/v2/{IMAGE}/blobs/{digest(content)}")
    assert not [
        text for each in (begun, patched, done) for text in each.headers.values() if registry_url in text
    ]


def test_streamed_bodies_without_a_length_are_taken(releaser: Releaser) -> None:
    token, pieces = releaser.visitor(), [secrets.token_bytes(100_000) for _ in range(5)]
    place = begin(releaser, token).headers["Location"]
    answer = releaser.registry("PATCH", place, token, content=iter(pieces))
    done = releaser.registry("PUT", f"{answer.headers['Location']}?digest={digest(b''.join(pieces))}", token)
    assert done.status_code == 201


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_second_chunk_is_refused(releaser: Releaser, method: str) -> None:
    token = releaser.visitor()
    place = begin(releaser, token).headers["Location"]
    releaser.registry("PATCH", place, token, content=b"one")
    headers = {"Content-Range": "3-5"}
    answer = releaser.registry(
        method, f"{place}?digest={digest(b'onetwo')}", token, content=b"two", headers=headers
    )
    assert error(answer) == (400, "UNSUPPORTED", "chunked uploads are not supported")


def test_the_later_part_of_a_blob_is_refused_even_first(releaser: Releaser) -> None:
    token = releaser.visitor()
    place, headers = begin(releaser, token).headers["Location"], {"Content-Range": "bytes 5-9/10"}
    answer = releaser.registry("PATCH", place, token, content=b"later", headers=headers)
    assert error(answer)[1] == "UNSUPPORTED"


def test_content_of_another_digest_is_refused(releaser: Releaser) -> None:
    token = releaser.visitor()
    place = begin(releaser, token).headers["Location"]
    answer = releaser.registry("PUT", f"{place}?digest={digest(b'this')}", token, content=b"that")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "DIGEST_INVALID")


@pytest.mark.parametrize("kind", ["uploads", "downloads"])
def test_unknown_uploads_and_downloads_are_refused(releaser: Releaser, kind: str) -> None:
    method, code = ("PATCH", "BLOB_UPLOAD_UNKNOWN") if kind == "uploads" else ("GET", "BLOB_UNKNOWN")
    path = f"/artifacts-{kind}/namespaces/rehearsal-project/repositories/models/{kind}/guessed"
    assert error(releaser.registry(method, path))[:2] == (404, code)


def test_a_cancelled_upload_is_gone(releaser: Releaser) -> None:
    token = releaser.visitor()
    place = begin(releaser, token).headers["Location"]
    assert releaser.registry("DELETE", place, token).status_code == 204
    assert error(releaser.registry("PATCH", place, token, content=b"late"))[1] == "BLOB_UPLOAD_UNKNOWN"


def test_a_blob_is_mounted_from_a_repository_that_may_be_read(releaser: Releaser) -> None:
    token, content = releaser.visitor(), secrets.token_bytes(100)
    push_blob(releaser, token, content)
    answer = releaser.registry(
        "POST", f"/v2/{IMAGE}-copy/blobs/uploads/?mount={digest(content)}&from={IMAGE}", token
    )
    place = f"/v2/{IMAGE}-copy/blobs/{digest(content)}"
    assert (answer.status_code, answer.headers["Location"]) == (201, place)


def test_a_mount_from_elsewhere_is_an_upload_instead(releaser: Releaser) -> None:
    answer = begin(releaser, releaser.visitor(), f"?mount={digest(b'x')}&from=other/models/milestone2")
    assert answer.status_code == 202


def test_a_tag_cannot_be_moved_but_its_own_image_can_be_pushed_again(releaser: Releaser, tag: str) -> None:
    token = releaser.visitor()
    assert push(releaser, token, tag, b"one").status_code == 201
    assert push(releaser, token, tag, b"one").status_code == 201
    answer = push(releaser, token, tag, b"two")
    message = f"cannot update tag {tag}. The repository has enabled tag immutability"
    assert error(answer) == (400, "MANIFEST_INVALID", message)


def test_tags_of_a_mutable_repository_can_be_moved(
    release_in: Callable[..., Releaser], setup: CloudSetup, tag: str
) -> None:
    releaser = release_in(replace(setup, repository=replace(setup.repository, immutable_tags=False)))
    pushed = [push(releaser, releaser.visitor(), tag, layer).status_code for layer in (b"one", b"two")]
    assert pushed == [201, 201]


@pytest.mark.parametrize(
    ("role", "refusal"),
    [
        ("writer", denial(DELETE)),
        (
            "repoAdmin",
            (400, "MANIFEST_INVALID", "cannot delete tag %s. The repository has enabled tag immutability"),
        ),
    ],
)
def test_a_tag_cannot_be_deleted(
    release_in: Callable[..., Releaser], setup: CloudSetup, tag: str, role: str, refusal: tuple[int, str, str]
) -> None:
    member = f"principalSet://iam.googleapis.com/{setup.provider.pool_resource}/*"
    releaser = release_in(
        replace(setup, bindings=(Binding(RESOURCE, f"roles/artifactregistry.{role}", member),))
    )
    token = releaser.visitor()
    push(releaser, token, tag, b"kept")
    answer = releaser.registry("DELETE", f"/v2/{IMAGE}/manifests/{tag}", token)
    assert error(answer) == (*refusal[:2], refusal[2].replace("%s", tag))


def test_a_registry_that_does_not_answer_is_named(
    release_in: Callable[..., Releaser], setup: CloudSetup
) -> None:
    releaser = release_in(setup, registry_url="http://127.0.0.1:9")
    answer = releaser.registry("GET", f"/v2/{IMAGE}/tags/list", releaser.visitor())
    status, code, message = error(answer)
    assert (status, code, message[:20]) == (502, "UNAVAILABLE", "the registry behind:")
