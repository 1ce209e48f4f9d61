"""Fields of the API's types, one class a type. Imported by `api` alone; imports `api.clients`."""
