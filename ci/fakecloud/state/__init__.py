"""State of the fake cloud: fixtures, ledger and clock, policy, faults, refusals.

The lowest room of the fake cloud.
"""
