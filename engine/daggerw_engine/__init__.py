"""The part of Dagger's API and command line that a Python module needs, over Buildah, on one machine.

Rooms, each importing only those before it: the modules here, files, isolation, values, store, run, api,
command.
"""
