"""A model of a server as the partner of a chat."""

from collections.abc import Collection, Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ruvllm.cli.options import ChosenSampling, SamplingOptions
from ruvllm.cli.partner import MAX_TOKENS, Agrees
from ruvllm.cli.streaming import Chunks, print_answer
from ruvllm.errors import NotFoundError

if TYPE_CHECKING:
    from ruvllm.client import ServerClient, ServerSession
    from ruvllm.text.response import ResponseParser

__all__ = ["ServerPartner"]


class ServerPartner:
    """A `Partner` over `ServerSession`.

    A server that is not RuvLLM may not know all fields of a request: it gets those that were chosen.
    """

    def __init__(
        self,
        server: "ServerClient",
        model: str | None,
        system: str | None,
        chosen: ChosenSampling,
    ) -> None:
        from ruvllm.client import ServerSession

        self._server = server
        self._sampling = chosen.options
        self._chosen = set(chosen.names)
        name = model or server.first_model()
        try:
            self._is_ours = any(offered.is_ours for offered in server.models())
        except NotFoundError:  # not every server has a list
            self._is_ours = False
        self._session = ServerSession(server, name, system, settings=self._settings())

    @property
    def conversation(self) -> "ServerSession":
        """What is said."""
        return self._session

    @property
    def title(self) -> str:
        """Model and server."""
        return f"{self._session.model} at {self._server.address.root}"

    @property
    def model(self) -> str:
        """The model's name there."""
        return self._session.model

    @property
    def sampling(self) -> SamplingOptions:
        """How answers are made, as far as it is said here."""
        return self._sampling

    def parser(self, chunks: Chunks) -> "ResponseParser | None":
        """What tells thoughts from the rest."""
        return self.parser_of_last()

    def parser_of_last(self) -> "ResponseParser | None":
        """Where a server sends thoughts in the text, they stand first, in what most models have around them.

        Further on the same marks are the answer's: which model it is nobody knows here.
        """
        from ruvllm.text.response import ResponseParser
        from ruvllm.text.response.syntax import JsonCalls, Reasons

        return ResponseParser(JsonCalls(), Reasons(only_first=True), tools=())

    def set_sampling(self, sampling: SamplingOptions, name: str, *, is_given: bool) -> None:
        """Send other fields from here on."""
        self._sampling = sampling
        if is_given:
            self._chosen.add(name)
        else:
            self._chosen.discard(name)
        self._session.settings = self._settings()

    def recommended(self) -> str:
        """A server is asked for nothing that nobody chose."""
        return ""

    def unsaid(self) -> Collection[str]:
        """What a server that is not RuvLLM is not sent."""
        if self._is_ours:
            return ()
        return {field.name for field in fields(SamplingOptions)} - self._settings().keys()

    def models(self, *, within_seconds: float | None = None) -> list[str]:
        """What the server offers."""
        return [offered.name for offered in self._server.models(silence_seconds=within_seconds)]

    def others(self) -> list[str]:
        """A server is not told to fetch any."""
        return []

    def change_model(self, name: str, agrees: Agrees) -> None:
        """Ask another model of the server from here on."""
        self._session.model = name

    def memory(self) -> Iterable[tuple[str, str]]:
        """The server's is not known."""
        return [("memory", "not known here: it is the server's")]

    def print_json(self, question: str) -> None:
        """Ask, and print the answer for programs."""
        print_answer(self._session.stream(question))

    def _settings(self) -> dict[str, Any]:
        """The fields of a request."""
        self._sampling.params(max_tokens=MAX_TOKENS)  # the same values are refused as for a model here
        names = [field.name for field in fields(SamplingOptions)]
        if not self._is_ours:
            names = [name for name in names if name in self._chosen]
        values = self._sampling.told() | {"top_p": self._sampling.share}
        given = {name: values[name] for name in names if values[name] is not None}
        return {"max_tokens": MAX_TOKENS} | given
