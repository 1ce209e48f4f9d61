"""Preparation: scikit-learn's transformers as portable steps; only `training.portable_form` may import it."""
