"""API clients: the host files and secrets that each may use. Imported by `api`, its rooms and `command`."""
