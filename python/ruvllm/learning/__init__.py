"""Learning while serving: what feedback teaches a tenant's requests."""
