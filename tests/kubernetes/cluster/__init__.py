"""A Kubernetes cluster on loopback: its programs, its control plane, and nodes that run processes.

The tests of the folder above import this, and `bench/deploy.py`.
"""
