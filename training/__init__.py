"""Training: the team's table and estimator made into a model; only `train_model.py` may import it."""
