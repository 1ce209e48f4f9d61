"""What `train_model.py` does, besides the estimator: read data, describe, make portable, compare, draw."""
