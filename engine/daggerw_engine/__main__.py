"""`python -m daggerw_engine` and `daggerw`: the command line as a program."""

import os
import signal
import sys
from pathlib import Path
from typing import NoReturn


def start() -> NoReturn:
    """Run the command line and exit with its status."""
    signal.signal(signal.SIGINT, _cancel)  # imports take a while
    from daggerw_engine.command.host import prepare

    prepare(sys.argv[1:])
    from daggerw_engine.command.main import PACKAGES_LOCK, main
    from daggerw_engine.run.programs import wait_for_packages

    lock = os.environ.get(PACKAGES_LOCK)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    status = main()
    signal.signal(signal.SIGINT, _cancel)
    wait_for_packages(Path(lock) if lock else None)  # an installation is not left alone
    # All is put away; freeing what a session holds object by object would take longer than ending it did.
    os._exit(status)


def _cancel(*_: object) -> NoReturn:
    """Exit at once: nothing runs yet."""
    os.write(2, b"Canceled.\n")
    os._exit(130)


if __name__ == "__main__":
    start()
