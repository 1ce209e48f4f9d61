"""Dagger modules: their manifests, types and processes. Imported by the rooms of `command`."""
