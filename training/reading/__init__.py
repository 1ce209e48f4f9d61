"""Reading: a table's file as rows with column kinds and a target; the rest of `training` may import it."""
