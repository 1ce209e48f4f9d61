"""The one platform that containers run on: the machine's own."""

from __future__ import annotations

import os

from daggerw_engine.errors import NotOfferedError

_MACHINE = os.uname().machine
PLATFORM = "linux/" + {"x86_64": "amd64", "aarch64": "arm64"}.get(_MACHINE, _MACHINE)


def refuse_other(platform: str | None) -> None:
    """Raise NotOfferedError for any platform but the machine's own."""
    if platform not in (None, PLATFORM):
        raise NotOfferedError(f"the platform {platform}")
