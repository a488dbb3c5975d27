"""The other side of a server: talking to one that speaks OpenAI's language, ours or another's."""

from ruvllm.client.server_client import AnswerStream, ServerClient
from ruvllm.client.session import ServerSession

__all__ = ["AnswerStream", "ServerClient", "ServerSession"]
