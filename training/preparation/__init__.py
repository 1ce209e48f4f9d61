"""Preparation: scikit-learn's transformers as steps of a portable model; `training` imports it."""
