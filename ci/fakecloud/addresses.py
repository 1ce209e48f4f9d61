"""Addresses of the fake cloud's services; standard library only, as the pipeline imports it, too."""

from fakecloud.state.fixtures import CloudSetup

OIDC, STS, IAM, ARTIFACTS = "/github", "/sts", "/iamcredentials", "/artifactregistry"
RUN, MONITORING, STORAGE, CONTROL = "/run", "/monitoring", "/storage-api", "/control"
PORT = 8080


def endpoints(base: str, setup: CloudSetup) -> str:
    """Return the text for --google-endpoints when the fake cloud is at a base such as http://google:8080."""
    lines = [
        f'sts = "{base}{STS}"',
        f'iamcredentials = "{base}{IAM}"',
        f'artifactregistry = "{base}{ARTIFACTS}"',
        f'run = "{base}{RUN}"',
        f'monitoring = "{base}{MONITORING}"',
        f'storage = "{base}{STORAGE}"',
        "[registries]",
        f'"{setup.repository.host}" = "{base}"',
    ]
    return "\n".join(lines) + "\n"


def request_url(base: str) -> str:
    """Return what GitHub would put into ACTIONS_ID_TOKEN_REQUEST_URL."""
    return f"{base}{OIDC}/idtoken?api-version=2.0"
