"""Conversations, questions about documents, and batches: uses of `LLM` that repeat their beginnings."""

from ruvllm.chat.batch import BatchInference
from ruvllm.chat.rag import RagAnswer, RagPipeline, RagStream
from ruvllm.chat.retrieval import Bm25Index, split_text
from ruvllm.chat.session import ChatSession, ChatStream
from ruvllm.chat.tool_conversation import ToolConversation

__all__ = [
    "BatchInference",
    "Bm25Index",
    "ChatSession",
    "ChatStream",
    "RagAnswer",
    "RagPipeline",
    "RagStream",
    "ToolConversation",
    "split_text",
]
