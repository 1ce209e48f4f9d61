"""The API: FastAPI, schemas, routes, Open Inference Protocol, page; only `app.server` may import it."""
