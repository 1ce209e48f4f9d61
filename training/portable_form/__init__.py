"""Portable form: a fitted estimator as numbers, and its parity; only `training.package` may import it."""
