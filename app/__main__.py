"""`python -m app`: serve the trained model."""

from __future__ import annotations

import gc
import os
import signal
import sys
from types import FrameType

from app.connections.listener import listen
from app.errors import ListenError, SettingsError
from app.settings import Settings


def main() -> int:
    """Serve until SIGTERM and return the exit status: 0, 1 for a port in use, 2 for a wrong setting."""
    signal.signal(signal.SIGTERM, _stop)
    gc.disable()  # nearly all that a start makes stays: to look it through takes a fifteenth of the time
    try:
        settings = Settings.from_environment(os.environ)
        with listen(settings.port) as listener:
            # Imported only now: it is slow, a wrong port is told at once, and as process 1 a SIGTERM
            # that comes before its handler would be lost.
            from app.server import serve

            serve(settings, listener)
    except (ListenError, SettingsError) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, SettingsError) else 1
    except KeyboardInterrupt:
        return 130
    return 0


def _stop(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
