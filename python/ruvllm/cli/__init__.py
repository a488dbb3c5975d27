"""The `ruvllm` command: one file a command. Nothing else of the package imports this."""
