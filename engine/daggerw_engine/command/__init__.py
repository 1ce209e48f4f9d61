"""The command line: from words to calls, and the module's process. Nothing imports it."""
