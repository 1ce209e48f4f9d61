"""Checks of a trained model before the service may have it; `training.command` and `package` import them."""
