"""Judging: metrics and plots on the rows held out; `training.fit` and `training.package` may import it."""
