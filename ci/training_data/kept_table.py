"""Tables in the cache volume `data`, kept by their hash: each is fetched once."""

from pathlib import Path

import dagger
from dagger import dag

from keyless.google_identity import Identity
from net.retry_policy import patient
from training_data.address import TableAddress
from training_data.download import TIMEOUT, download

_FOLDER, _KEPT = Path("fetched"), "/kept"
# Another call may do the same at the same time: a file appears there whole or not at all.
_KEEP = 'part=$(mktemp /kept/part.XXXXXX) && cp /new "$part" && chmod 644 "$part" && mv "$part" "/kept/$1"'


async def add_table(
    source: dagger.Directory,
    table: TableAddress | None,
    programs: dagger.Container,
    identity: Identity | None,
) -> dagger.Directory:
    """Return a project's folder with its table, which is fetched unless it is there or kept.

    `programs` is any container with a shell. Raises DataUnavailable.
    """
    if table is None or await source.glob(table.path):
        return source
    volume = programs.with_mounted_cache(_KEPT, dag.cache_volume("data"))
    # A step that fails is not kept by any engine: the next call looks again.
    copied = volume.with_exec(["cp", f"{_KEPT}/{table.name}", "/table"])
    try:
        await copied.sync()
    except dagger.ExecError:
        return source.with_file(table.path, await _fetch(table, volume, identity))
    return source.with_file(table.path, copied.file("/table"))


async def _fetch(table: TableAddress, volume: dagger.Container, identity: Identity | None) -> dagger.File:
    """Return the table, which is kept from now on."""
    _FOLDER.mkdir(exist_ok=True)
    async with patient(TIMEOUT) as client:
        await download(table, identity, client, _FOLDER / table.name)
    file = dag.current_module().workdir(str(_FOLDER)).file(table.name)
    await volume.with_mounted_file("/new", file).with_exec(["sh", "-ec", _KEEP, "sh", table.name]).sync()
    return file
