"""A server that speaks OpenAI's language, ours or another: its models, and answers as they are made.

For one answer at a time; `ruvllm.client.load` is what puts a server under load.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ruvllm.client.address import Address
from ruvllm.client.events import Event, EventDecoder
from ruvllm.client.failures import failure_of
from ruvllm.client.pieces import DONE, Piece, ServerTimings, read_piece, timings_of
from ruvllm.client.whole_characters import WholeCharacters
from ruvllm.errors import BackendError, ConfigError, GenerationError, IoError, NotFoundError
from ruvllm.outputs import Chunk, FinishReason, Usage
from ruvllm.runtime.closing import Closing
from ruvllm.text.characters import of_whole_characters
from ruvllm.text.messages import Message

if TYPE_CHECKING:
    import httpx

__all__ = ["AnswerStream", "OfferedModel", "ServerClient", "authorization", "chat_request", "not_running"]

CONNECT_SECONDS = 10.0
# A long prompt on a slow machine is silent for minutes before its first token.
SILENCE_SECONDS = 600.0
_FINISH_REASONS = ("stop", "length", "cancelled")


class OfferedModel(NamedTuple):
    """A model that a server has: its name, and whose it says it is."""

    name: str
    owner: str

    @property
    def is_ours(self) -> bool:
        """Whether a RuvLLM server runs it, which knows all of this package's sampling fields."""
        return self.owner == "ruvllm"


class ServerClient(Closing):
    """A connection to a server.

        with ServerClient("http://127.0.0.1:8000") as server:
            model = server.first_model()
            with server.stream_chat(model, [{"role": "user", "content": "Hello!"}], {}) as answer:
                for chunk in answer:
                    print(chunk.text, end="")

    Errors are this package's: `IoError` where nothing answers, `AuthenticationError` for a missing key,
    `OverloadedError` where the server is full, `ConfigError` for what it does not take.
    """

    def __init__(
        self, url: str, *, api_key: str | None = None, silence_seconds: float = SILENCE_SECONDS
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            url: `http://127.0.0.1:8000`, or an OpenAI base URL with its path.
            api_key: Sent as a bearer token, where there is one.
            silence_seconds: How long the server may say nothing.
        """
        self.address = Address.of(url)
        self._api_key = api_key
        self._silence_seconds = silence_seconds
        self._client = self._connected()
        self._tokenize_field = "content"

    def _connected(self) -> "httpx.Client":
        import httpx

        return httpx.Client(
            headers=authorization(self._api_key),
            timeout=httpx.Timeout(self._silence_seconds, connect=CONNECT_SECONDS),
            # Variables of the environment name proxies, which do not lead to this machine.
            trust_env=not self.address.is_local,
        )

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def models(self, *, silence_seconds: float | None = None) -> list["OfferedModel"]:
        """The models that the server has; `silence_seconds` may be others than the connection's."""
        try:
            listing = self._json("GET", f"{self.address.api}/models", silence_seconds=silence_seconds)
        except NotFoundError as error:
            raise NotFoundError(
                f"{self.address.api}/models is not there; is this an OpenAI-compatible server? "
                "If it is one without a list, name its model"
            ) from error
        try:
            return [OfferedModel(str(one["id"]), str(one.get("owned_by"))) for one in listing["data"]]
        except (KeyError, TypeError, AttributeError) as error:
            raise BackendError(
                f"{self.address.api}/models gives no list of models; is this an OpenAI-compatible server?"
            ) from error

    def first_model(self) -> str:
        """The first of its models; `NotFoundError` where it has none."""
        models = self.models()
        if not models:
            raise NotFoundError(f"the server at {self.address.api} has no model")
        return models[0].name

    def loaded_models(self) -> list[dict[str, Any]]:
        """What is loaded in a RuvLLM server, or one of Ollama's, as it tells it."""
        url = f"{self.address.root}/api/ps"
        try:
            listing = self._json("GET", url)
        except NotFoundError as error:
            raise NotFoundError(f"{url} is not there; is this a server of RuvLLM or Ollama?") from error
        found = listing.get("models") if isinstance(listing, dict) else None
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise BackendError(f"{url} gives no list of models; is this a server of RuvLLM or Ollama?")
        return found

    def unload(self, model: str) -> None:
        """Have a RuvLLM server, or one of Ollama's, give a model up once no request uses it."""
        url = f"{self.address.root}/api/generate"
        self._answered("POST", url, {"model": model, "keep_alive": 0, "stream": False})

    def count_tokens(self, text: str) -> int | None:
        """Tokens of a text, by the server's `/tokenize`; `None` where it has none."""
        # llama.cpp calls the text `content`, vLLM `prompt`.
        for field in dict.fromkeys((self._tokenize_field, "prompt")):
            try:
                answer = self._json("POST", f"{self.address.root}/tokenize", {field: text})
            except (NotFoundError, BackendError):
                return None
            except ConfigError:
                continue
            self._tokenize_field = field
            count = answer.get("count") if isinstance(answer, dict) else None
            tokens = answer.get("tokens") if isinstance(answer, dict) else None
            if isinstance(count, int):
                return count
            return len(tokens) if isinstance(tokens, list) else None
        return None

    def stream_chat(self, model: str, messages: list[Message], settings: Mapping[str, Any]) -> "AnswerStream":
        """Ask, and give the answer piece by piece; `settings` are fields of the request as they are sent."""
        body = chat_request(model, messages, settings)
        try:
            return self._begin_answer(body)
        except Exception:
            raise
        except BaseException:
            # Ctrl-C may come between any two steps, also where nobody holds the connection yet that the
            # server writes to: only to hang up altogether ends the request there for certain.
            self._client.close()
            self._client = self._connected()
            raise

    def _begin_answer(self, body: Mapping[str, Any]) -> "AnswerStream":
        begun = time.perf_counter()
        with _translated(self.address):
            request = self._client.build_request("POST", f"{self.address.api}/chat/completions", json=body)
            response = self._client.send(request, stream=True)
            try:
                if response.status_code != 200:
                    raise failure_of(response.status_code, response.read(), response.headers)
                _check_is_stream(response.headers)
            except BaseException:
                response.close()
                raise
        return AnswerStream(self.address, response, begun)

    def adapters(self) -> list[dict[str, Any]]:
        """The adapters of a RuvLLM server, as it lists them."""
        listing = self._json("GET", f"{self.address.api}/lora_adapters")
        found = listing.get("data") if isinstance(listing, dict) else None
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise BackendError(f"{self.address.api}/lora_adapters gives no list; is this a RuvLLM server?")
        return found

    def load_adapter(self, name: str, path: str, *, replace: bool = False, model: str | None = None) -> None:
        """Have a server load an adapter from a folder of its own; with `replace` also over a known name."""
        body = {"lora_name": name, "lora_path": path, "load_inplace": replace, "model": model}
        self._answered("POST", f"{self.address.api}/load_lora_adapter", _without_none(body))

    def unload_adapter(self, name: str, *, model: str | None = None) -> None:
        """Have a server forget an adapter; requests that run keep it."""
        body = {"lora_name": name, "model": model}
        self._answered("POST", f"{self.address.api}/unload_lora_adapter", _without_none(body))

    def learning(self) -> dict[str, Any]:
        """What a RuvLLM server has learned for this key: `learning`, `tenant`, and `data` by model."""
        status = self._json("GET", f"{self.address.api}/feedback")
        if not isinstance(status, dict) or not isinstance(status.get("data"), list):
            raise BackendError(f"{self.address.api}/feedback tells nothing; is this a RuvLLM server?")
        return status

    def give_feedback(
        self,
        completion_id: str,
        *,
        feedback: float | None = None,
        corrected: str | None = None,
        index: int | None = None,
    ) -> dict[str, Any]:
        """Say what an answer was worth, from -1 to 1, or what it should have been; gives what that did."""
        body = {
            "completion_id": completion_id,
            "feedback": feedback,
            "corrected": corrected,
            "index": index,
        }
        done: dict[str, Any] = self._json("POST", f"{self.address.api}/feedback", _without_none(body))
        return done

    def consolidate(self, *, model: str | None = None) -> dict[str, Any]:
        """Make one adapter of what this key's feedback left, where that helps; gives what that did."""
        body = _without_none({"model": model})
        done: dict[str, Any] = self._json("POST", f"{self.address.api}/feedback/consolidate", body)
        return done

    def begin_training(self, *, tenant: str | None = None, model: str | None = None) -> dict[str, Any]:
        """Begin to train all layers on a tenant's good answers; `learning` tells how that goes."""
        body = _without_none({"tenant": tenant, "model": model})
        done: dict[str, Any] = self._json("POST", f"{self.address.api}/feedback/train", body)
        return done

    def undo_feedback(self, *, steps: int = 1, model: str | None = None) -> dict[str, Any]:
        """Undo what this key's feedback changed last."""
        body = _without_none({"steps": steps, "model": model})
        done: dict[str, Any] = self._json("POST", f"{self.address.api}/feedback/rollback", body)
        return done

    def _answered(
        self,
        method: str,
        url: str,
        body: Mapping[str, Any] | None = None,
        *,
        silence_seconds: float | None = None,
    ) -> "httpx.Response":
        timeout = self._client.timeout if silence_seconds is None else silence_seconds
        with _translated(self.address):
            response = self._client.request(method, url, json=body, timeout=timeout)
        if response.status_code != 200:
            raise failure_of(response.status_code, response.content, response.headers)
        return response

    def _json(
        self,
        method: str,
        url: str,
        body: Mapping[str, Any] | None = None,
        *,
        silence_seconds: float | None = None,
    ) -> Any:
        response = self._answered(method, url, body, silence_seconds=silence_seconds)
        try:
            return response.json()
        except ValueError as error:
            raise BackendError(f"{url} answers no JSON; is this an OpenAI-compatible server?") from error


class AnswerStream(Closing, Iterator[Chunk]):
    """An answer of a server, piece by piece. `close` hangs up, by which the server ends the request.

    `is_thinking` says that what comes now are thoughts in a field of their own, which are no part of it.
    """

    def __init__(self, address: Address, response: "httpx.Response", begun: float) -> None:
        self._address = address
        self._response = response
        self._events = self._read(response)
        self._begun = begun
        self._first_token_seconds: float | None = None
        self._finish_reason: str | None = None
        self._usage: Usage | None = None
        self._timings: ServerTimings | None = None
        self._characters = WholeCharacters()
        self.is_thinking = False
        self._ended = False

    def __iter__(self) -> "AnswerStream":
        return self

    def __next__(self) -> Chunk:
        if self._ended:
            raise StopIteration
        with _translated(self._address):
            for event in self._events:
                if event.data == DONE:
                    break
                piece = read_piece(event)
                self._note(piece)
                if text := self._characters.feed(piece.text):
                    return Chunk(text=text)
        return self._last()

    def close(self) -> None:
        """Hang up."""
        self._ended = True
        self._response.close()

    def __del__(self) -> None:
        if hasattr(self, "_response"):
            self._response.close()

    @staticmethod
    def _read(response: "httpx.Response") -> Iterator[Event]:
        decoder = EventDecoder()
        for part in response.iter_bytes():
            yield from decoder.feed(part)

    def _note(self, piece: Piece) -> None:
        if self._first_token_seconds is None and (piece.text or piece.thought):
            self._first_token_seconds = time.perf_counter() - self._begun
        self.is_thinking = bool(piece.thought) or (self.is_thinking and not piece.text)
        self._finish_reason = piece.finish_reason or self._finish_reason
        self._usage = piece.usage or self._usage
        self._timings = piece.timings or self._timings

    def _last(self) -> Chunk:
        """What a local model's last chunk says, too: why, how many and how long."""
        total = time.perf_counter() - self._begun
        self.close()
        if self._finish_reason is None:
            raise IoError("the server ended the connection in the middle of the answer")
        if self._finish_reason not in _FINISH_REASONS:
            raise GenerationError(f"the server ended the answer because of {self._finish_reason!r}")
        first = total if self._first_token_seconds is None else self._first_token_seconds
        return Chunk(
            text=self._characters.end(),
            finish_reason=cast("FinishReason", self._finish_reason),
            usage=self._usage,
            timings=timings_of(first, total, self._usage, self._timings),
        )


def chat_request(model: str, messages: list[Message], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a request for a streamed answer with its counts."""
    return {
        "model": model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        **settings,
    }


def _without_none(body: Mapping[str, Any]) -> dict[str, Any]:
    """Only what is said: other servers know fewer fields."""
    return {name: value for name, value in body.items() if value is not None}


def authorization(api_key: str | None) -> dict[str, str]:
    """The header that carries a key; none without one. A key that no header can hold is refused."""
    if not api_key:
        return {}
    if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise ConfigError("the API key has characters that no key can have; was it copied whole?")
    return {"Authorization": f"Bearer {api_key}"}


@contextmanager
def _translated(address: Address) -> Iterator[None]:
    """The network's errors as ours."""
    import httpx

    try:
        with of_whole_characters("what is said to the server"):
            yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise not_running(address, error) from error
    except httpx.TimeoutException as error:
        raise IoError(f"the server at {address.root} was silent for too long") from error
    except httpx.HTTPError as error:
        raise IoError(f"the connection to {address.root} broke: {_reason(error)}") from error


def not_running(address: Address, error: Exception) -> IoError:
    """The error where nothing answers."""
    return IoError(
        f"no server answers at {address.root} ({_reason(error)}); is it running? "
        "`ruvllm serve MODEL` starts one"
    )


def _check_is_stream(headers: Mapping[str, str]) -> None:
    kind = headers.get("content-type", "")
    if not kind.startswith("text/event-stream"):
        raise BackendError(
            f"the server answers with {kind or 'no content type'} instead of a stream of events; "
            "is this an OpenAI-compatible server?"
        )


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
