"""OCI image archives: reader, writer, canonical form, layer tree, components, SBOM, provenance, comparison.

Runs in the base image, too, with the standard library alone; imports only `errors`.
"""
