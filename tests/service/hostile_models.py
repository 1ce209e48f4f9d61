"""Hostile model files and rows under address and undefined-behaviour sanitizers.

    python -m tests.service.hostile_models [COUNT]

Compiles the library with gcc's sanitizers, and has COUNT mutated files (100,000 if not given) checked and, if
they are models, scored, and as many mutated texts read as rows and counted. A process of its own does so,
which a sanitizer ends with its report. Prints how many files were refused and scored, and how many rows were
read; exit status 0 when no sanitizer complained.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from app.errors import ArtifactError
from app.modelling.native_rows import native_rows
from app.modelling.portable import binary_format
from app.modelling.portable.scorer import scorer
from tests.service.random_models import random_model, random_rows
from tests.service.random_texts import random_features, random_text

SANITIZED = (
    *("-O1", "-g", "-fno-omit-frame-pointer", "-ffp-contract=off", "-fPIC", "-shared"),
    *("-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"),
)
OPTIONS = {"ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"}  # so that each array is watched
MUTATIONS_A_MODEL = 50


def mutated(content: bytes | bytearray, chance: random.Random) -> bytearray:
    """Return a model's file with some bytes, or a whole number or double of it, changed."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 5))):
        size = chance.choice((1, 4, 4, 8))
        start = chance.randrange(len(changed)) // size * size
        value = chance.choice(
            (
                chance.randbytes(size),
                bytes(size),
                b"\xff" * size,
                chance.randrange(64).to_bytes(4, "little")[:size],
                (1 << chance.randrange(8 * size)).to_bytes(size, "little"),
                bytes(changed[start : start + size])[::-1],
            )
        )
        changed[start : start + len(value)] = value
    if chance.random() < 0.05:
        del changed[chance.randrange(len(changed)) :]
    return changed


def verdict(content: bytearray, library: Path | None) -> str:
    """Return why a file is refused, or the scores of rows that come close to its thresholds."""
    try:
        model = binary_format.parse(content, "model.bin")
        found = scorer(model, "model.bin", library)
    except ArtifactError as error:
        return str(error)
    rows = random_rows(random.Random(0), model, 9)
    return repr((found.scores(rows), found.row_scores(rows[0])))


def attack(library: Path, count: int) -> None:
    """Let the library check and score mutated files, and print how many were refused."""
    refused = 0
    for number in range(count):
        if number % MUTATIONS_A_MODEL == 0:
            content = binary_format.write(random_model(random.Random(number)))
        refused += verdict(mutated(content, random.Random(number)), library).startswith("model: ")
    print(f"{count} files: {refused} refused, {count - refused} scored")


def attack_reader(library: Path, count: int) -> None:
    """Let the library read mutated texts and count what it has read, and print how many rows that was."""
    chance, read = random.Random(0), 0
    features = random_features(chance)
    native = native_rows(features, library)
    assert native
    for _ in range(count):
        text = bytes(mutated(random_text(chance, len(features)), chance))
        rows, place = native.read(text, 0, chance.randint(1, 9))
        assert place <= len(text)
        assert sum(map(sum, native.count(rows))) == len(rows) * len(features)
        read += len(rows)
    print(f"{count} texts: {read} rows read and counted")


def main() -> int:
    """Compile, attack in a process of its own, and return its exit status."""
    import compile_scorer

    count = sys.argv[1] if len(sys.argv) > 1 else "100000"
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "libscorer.so")
        compile_scorer.compile_scorer(library, ("gcc",), SANITIZED)
        found = subprocess.run(
            ["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
        )
        environment = {**os.environ, **OPTIONS, "LD_PRELOAD": found.stdout.strip()}
        command = [sys.executable, "-m", "tests.service.hostile_models", count, str(library)]
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    if len(sys.argv) > 2:
        attack(Path(sys.argv[2]), int(sys.argv[1]))
        attack_reader(Path(sys.argv[2]), int(sys.argv[1]))
    else:
        sys.path.insert(0, str(Path(__file__).parents[2] / "docker"))
        sys.exit(main())
