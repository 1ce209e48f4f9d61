"""Card: what is published of the columns, and golden rows; only `training.package` may import it."""
