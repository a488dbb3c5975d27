"""From messages to text and from text to tokens, and back."""

from ruvllm.text.chat_template import ChatTemplate, choose_template
from ruvllm.text.json_tokenizer import JsonTokenizer
from ruvllm.text.messages import Message, MessageLike, check_messages
from ruvllm.text.tokenizer import GgufTokenizer, Tokenizer

__all__ = [
    "ChatTemplate",
    "GgufTokenizer",
    "JsonTokenizer",
    "Message",
    "MessageLike",
    "Tokenizer",
    "check_messages",
    "choose_template",
]
