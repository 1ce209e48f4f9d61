"""Card: the published description of the columns, and golden rows; only `training.package` may import it."""
