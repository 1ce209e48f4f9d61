"""Containers with tools: uv, what checks this repository, and the team's tests.

Each starts from the pinned base image, which the caller passes; what is installed first changes least.
"""

import dagger
from dagger import dag

from building.source_files import MACHINERY_TESTS, MODEL_FILES, TEAM_PACKAGES
from image import conformance, release_files

# Of every container; elsewhere the Dagger engine emulates it. Of tools, too: shellcheck, for one, comes as a
# package for no other Linux.
PLATFORM = dagger.Platform(conformance.PLATFORM)


def prepare_installer(source: dagger.Directory, base: dagger.Container) -> dagger.Container:
    """Return the base with uv."""
    pip = ["pip", "install", "--disable-pip-version-check", "--root-user-action", "ignore"]
    return (
        _with_settings(base)
        .with_file("requirements-uv.txt", source.file("requirements-uv.txt"))
        .with_exec([*pip, "--no-deps", "--require-hashes", "-r", "requirements-uv.txt"])
    )


def prepare_development(source: dagger.Directory, base: dagger.Container) -> dagger.Container:
    """Return the base of every step of the machinery, with all development packages."""
    # Nothing beside the lists: another version of what is also known with extras would be taken.
    uv = ["uv", "pip", "install", "--system", "--no-deps", "--require-hashes", "-r"]
    return (
        prepare_installer(source, base)
        .with_file("requirements-dev.txt", source.file("requirements-dev.txt"))
        .with_exec([*uv, "requirements-dev.txt"])
        .with_directory(".", source.filter(include=TEAM_PACKAGES))
        .with_exec([*uv, "features/requirements.txt"])
        .with_exec(["python", "-B", "docker/shared_libraries.py", "features/requirements.txt"])
        .with_exec(["python", "-B", "docker/shared_libraries.py", "requirements-dev.txt"])
    )


def prepare_programs(source: dagger.Directory, base: dagger.Container) -> dagger.Container:
    """Return the base with the programs that make a release's files and compare them."""
    runner = base.with_workdir("/src").with_env_variable("PYTHONPATH", "ci")
    return runner.with_directory(".", source.filter(include=release_files.FILES))


def prepare_team_files(source: dagger.Directory, packages: dagger.Container) -> dagger.Container:
    """Return the team's files with the packages that the full image has, and the tools to test them."""
    uv = ["uv", "pip", "install", "--python", "/venv/bin/python", "--no-deps", "--require-hashes"]
    files = source.filter(include=[*MODEL_FILES, "pytest.ini", "tests"], exclude=MACHINERY_TESTS)
    return (
        _with_settings(packages)
        .with_env_variable("PATH", "/venv/bin:${PATH}", expand=True)
        .with_file("requirements-test.txt", source.file("requirements-test.txt"))
        .with_exec([*uv, "-r", "requirements-test.txt"])
        .with_directory(".", files)
    )


def prepare_team_tests(team_files: dagger.Container, model: dagger.Directory) -> dagger.Container:
    """Return the container that tests what a release depends on, with a trained model."""
    tested = team_files.with_directory("model", model)
    return tested.with_exec(["python", "-m", "pytest", "--progress", "--model=model"])


def _with_settings(base: dagger.Container) -> dagger.Container:
    """Return a container whose tools keep their caches, and trust what its system does."""
    variables = {"PIP_CACHE_DIR": "/cache/pip", "UV_CACHE_DIR": "/cache/uv", "MYPY_CACHE_DIR": "/cache/mypy"}
    variables |= {"UV_LINK_MODE": "copy", "UV_SYSTEM_CERTS": "true", "UV_NO_PROGRESS": "true"}
    variables |= {"PYTHONUNBUFFERED": "1"}  # what a program has said so far is seen
    base = base.with_workdir("/src").with_mounted_cache("/cache", dag.cache_volume("tools"))
    for name, value in variables.items():
        base = base.with_env_variable(name, value)
    return base
