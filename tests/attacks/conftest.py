"""The models and servers of the server's own tests."""

from tests.serve.conftest import tiny_chat, tiny_chat_path, tiny_server

__all__ = ["tiny_chat", "tiny_chat_path", "tiny_server"]
