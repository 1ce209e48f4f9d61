"""Drivers for the systems that run a release: Cloud Run, Docker Swarm, Kubernetes.

Each offers the interface of `rollout.target`; imports `rollout` and what that imports.
"""
