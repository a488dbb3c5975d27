"""`ChatSession`: a conversation of which each turn computes only what is new."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from ruvllm.chat import transcript
from ruvllm.chat.conversation import Conversation
from ruvllm.chat.room import room_for_prompt
from ruvllm.chat.transcript import Piece, Turn
from ruvllm.errors import TokenizationError
from ruvllm.hub import NOTHING
from ruvllm.outputs import Chunk, Completion, Usage
from ruvllm.params import TERMS_KEYWORDS, GenerateKeywords, GenerateParams
from ruvllm.runtime.closing import Closing
from ruvllm.runtime.prompts import check_room
from ruvllm.runtime.request import GenerationTask
from ruvllm.runtime.streams import join_chunks
from ruvllm.runtime.unpicklable import Unpicklable
from ruvllm.text.tokenizer import Tokenizer, encode_rendered

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ruvllm.adapters import AdapterChoice
    from ruvllm.llm import LLM

__all__ = ["ChatSession", "ChatStream"]

# This part of the context is freed beyond need when turns are dropped: each dropping changes the beginning of
# the prompt, so it should not happen in every turn.
FREED_PART = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prompt:
    """A prompt that fits, and what it adds to the earlier turns' pieces; `None` where it was made anew."""

    tokens: list[int]
    text: str
    added: Piece | None
    dropped: int


class ChatSession(Unpicklable, Conversation):
    """A system prompt, and questions and answers by turns.

        with LLM("smollm2-135m") as llm:
            session = ChatSession(llm, "Answer in one sentence.")
            print(session.send("What is the capital of France?").text)
            print(session.send("And of Italy?").text)

    A turn's prompt begins with the tokens of the turn before, the generated ones included, so the prefix
    cache gives all of that. Of an answer that was closed early, `usage` does not know the cached tokens: none
    count. When the context is full, the oldest turns are left out, never the system prompt.
    One answer at a time; other sessions of the same model run beside it.
    """

    def __init__(
        self,
        llm: "LLM",
        system_prompt: str | None = None,
        *,
        params: GenerateParams | None = None,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice" = None,
        **keywords: "Unpack[GenerateKeywords]",
    ) -> None:
        """Begin a conversation.

        Args:
            llm: The model; it needs a tokenizer and a chat template.
            system_prompt: What stands before all turns. `None` is what is `recommended` of the model, and the
                template's own where nothing is; an empty text takes the place of both.
            params: How answers are made, where a call does not say otherwise; by itself as it is recommended.
            tenant: On whose account, as in `LLM.generate`.
            priority: As in `LLM.generate`.
            adapter: As in `LLM.generate`; a name means in each turn what it stands for then.
            **keywords: What `params` are to be other in, as in `LLM.generate`.
        """
        super().__init__(system_prompt)
        # It was measured of the model alone.
        self.recommended = llm.recommended if adapter is None else NOTHING
        self.params = GenerateParams.of(
            params,
            keywords,
            beside=(*TERMS_KEYWORDS, "system_prompt"),
            unsaid=self.recommended.sampling,
        )
        self.params.check_one_answer("a turn of a conversation")
        self._llm = llm
        self._tenant = tenant
        self._priority = priority
        self._adapter = adapter

    _instead = (
        "pass its `history`, which is plain data, load the model there, and let another session "
        "`restore` it, or go on by llm.chat([*history, {'role': 'user', 'content': ...}])"
    )

    def __repr__(self) -> str:
        return f"ChatSession({self._llm!r}, turns={len(self._turns)})"

    # -- asking

    def send(
        self, text: str, params: GenerateParams | None = None, **keywords: "Unpack[GenerateKeywords]"
    ) -> Completion:
        """Ask, and wait for the whole answer; keywords change the parameters for this turn.

        session.send("And of Italy?", temperature=0).text
        """
        with self.stream(text, params, **keywords) as stream:
            return join_chunks(list(stream), stream.task)

    def stream(
        self, text: str, params: GenerateParams | None = None, **keywords: "Unpack[GenerateKeywords]"
    ) -> "ChatStream":
        """Ask, and give the answer piece by piece; closed early, the history gets what there was.

            with session.stream("Why is the sky blue?") as answer:
                for chunk in answer:
                    print(chunk.text, end="")

        Raises `ContextLengthError` where this message does not fit even without the earlier turns, and
        `SessionError` while another answer is being made.
        """
        with self._begin_answer() as let_go:
            params = GenerateParams.of(params or self.params, keywords)
            prompt = self._prompt(text, params)
            chunks = self._llm.stream(
                prompt.tokens, params, tenant=self._tenant, priority=self._priority, adapter=self._adapter
            )
            self._dropped = prompt.dropped
            # Streams of other makers may not say what they compute.
            task = getattr(chunks, "task", None)
            task = replace(task, prompt=prompt.text) if isinstance(task, GenerationTask) else None

            def end(made: list[Chunk], *, failed: bool) -> None:
                try:
                    self._end(text, prompt, made, failed=failed)
                finally:
                    let_go()

            # Made in the block: whatever stops this earlier, Ctrl-C too, lets go of the session.
            return ChatStream(chunks, end, task)

    def fork(self) -> "ChatSession":
        """A session with the same past that goes its own way; both share what is computed so far."""
        self._check_idle()
        copy = ChatSession(
            self._llm,
            self.system_prompt,
            params=self.params,
            tenant=self._tenant,
            priority=self._priority,
            adapter=self._adapter,
        )
        copy._turns = list(self._turns)
        copy._dropped = self._dropped
        return copy

    # -- prompts that fit

    def _prompt(self, question: str, params: GenerateParams) -> _Prompt:
        """The prompt with as many turns as fit beside the answer."""
        limit = self._llm.model_info.max_context
        fits = room_for_prompt(limit, params)
        prompt = self._render(question, self._dropped)
        if len(prompt.tokens) > fits:
            wanted = fits - limit // FREED_PART
            while (left := len(self._turns) - prompt.dropped) > 0:
                # The last turn is what the question most likely is about: it goes only if it must.
                if len(prompt.tokens) <= (wanted if left > 1 else fits):
                    break
                prompt = self._render(question, prompt.dropped + 1)
        check_room(len(prompt.tokens), limit)
        return prompt

    def _render(self, question: str, dropped: int) -> _Prompt:
        tokenizer, turns = self._tokenizer(), self._turns[dropped:]
        messages = transcript.messages_of(self.system_prompt, turns, question)
        rendered = self._llm.render_chat(self.recommended.before(messages))
        known = transcript.joined(turns)
        # Answers' tokens as they were made are no tokenizer's: an engine that takes texts reads them anew.
        anew = not self._llm.supports.any_tokens
        added = None if anew else transcript.extend(tokenizer, known, rendered)
        tokens = encode_rendered(tokenizer, rendered) if added is None else [*known.tokens, *added.tokens]
        return _Prompt(tokens=tokens, text=rendered.signed, added=added, dropped=dropped)

    def _tokenizer(self) -> Tokenizer:
        if self._llm.tokenizer is None:
            raise TokenizationError("the model has no tokenizer, so there is nothing to chat with")
        return self._llm.tokenizer

    def _end(self, question: str, prompt: _Prompt, chunks: list[Chunk], *, failed: bool) -> None:
        """Remember a turn, unless it failed or ended before anything was made."""
        answered = bool(chunks) and chunks[-1].finish_reason not in (None, "cancelled")
        token_ids = [token for chunk in chunks for token in chunk.token_ids]
        if failed or not (answered or token_ids):
            return
        answer = "".join(chunk.text for chunk in chunks)
        made = transcript.answer_piece(self._tokenizer(), answer, token_ids)
        added = prompt.added
        if added is None:
            # The pieces of the turns before stand in this prompt otherwise, and serve nothing any more.
            self._turns = [Turn(turn.question, turn.answer) for turn in self._turns]
            added = Piece(prompt.text, tuple(prompt.tokens))
        piece = Piece(added.text + made.text, added.tokens + made.tokens)
        self._turns.append(Turn(question, answer, piece))
        interrupted = Usage(prompt_tokens=len(prompt.tokens), completion_tokens=len(token_ids))
        self._usage = self._usage + (chunks[-1].usage or interrupted)


class _Chunks(Protocol):
    """An answer that is being made; `close` ends it."""

    def __next__(self) -> Chunk:
        """The next piece."""

    def close(self) -> None:
        """Stop it."""


class ChatStream(Closing, Iterator[Chunk]):
    """An answer of a session, piece by piece.

    Its end, `close`, leaving a `with` block and the end of the object's life put it into the history, as far
    as it was made; an error of the engine takes the question back.
    """

    def __init__(self, chunks: _Chunks, end: Callable[..., None], task: GenerationTask | None = None) -> None:
        self.task = task
        self._chunks = chunks
        self._made: list[Chunk] = []
        self._end: Callable[..., None] | None = end

    def __repr__(self) -> str:
        state = "at its end" if self._end is None else "under way"
        return f"ChatStream(chunks={len(self._made)}, {state})"

    @property
    def prompt_share(self) -> float | None:
        """The share of the prompt that is computed, 0 to 1; `None` where nobody says so."""
        share = getattr(self._chunks, "prompt_share", None)
        return share if isinstance(share, float) else None

    @property
    def is_thinking(self) -> bool:
        """Whether what comes now are thoughts that a server keeps apart from the text."""
        return getattr(self._chunks, "is_thinking", False) is True

    def __iter__(self) -> "ChatStream":
        return self

    def __next__(self) -> Chunk:
        if self._end is None:
            raise StopIteration
        try:
            chunk = next(self._chunks)
        except Exception as error:
            self._finish(failed=not isinstance(error, StopIteration))
            raise
        except BaseException:  # Ctrl-C ends the answer, and what there is counts
            self.close()
            raise
        self._made.append(chunk)
        if chunk.finish_reason is not None:
            self._finish(failed=False)
        return chunk

    def close(self) -> None:
        """Stop: the engine ends the request, and the history gets what was made so far."""
        self._chunks.close()
        self._finish(failed=False)

    def _finish(self, *, failed: bool) -> None:
        end, self._end = self._end, None
        if end is not None:
            end(self._made, failed=failed)

    def __del__(self) -> None:
        if hasattr(self, "_end"):
            self.close()
