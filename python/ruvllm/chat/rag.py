"""`RagPipeline`: questions about documents, with the parts that fit as context before the question."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from ruvllm._checks import check_integer, check_type
from ruvllm.chat.retrieval import Bm25Index, split_text
from ruvllm.chat.room import room_for_prompt
from ruvllm.errors import ConfigError, InvalidOperationError, TokenizationError
from ruvllm.markdown import without_elements
from ruvllm.outputs import Chunk, Completion, Usage
from ruvllm.params import GenerateKeywords, GenerateParams
from ruvllm.runtime.closing import Closing
from ruvllm.runtime.request import GenerationTask
from ruvllm.runtime.streams import CompletionStream, join_chunks
from ruvllm.runtime.unpicklable import Unpicklable
from ruvllm.text.marks import Rendered
from ruvllm.text.tokenizer import Tokenizer, encode_rendered

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ruvllm.llm import LLM

__all__ = ["RagAnswer", "RagPipeline", "RagStream", "Retrieve"]

Retrieve: TypeAlias = Callable[[str, int], Sequence[str]]
"""Gives so many texts for a question, the best first."""

_QUESTION = "\n\nQuestion:"
# A model that continues text goes on with a question of its own; and an answer may say what the context says.
DEFAULT_PARAMS = GenerateParams(
    temperature=0.0, repetition_penalty=1.0, stop_sequences=("\nQuestion:", "\nContext:")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RagAnswer:
    """An answer, and what it was made from; as a text, the answer.

    Attributes:
        text: The answer, without white space around it.
        chunks: The texts that stood in the context, in that order.
        completion: The model's whole output.
    """

    text: str
    chunks: tuple[str, ...]
    completion: Completion

    def __str__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        """What a notebook shows: the answer as the Markdown that models write."""
        return without_elements(self.text)


class RagPipeline(Unpicklable):
    r"""Answers questions from documents, or from what a function of yours finds.

        with LLM("smollm2-135m") as llm:
            pipeline = RagPipeline(llm, ["Paris is the capital of France.", "Rome is the capital of Italy."])
            print(pipeline.query("What is the capital of Italy?").text)

    The prompt is `Context:\n...\n\nQuestion: ...\n\nAnswer:`.

    The prefix cache gives the context's keys and values again while the prompt begins as one before. They
    depend on all that stands before them: a chunk is reused only where the chunks before it are the same, in
    the same order. So chunks are not put in the order of their scores, which changes with each question, but
    in the order of the documents (those of a function in the order of their text), and questions that find
    the same chunks share the whole context. `warm` computes a context in advance.
    """

    def __init__(  # noqa: PLR0913 - the documented face
        self,
        llm: "LLM",
        documents: Iterable[str] | None = None,
        retrieve: Retrieve | None = None,
        *,
        top_k: int = 3,
        chunk_tokens: int = 256,
        order: Literal["stable", "score"] = "stable",
        chat: bool = False,
        params: GenerateParams | None = None,
        tenant: str = "",
        priority: int = 0,
    ) -> None:
        """Cut documents up and index them, or take a function that finds texts.

        Args:
            llm: The model.
            documents: Texts to answer from; BM25 finds the chunks of them that fit a question.
            retrieve: Instead of documents: `retrieve(question, k)` gives `k` texts, the best first.
            top_k: So many chunks stand in the context; fewer where they would not fit.
            chunk_tokens: The most tokens of a chunk of a document.
            order: `stable` as above; `score` puts the best first and gives up most reuse.
            chat: Whether the prompt is a user's message in the model's chat template.
            params: How answers are made; by default at temperature 0 up to the next question.
            tenant: On whose account, as in `LLM.generate`.
            priority: As in `LLM.generate`.
        """
        if documents is not None and retrieve is not None:
            raise ConfigError("documents and retrieve are both given; give one of them")
        if isinstance(documents, str):
            raise ConfigError("documents is one text; it must be a list of texts")
        if order not in ("stable", "score"):
            raise ConfigError(f"order is {order!r}; it must be stable or score")
        self._llm = llm
        self._retrieve = retrieve
        self._top_k = check_integer("top_k", top_k, 1)
        self._chunk_tokens = check_integer("chunk_tokens", chunk_tokens, 1)
        self._order = order
        self._chat = chat
        self._params = params or DEFAULT_PARAMS
        self._tenant = tenant
        self._priority = priority
        self._index = Bm25Index()
        self._index_lock = threading.Lock()
        for document in documents or ():
            self.add_document(document)

    def add_document(self, text: str) -> int:
        """Cut a document up and add it after the others; gives the number of its chunks."""
        if self._retrieve is not None:
            raise InvalidOperationError("the texts come from a function; add the document where it looks")
        check_type("text", text, str)
        tokenizer = self._tokenizer()
        chunks = split_text(text, lambda part: len(tokenizer.encode(part, add_bos=False)), self._chunk_tokens)
        with self._index_lock:
            for chunk in chunks:
                self._index.add(chunk)
        return len(chunks)

    _instead = "pass the name of the model and the documents, and make one there"

    def __repr__(self) -> str:
        found_by = f"chunks={len(self._index)}" if self._retrieve is None else "retrieve=..."
        return f"RagPipeline({self._llm!r}, {found_by})"

    def retrieve(self, question: str) -> tuple[str, ...]:
        """The chunks for a question, in the order in which they stand in the context."""
        return self._ordered(self._found(question))

    def query(
        self, question: str, params: GenerateParams | None = None, **keywords: "Unpack[GenerateKeywords]"
    ) -> RagAnswer:
        """Find chunks, and answer from them; keywords change the parameters for this question.

        `top_k` is the sampler's here; how many chunks stand in the context is said to the pipeline itself.
        """
        with self.stream(question, params, **keywords) as stream:
            completion = join_chunks(list(stream), stream.task)
            return RagAnswer(text=completion.text.strip(), chunks=stream.chunks, completion=completion)

    def stream(
        self, question: str, params: GenerateParams | None = None, **keywords: "Unpack[GenerateKeywords]"
    ) -> "RagStream":
        """Do the same piece by piece; the stream's `chunks` are there from the beginning."""
        params = GenerateParams.of(params or self._params, keywords)
        found = self._found(question)
        limit = room_for_prompt(self._llm.model_info.max_context, params)
        while True:
            chunks = self._ordered(found)
            rendered = self._rendered(question, chunks)
            tokens = encode_rendered(self._tokenizer(), rendered)
            if len(tokens) <= limit or not found:
                break
            found = found[:-1]
        stream = self._llm.stream(tokens, params, tenant=self._tenant, priority=self._priority)
        return RagStream(stream, chunks, rendered.text)

    def warm(self, chunks: Iterable[str]) -> Usage:
        """Compute the context of these chunks, in the order given, and keep it for questions to come.

        For the prompts of `query` to begin so, give the chunks as `retrieve` does.
        """
        rendered = self._rendered("", tuple(chunks))
        context = rendered.upto(rendered.signed.rindex(_QUESTION))
        tokens = encode_rendered(self._tokenizer(), context)
        params = replace(self._params, max_tokens=1, min_tokens=0, stop_sequences=())
        completion = self._llm.generate(tokens, params, tenant=self._tenant, priority=self._priority)
        return completion.usage

    def prompt(self, question: str, chunks: Sequence[str]) -> str:
        """The text that the model sees for a question."""
        text = _context_and_question(question, chunks)
        return self._llm.apply_chat_template(text) if self._chat else text

    def _rendered(self, question: str, chunks: Sequence[str]) -> Rendered:
        """The same, to be made tokens of: what documents and questions say is text."""
        text = _context_and_question(question, chunks)
        return self._llm.render_chat(text) if self._chat else Rendered(text, {})

    def _found(self, question: str) -> list[tuple[int | str, str]]:
        """Chunks, the best first, each with what orders it."""
        if self._retrieve is not None:
            # Without repetitions: the same text twice says nothing more.
            texts = dict.fromkeys(list(self._retrieve(question, self._top_k))[: self._top_k])
            return [(text, text) for text in texts]
        with self._index_lock:
            return [(place, self._index[place]) for place in self._index.search(question, self._top_k)]

    def _ordered(self, found: Sequence[tuple[int | str, str]]) -> tuple[str, ...]:
        # One kind of key in one list: places of one index, or texts.
        ordered = sorted(found) if self._order == "stable" else found
        return tuple(text for _, text in ordered)

    def _tokenizer(self) -> Tokenizer:
        if self._llm.tokenizer is None:
            raise TokenizationError("the model has no tokenizer, so it cannot answer questions")
        return self._llm.tokenizer


def _context_and_question(question: str, chunks: Sequence[str]) -> str:
    return "Context:\n" + "\n\n".join(chunks) + f"{_QUESTION} {question}\n\nAnswer:"


class RagStream(Closing, Iterator[Chunk]):
    """An answer, piece by piece; `chunks` are the texts of its context. Closing it ends the request."""

    def __init__(self, stream: CompletionStream, chunks: tuple[str, ...], prompt: str) -> None:
        self.chunks = chunks
        # Streams of other makers may not say what they compute.
        task = getattr(stream, "task", None)
        self.task = replace(task, prompt=prompt) if isinstance(task, GenerationTask) else None
        self._stream = stream

    def __repr__(self) -> str:
        return f"RagStream(chunks={len(self.chunks)})"

    def __iter__(self) -> "RagStream":
        return self

    def __next__(self) -> Chunk:
        return next(self._stream)

    def close(self) -> None:
        """Stop: the engine ends the request."""
        self._stream.close()
