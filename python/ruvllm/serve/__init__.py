"""An OpenAI-compatible server over `AsyncEngine`: `create_app` makes it, `ruvllm serve` runs it.

Needs the extra `ruvllm[serve]`.
"""

from ruvllm.serve.app import create_app
from ruvllm.serve.keys import ApiKey, KeyRing, read_key_file
from ruvllm.serve.models import ServedModel
from ruvllm.serve.settings import ServerSettings

__all__ = ["ApiKey", "KeyRing", "ServedModel", "ServerSettings", "create_app", "read_key_file"]
