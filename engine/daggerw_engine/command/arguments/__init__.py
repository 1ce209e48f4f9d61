"""Arguments on the command line: parsing, values, defaults, help. Imported by `command`, `command.calls`."""
