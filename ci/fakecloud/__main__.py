"""`python -m fakecloud`: start the fake cloud."""

import argparse
import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from errors import InvalidFault
from fakecloud import addresses
from fakecloud.connection_faults import server
from fakecloud.fake_app import application
from fakecloud.state import faults
from fakecloud.state.fixtures import Job, usual_setup, with_deployers

Value = TypeVar("Value")


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until a signal stops it; the first line on stdout has the address."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    # Only the fake cloud's own log, which has no tokens.
    for library in ("httpx", "uvicorn"):
        logging.getLogger(library).setLevel(logging.WARNING)
    job = replace(Job(), ref=f"refs/tags/{given.tag}")
    key = given.control_key_file.read_text().strip() if given.control_key_file else ""
    setup = with_deployers(usual_setup(given.request_token_file.read_text().strip(), job, key))
    setup = replace(setup, objects=_objects(given.objects) if given.objects else {})
    app = application(setup, given.registry_url, given.fault)
    with socket.create_server((given.host, given.port)) as listener:
        print(f"rehearsal: listening on http://{given.host}:{listener.getsockname()[1]}", flush=True)
        server(app).run(sockets=[listener])


def _objects(folder: Path) -> dict[str, bytes]:
    """Return the content of each file in a folder, by its path."""
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fakecloud", description=__doc__)
    parser.add_argument("--host", default="0.0.0.0", help="the address to listen on")
    parser.add_argument("--port", type=int, default=addresses.PORT, help="the port, 0 for any that is free")
    parser.add_argument(
        "--registry-url", required=True, help="the real registry, such as http://registry:5000"
    )
    parser.add_argument(
        "--request-token-file", type=Path, required=True, help="a file with the job's request token"
    )
    parser.add_argument("--control-key-file", type=Path, help="a file with the key of the control endpoint")
    parser.add_argument("--objects", type=Path, help="a folder of buckets with the objects of Cloud Storage")
    parser.add_argument("--tag", default="v1.0.0", help="the Git tag that the job runs for")
    parser.add_argument(
        "--fault",
        type=_argparse_type(faults.parse),
        action="append",
        default=[],
        help="see fakecloud/state/faults.py",
    )
    return parser


def _argparse_type(parse: Callable[[str], Value]) -> Callable[[str], Value]:
    """Return a parser whose refusal argparse shows as it is."""

    def parse_argument(text: str) -> Value:
        try:
            return parse(text)
        except InvalidFault as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse_argument


if __name__ == "__main__":
    main()
