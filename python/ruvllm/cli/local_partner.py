"""A model that is loaded here as the partner of a chat."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

import ruvllm.hub as hub
from ruvllm.chat.session import ChatSession
from ruvllm.cli import terminal
from ruvllm.cli.fetching import say_what_it_is
from ruvllm.cli.opening import open_model, warn_without_template
from ruvllm.cli.options import ChosenSampling, LocalOptions, SamplingOptions
from ruvllm.cli.partner import MAX_TOKENS, Agrees
from ruvllm.cli.streaming import Chunks, print_completion
from ruvllm.errors import NotFoundError
from ruvllm.hub.recommended import SAMPLING as RECOMMENDED_SAMPLING

if TYPE_CHECKING:
    from ruvllm.llm import LLM
    from ruvllm.text.response import ResponseParser

__all__ = ["LocalPartner"]


class LocalPartner:
    """A `Partner` over `ChatSession`. It has one model at a time, and closes it with its `with` block."""

    def __init__(
        self,
        model: str,
        local: LocalOptions,
        system: str | None,
        chosen: ChosenSampling,
        *,
        quiet: bool,
    ) -> None:
        self._local = local
        self._sampling = chosen.options
        # It stands above what is recommended of the model, by its makers and here.
        self._chosen = set(chosen.names)
        self._quiet = quiet
        # What is wrong with them is said before anything is loaded.
        self._sampling.params(max_tokens=MAX_TOKENS)
        self._take(model, with_adapter=True)
        self._session.system_prompt = system

    def __enter__(self) -> "LocalPartner":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._llm.close()

    @property
    def conversation(self) -> ChatSession:
        """What is said."""
        return self._session

    @property
    def title(self) -> str:
        """The name that was asked for, of a path what it ends in."""
        return hub.called(self._model, hub.DEFAULT_REGISTRY)

    @property
    def model(self) -> str:
        """The name that it was loaded by."""
        return self._model

    @property
    def sampling(self) -> SamplingOptions:
        """How answers are made."""
        return self._sampling

    def parser(self, chunks: Chunks) -> "ResponseParser | None":
        """What tells thoughts from the rest, where the model's format is known by the template."""
        return self._parser_behind(getattr(getattr(chunks, "task", None), "prompt", None) or "")

    def parser_of_last(self) -> "ResponseParser | None":
        """The same for the answer that the history ends with."""
        return self._parser_behind(self._llm.render_chat(self._session.history[:-1]).signed)

    def set_sampling(self, sampling: SamplingOptions, name: str, *, is_given: bool) -> None:
        """Make answers otherwise from here on."""
        (self._chosen.add if is_given else self._chosen.discard)(name)
        self._sample_by(self._with_recommended(sampling, self._session, self._llm))

    def recommended(self) -> str:
        """What is, of the model that is loaded."""
        session = self._session
        said = {*self._chosen, *(["system_prompt"] if session.system_prompt is not None else [])}
        if self._local.params is not None:
            said.update(RECOMMENDED_SAMPLING)
        return session.recommended.told(but=said)

    def unsaid(self) -> Collection[str]:
        """All choices are made here."""
        return ()

    def models(self, *, within_seconds: float | None = None) -> list[str]:
        """What is on this machine."""
        return [model.name for model in hub.list(cache=self._local.engine.cache_dir)]

    def others(self) -> list[str]:
        """The catalogue's names for what is not."""
        here = self.models()
        return [name for name in hub.DEFAULT_REGISTRY.names() if name not in here]

    def change_model(self, name: str, agrees: Agrees) -> None:
        """Close this model and load another one; where that fails, this one is loaded again.

        There need not be room for both. One that is not on this machine is fetched if that is agreed to.
        """
        if not self._is_wanted(name, agrees):
            return
        before, history, had_adapter = self._model, self._session.history, self._has_adapter
        self._llm.close()
        try:
            self._take(name, with_adapter=False)
        except BaseException:
            terminal.note(f"{before} stays")
            self._take(before, with_adapter=had_adapter)
            raise
        finally:
            self._session.restore(history)
        if had_adapter:
            terminal.note("--adapter was the other model's: from here on there is none")

    def memory(self) -> Iterable[tuple[str, str]]:
        """What weights, cache and process take."""
        stats = self._llm.memory_stats()
        used, total = terminal.size(stats.kv_used_bytes), terminal.size(stats.kv_total_bytes)
        return [
            ("weights", terminal.size(stats.weight_bytes)),
            ("key-value cache", f"{used} of {total}"),
            ("process", terminal.size(stats.resident_bytes)),
        ]

    def print_json(self, question: str) -> None:
        """Ask, and print the answer for programs."""
        print_completion(self._session.send(question))

    def _parser_behind(self, prompt: str) -> "ResponseParser | None":
        """Some templates begin the thoughts in the prompt."""
        form = self._llm.response_format
        if form.reasons is None:
            return None
        return form.parser(thinking_open=form.thinking_open(prompt), tools=())

    def _take(self, name: str, *, with_adapter: bool) -> None:
        """Load a model, and begin to talk with it."""
        self._llm = llm = open_model(name, self._local.engine, quiet=self._quiet)
        self._model = name
        try:
            warn_without_template(llm, quiet=self._quiet)
            adapter = self._local.adapters.load(llm) if with_adapter else None
            session = ChatSession(llm, adapter=adapter)
            sampling = self._with_recommended(self._sampling, session, llm)
        except BaseException:
            llm.close()
            raise
        self._has_adapter = adapter is not None
        self._session = session
        self._sample_by(sampling)

    def _sample_by(self, sampling: SamplingOptions) -> None:
        self._session.params = sampling.params(max_tokens=MAX_TOKENS)
        self._sampling = sampling

    def _with_recommended(
        self, sampling: SamplingOptions, session: ChatSession, llm: "LLM"
    ) -> SamplingOptions:
        """Of what nobody chose, each choice has the value that is recommended, or its own.

        With `--params model` it is the makers' recommendation, which speaks of all that ours does.
        """
        recommended = session.recommended.sampling
        by_itself = SamplingOptions()
        unsaid = [name for name in RECOMMENDED_SAMPLING if name not in self._chosen]
        values = {name: recommended.get(name, getattr(by_itself, name)) for name in unsaid}
        return self._local.sampling(llm, replace(sampling, **values), self._chosen)

    def _is_wanted(self, name: str, agrees: Agrees) -> bool:
        # What nothing is called by says so, and what could be.
        hub.parse(name, hub.DEFAULT_REGISTRY)
        try:
            hub.find(name, cache=self._local.engine.cache_dir)
        except NotFoundError:
            say_what_it_is(name)
            return agrees(f"{name} is not on this machine. Fetch it?")
        return True
