"""The model: its files, portable form, predictions; the service and training may import it."""
