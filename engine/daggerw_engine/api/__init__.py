"""Dagger's API: a session and the server that its clients reach it by. Imported by `command`."""
