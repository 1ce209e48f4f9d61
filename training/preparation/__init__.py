"""Preparation: scikit-learn's transformers as steps of a portable model; only `training.export` imports it."""
