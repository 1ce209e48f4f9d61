"""A program as any user of dagger-io writes it: it counts the lines below a folder, in a container.

    python example_program.py FOLDER

It knows no engine: the SDK starts the one that _EXPERIMENTAL_DAGGER_CLI_BIN names.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import dagger
from dagger import dag

DOCKERFILE = Path(__file__).resolve().parents[3] / "Dockerfile"
PYTHON = re.findall(r"^FROM (python:\S+)", DOCKERFILE.read_text(), re.MULTILINE)[0]


async def main(folder: str) -> None:
    """Print what wc says of a folder's text files, and leave it beside them."""
    async with dagger.connection():
        texts = dag.host().directory(folder, include=["**/*.txt"])
        counted = (
            dag.container()
            .from_(PYTHON)
            .with_mounted_directory("/texts", texts)
            .with_workdir("/texts")
            .with_exec(["sh", "-c", "wc -l *.txt"], redirect_stdout="/lines")
        )
        print(await counted.stdout(), end="")
        await counted.file("/lines").export(f"{folder}/lines")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
