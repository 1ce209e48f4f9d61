"""API of the engine in a program with dagger-io, by type: the effect of each field and argument.

The tests don't depend on the embedded engine: under `dagger run pytest engine/tests/conformance` they use the
Dagger engine.
"""
