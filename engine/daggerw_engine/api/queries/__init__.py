"""GraphQL queries: schemas, resolution to calls, evaluation. Imported by `api`; imports `api.clients`."""
