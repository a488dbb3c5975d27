"""How an answer appears on a terminal while it is made: words, Markdown, code, thoughts, a sign of life."""

from ruvllm.cli.rendering.answer_view import AnswerView
from ruvllm.cli.rendering.keyboard import unseen_typing
from ruvllm.cli.rendering.waiting_line import WaitingLine

__all__ = ["AnswerView", "WaitingLine", "unseen_typing"]
