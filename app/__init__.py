"""The service: one model behind POST /predict."""
