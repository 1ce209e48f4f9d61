"""Independent verification: cosign finds a release's signature in a registry and verifies it offline.

    PYTHONPATH=ci:. python -m tests.ci.signing.cosign ~/go/bin/cosign

Needs Debian's docker-registry, and cosign: go install github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from image import archive_reader, release_files
from image.canonical import Origin
from oci.reference import Image, Release
from oci.repository import connect
from releasing.publishing import attachments
from signing import bundles
from signing.policy import GITHUB
from tests.ci.conftest import Archive, serving_registry
from tests.ci.sample_image import BASE, ORIGIN, build
from tests.ci.sigstore_lab import TAG, Lab, sigstore_lab

SIGNER = f"https://github.com/rehearsal/milestone2/.github/workflows/milestone2-ci.yml@refs/tags/{TAG}"


async def publish(lab: Lab, registry: str, folder: Path) -> Release:
    """Publish a signed image to a registry and return it."""
    release = folder / "release"
    archive = build(Archive(folder / "image.tar"), version=TAG)
    release_files.write(archive, Origin(ORIGIN.revision, ORIGIN.created, BASE), release)
    image = archive_reader.read(release / release_files.IMAGE)
    bundle = await lab.sign((release / release_files.PROVENANCE).read_bytes())
    documents = [*attachments(image, release), bundles.parcel(image.manifest, bundle)]
    async with connect(registry, "cosign/milestone2") as repository:
        await repository.publish(image, TAG, documents)
    return Release(Image(registry.removeprefix("http://"), "cosign/milestone2", TAG), image.digest)


def verifies(cosign: str, root: Path, release: Release, signer: str = SIGNER) -> bool:
    """Return whether cosign accepts a release by a trusted root and as of a signer; it prints why not."""
    command = [cosign, "verify-attestation", "--type", "slsaprovenance1", "--allow-http-registry"]
    command += ["--trusted-root", str(root), "--use-signed-timestamps"]
    command += ["--certificate-oidc-issuer", GITHUB, "--certificate-identity", signer]
    name = f"{release.image.host}/{release.image.repository}@{release.digest}"
    ended = subprocess.run([*command, name], capture_output=True, text=True, timeout=120)
    print(ended.stderr.strip(), file=sys.stderr)
    return ended.returncode == 0


@contextmanager
def registry() -> Iterator[tuple[str, Path]]:
    """Run a registry and yield its address and a folder."""
    program = shutil.which("docker-registry")
    if program is None:
        sys.exit("cosign: docker-registry is not installed; run: apt-get install docker-registry")
    with tempfile.TemporaryDirectory() as folder, serving_registry(program, Path(folder)) as address:
        yield address, Path(folder)


def main() -> int:
    """Return 0 when cosign accepts what is right and refuses what is not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cosign", help="the program")
    cosign = parser.parse_args().cosign
    with registry() as (address, folder), sigstore_lab() as lab, sigstore_lab() as foreign:
        release = asyncio.run(publish(lab, address, folder))
        roots = {}
        for name, each in (("own", lab), ("foreign", foreign)):
            roots[name] = folder / f"{name}.json"
            roots[name].write_text(each.trust().root)
        found = {
            "as it was signed": verifies(cosign, roots["own"], release),
            "as of another workflow": verifies(cosign, roots["own"], release, f"{SIGNER}-other"),
            "by a foreign root": verifies(cosign, roots["foreign"], release),
        }
    for case, accepted in found.items():
        print(f"{case}: {'accepted' if accepted else 'refused'}")
    return 0 if list(found.values()) == [True, False, False] else 1


if __name__ == "__main__":
    sys.exit(main())
