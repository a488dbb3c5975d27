"""The bodies of requests, one module a family; every field works, or is refused by its name."""
