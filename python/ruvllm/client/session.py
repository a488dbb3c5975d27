"""`ServerSession`: a conversation with a server's model. The server keeps nothing of it between turns."""

from collections.abc import Mapping
from typing import Any

from ruvllm.chat import transcript
from ruvllm.chat.conversation import Conversation
from ruvllm.chat.session import ChatStream
from ruvllm.chat.transcript import Turn
from ruvllm.client.server_client import AnswerStream, ServerClient
from ruvllm.errors import ContextLengthError
from ruvllm.outputs import Chunk

__all__ = ["ServerSession"]

# This part of the turns is left out when the context is full: each leaving out changes the beginning of the
# prompt, which the server's prefix cache then does not know, so it should not happen in every turn.
DROPPED_PART = 4


class ServerSession(Conversation):
    """A system prompt, and questions and answers by turns, as `ChatSession` has them.

        with ServerClient("http://127.0.0.1:8000") as server:
            session = ServerSession(server, server.first_model(), "Answer in one sentence.")
            for chunk in session.stream("What is the capital of France?"):
                print(chunk.text, end="")

    When the server says that the context is full, the oldest turns are left out, never the system prompt.
    `usage` has the answers that the server counted; it counts none that was closed early.
    `model` and `settings` may be others for the next turn.
    """

    def __init__(
        self,
        server: ServerClient,
        model: str,
        system_prompt: str | None = None,
        *,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Begin a conversation.

        Args:
            server: Where the model runs.
            model: Its name there.
            system_prompt: What stands before all turns; an empty text is sent, too.
            settings: Fields of every request, as they are sent; for what is not there the server decides.
        """
        super().__init__(system_prompt)
        self.model = model
        self._server = server
        self.settings = dict(settings or {})

    def stream(self, text: str) -> ChatStream:
        """Ask, and give the answer piece by piece; closed early, the history gets what there was."""
        with self._begin_answer() as let_go:
            answer = self._ask(text)

            def end(made: list[Chunk], *, failed: bool) -> None:
                try:
                    self._end(text, made, failed=failed)
                finally:
                    let_go()

            return ChatStream(answer, end)

    def _ask(self, question: str) -> AnswerStream:
        """Send as many turns as the server takes."""
        dropped = self._dropped
        while True:
            messages = transcript.messages_of(self.system_prompt, self._turns[dropped:], question)
            try:
                answer = self._server.stream_chat(self.model, messages, self.settings)
            except ContextLengthError:
                left = len(self._turns) - dropped
                if not left:
                    raise
                dropped += max(1, left // DROPPED_PART)
            else:
                self._dropped = dropped
                return answer

    def _end(self, question: str, chunks: list[Chunk], *, failed: bool) -> None:
        """Remember a turn, unless it failed or ended before anything was made."""
        answer = "".join(chunk.text for chunk in chunks)
        answered = bool(chunks) and chunks[-1].finish_reason not in (None, "cancelled")
        if failed or not (answered or answer):
            return
        self._turns.append(Turn(question, answer))
        if usage := chunks[-1].usage:
            self._usage = self._usage + usage
