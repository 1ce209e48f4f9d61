"""Container that measures the image beside other services."""

import secrets

import dagger

from building.source_files import MODEL_FILES

_DEBIAN = "apt-get update -qq && apt-get install -y -qq --no-install-recommends nginx-light wrk"
_PACKAGES = "bench/requirements.txt"


def measure(
    prepared: dagger.Container,
    source: dagger.Directory,
    image: dagger.Container,
    model: dagger.Directory,
    base: dagger.Container,
    *,
    rounds: int,
    seconds: int,
) -> dagger.Container:
    """Return the development container after it has measured, with results.json, tables and plot in /out."""
    install = ["uv", "pip", "install", "--system", "--no-deps", "--require-hashes", "-r", _PACKAGES]
    command = ["python", "-m", "bench.service", "--root", "/image", "--models", "/models"]
    command += ["--image", "/image.tar", "--base", "/base", "--output", "/out"]
    command += ["--rounds", str(rounds), "--seconds", str(seconds)]
    return (
        prepared.with_exec(["sh", "-c", _DEBIAN])
        .with_file(_PACKAGES, source.file(_PACKAGES))
        .with_exec(install)
        .with_directory(".", source.filter(include=[*MODEL_FILES, "bench", "ci", "docker"]))
        .with_env_variable("PYTHONPATH", ".:ci")
        .with_env_variable("OMP_NUM_THREADS", "1")
        .with_exec(["python", "docker/compile_scorer.py"])
        .with_exec(["python", "-m", "bench.service.models", "/models"])
        .with_directory("model", model)
        .with_directory("/image", image.rootfs())
        .with_mounted_file("/image.tar", image.as_tarball())
        .with_mounted_directory("/base", base.rootfs())
        .with_env_variable("MEASURED", secrets.token_hex())  # measured anew, whatever is cached
        .with_exec(command)
    )
