"""The portable model: its two file formats, its scorers in C and in Python; `app.modelling` may import it."""
