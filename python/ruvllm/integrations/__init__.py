"""RuvLLM inside other systems; each is a package of its own, imported by whoever uses it."""
