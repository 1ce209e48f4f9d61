"""The portable model: its two file formats and its scorers, native and in Python; the room above may import it."""
