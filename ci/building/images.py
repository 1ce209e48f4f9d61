"""Images of one version, the model in them, and their release as files."""

from collections.abc import Mapping

import dagger
from dagger import BuildArg

from building.source_files import IMAGE_FILES, PACKAGE_FILES, SCORER_FILES
from building.tools import PLATFORM
from errors import ImagesDiffer
from image import compare, release_files
from net.concurrency import together
from releasing import model_card
from releasing.git_commit import Commit

IMAGE = f"{release_files.FOLDER}/{release_files.IMAGE}"


def build_packages(source: dagger.Directory) -> dagger.Container:
    """Return the Dockerfile's stage with all packages and nothing of the project's own."""
    return source.filter(include=PACKAGE_FILES).docker_build(target="packages-full", platform=PLATFORM)


async def build_parts(source: dagger.Directory) -> None:
    """Build at the same time what a training needs: the packages and the scorer."""
    scorer = source.filter(include=SCORER_FILES).docker_build(target="scorer", platform=PLATFORM)
    await together(scorer.sync, build_packages(source).sync)


def build_model(source: dagger.Directory) -> dagger.Container:
    """Return the Dockerfile's stage in which the model is trained."""
    files = source.filter(include=IMAGE_FILES)
    return files.docker_build(target="model", platform=PLATFORM).with_workdir("/app")


def build_images(source: dagger.Directory, tag: str, name: str) -> Mapping[str, dagger.Container]:
    """Return a version's image for each target of the Dockerfile; only the one that is used is built."""
    files = source.filter(include=IMAGE_FILES)
    arguments = [BuildArg("NAME", name), BuildArg("VERSION", tag)]
    return {
        target: files.docker_build(build_args=arguments, target=target, platform=PLATFORM)
        for target in model_card.TARGETS
    }


async def build_image(source: dagger.Directory, tag: str, name: str) -> dagger.Container:
    """Return a version's image, with scikit-learn only if the trained model needs it."""
    card = await build_model(source).file("model/card.json").contents()
    return build_images(source, tag, name)[model_card.image_target(card)]


def bundle_image(
    programs: dagger.Container, image: dagger.Container, commit: Commit, base: str
) -> dagger.Container:
    """Return the container that makes an image into files, in release_files.FOLDER, and prints its digest."""
    archive = image.as_tarball(forced_compression=dagger.ImageLayerCompression.Uncompressed)
    origin = ["--revision", commit.revision, "--created", commit.created, "--base", base]
    command = ["python", "-m", release_files.PROGRAM, "/image.tar", release_files.FOLDER, *origin]
    return programs.with_mounted_file("/image.tar", archive).with_exec(command)


async def compare_images(programs: dagger.Container, ours: dagger.File, other: dagger.File) -> str:
    """Say that two images are one and the same. Raises ImagesDiffer with the file that differs."""
    both = programs.with_mounted_file("/ours.tar", ours).with_mounted_file("/theirs.tar", other)
    command = ["python", "-m", compare.PROGRAM, "/ours.tar", "/theirs.tar"]
    ended = both.with_exec(command, expect=dagger.ReturnType.ANY)
    report = (await ended.stdout()).strip()
    if await ended.exit_code():
        raise ImagesDiffer(f"compare: {report or (await ended.stderr()).strip()}")
    return report
