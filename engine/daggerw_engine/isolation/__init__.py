"""Isolation of a container's commands: OCI runtime specifications for crun, limits, and mount points."""
