"""Whole releases and deployments without an account: against the fake cloud, with faults and scenarios.

Imports every other room.
"""
