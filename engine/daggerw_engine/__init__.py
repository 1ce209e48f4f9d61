"""Dagger's API and command line over Buildah: the part that a Python module needs, on one machine.

Rooms, each importing only those before it: the modules here, files, values, store, run, api, command.
"""
