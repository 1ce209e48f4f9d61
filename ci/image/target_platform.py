"""The one platform that releases are for, and what is refused because it is another one."""

from errors import PlatformRefused
from image.archive_reader import Layout

OS, ARCHITECTURE = "linux", "amd64"
PLATFORM = f"{OS}/{ARCHITECTURE}"


def platform_of(image: Layout) -> str:
    """Return the platform that an image says it is for, as OS/ARCHITECTURE."""
    return f"{image.config.get('os')}/{image.config.get('architecture')}"


def check_image(image: Layout) -> None:
    """Raise PlatformRefused for an image of another platform, which would take the tag and start nowhere."""
    if (found := platform_of(image)) != PLATFORM:
        raise PlatformRefused(
            f"image: it is for {found}, and releases are for {PLATFORM}, the only one that Cloud Run starts; "
            "build it by this pipeline, which names the platform in every step"
        )


def check_machine(machine: str) -> None:
    """Raise PlatformRefused for an engine on a machine of another platform.

    An emulated processor lacks vector units such as AVX2, so that training rounds differently: the commit
    would have another model, and another digest, than where it is built by CI.
    """
    if machine != PLATFORM:
        raise PlatformRefused(
            f"machine: the engine runs on {machine} and emulates {PLATFORM}, where training rounds "
            "differently: this commit would get another digest than in CI\n"
            "  fix: git tag the version and push the tag, so that CI publishes it; or use an engine on "
            f"{PLATFORM}; without --registry it is published locally"
        )
