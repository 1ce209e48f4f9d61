"""Places that `bench/deploy.py` deploys to, each with the project's own service as real processes."""
