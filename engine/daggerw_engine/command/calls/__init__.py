"""Calls of a module's functions: running, kept results, output. Imported by `command` alone."""
