"""Flow control: pauses and resumes reading from a connection."""

from __future__ import annotations

from uvicorn.protocols.http.flow_control import FlowControl


class Flow(FlowControl):
    """uvicorn's flow control, which also waits for a connection that isn't done with what it has read."""

    stalled = False

    def resume_reading(self) -> None:
        """Read on, unless there is a reason not to."""
        if not (self.stalled or self.write_paused):
            super().resume_reading()
