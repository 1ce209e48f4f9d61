"""Dagger's API and command line over Buildah: the part that a Python module needs, on one machine."""
