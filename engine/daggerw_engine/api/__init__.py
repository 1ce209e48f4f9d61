"""Dagger's API: a session and its HTTP server for clients. Imported by `command`."""
