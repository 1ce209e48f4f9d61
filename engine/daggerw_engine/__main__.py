"""`python -m daggerw_engine`: the command line as a program."""

import os
import signal
from typing import NoReturn


def _cancel(*_: object) -> NoReturn:
    """End at once, as nothing runs yet."""
    os.write(2, b"Canceled.\n")
    os._exit(130)


signal.signal(signal.SIGINT, _cancel)  # imports take a while

from daggerw_engine.command.main import main  # noqa: E402

signal.signal(signal.SIGINT, signal.default_int_handler)
status = main()
# All is put away; freeing what a session holds object by object would take longer than ending it did.
os._exit(status)
