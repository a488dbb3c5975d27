"""What the package tells about itself while it runs."""

from ruvllm.observability.logs import log_to_stderr

__all__ = ["log_to_stderr"]
