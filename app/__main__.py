"""`python -m app`: serve the trained model. `python -m app score FILE`: predict the rows of a file."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from app.connections.listener import listen
from app.errors import ListenError, SettingsError, WorkerError
from app.settings import Settings


def main(arguments: Sequence[str] = ()) -> int:
    """Run the command in the arguments (no arguments: serve) and return the exit status."""
    if not arguments:
        return serve()
    if arguments[0] != "score":
        usage = "run `python -m app` to serve, or `python -m app score FILE`"
        print(f"app: unknown command {arguments[0]!r}; {usage}", file=sys.stderr)
        return 2
    from app import score

    try:
        return score.main(arguments[1:], Settings.from_environment(os.environ).model_dir)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2


def serve() -> int:
    """Serve until SIGTERM and return the exit status: 0, 1 for a failed start, 2 for a wrong setting."""
    signal.signal(signal.SIGTERM, _stop)
    gc.disable()  # nearly all that a start makes stays: to look it through takes a fifteenth of the time
    try:
        settings = Settings.from_environment(os.environ)
        with listen(settings.port) as listener:
            if settings.workers > 1:
                # Each worker has its core. And a process with threads of OpenMP can't be forked.
                os.environ.setdefault("OMP_NUM_THREADS", "1")
            # Imported late because it is slow: a wrong port is reported at once, and process 1 handles
            # SIGTERM from its first moment.
            from app import server

            server.serve(settings, listener)
    except (ListenError, SettingsError, WorkerError) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, SettingsError) else 1
    except KeyboardInterrupt:
        return 130
    return 0


def _stop(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
