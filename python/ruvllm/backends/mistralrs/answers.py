"""One request on mistral.rs: our parameters as its, its chunks as our tokens."""

import threading
from typing import Any

from ruvllm.backends.mistralrs.words import Words
from ruvllm.backends.streaming_engine import Ended, Made, TokenStream
from ruvllm.errors import BackendError, ConfigError, ContextLengthError, OutOfMemoryError, RuvLLMError
from ruvllm.outputs import TokenLogprob
from ruvllm.runtime.request import GenerationTask

__all__ = ["Answers"]


class Answers:
    """Starts answers of one runner."""

    def __init__(
        self, package: Any, runner: Any, words: Words, end_tokens: tuple[int, ...], *, keeps_prefixes: bool
    ) -> None:
        self._keeps_prefixes = keeps_prefixes
        self._package = package
        self._runner = runner
        self._words = words
        self._lock = threading.Lock()
        self._ends = [words.text_of(token) for token in end_tokens]

    def begin(self, task: GenerationTask) -> TokenStream:
        """The tokens of an answer; `begin` of `StreamingEngine`."""
        try:
            # A runner refuses to be called by two at once; what it gives may be read beside that.
            with self._lock:
                chunks = self._runner.send_chat_completion_request(self._request(task))
            yield from self._tokens(task, chunks)
        except RuvLLMError:
            raise
        except ValueError as error:
            raise _as_ours(error) from error

    def _request(self, task: GenerationTask) -> Any:
        """All is said, also what is neutral: it fills in what a model's files say otherwise."""
        params = task.params
        if self._keeps_prefixes and (task.tenant or not params.cache_prefix):
            raise ConfigError(
                "the backend 'mistralrs' was told by prefix_cache_n to keep what is computed, of everyone "
                "for everyone: leave that out for requests of tenants or with cache_prefix=False"
            )
        return self._package.ChatCompletionRequest(
            model="default",
            # The runner's template is the message itself.
            messages=[{"role": "user", "content": self._words.prompt(task.token_ids)}],
            stream=True,
            # Tokens are told by their log-probabilities alone.
            logprobs=True,
            top_logprobs=max(1, params.logprobs or 0),
            max_tokens=task.max_tokens,
            temperature=params.temperature,
            top_k=params.top_k,
            top_p=params.top_p,
            min_p=params.min_p,
            repetition_penalty=params.repetition_penalty,
            presence_penalty=params.presence_penalty,
            frequency_penalty=params.frequency_penalty,
            logit_bias=dict(params.logit_bias),
            ignore_eos=params.ignore_eos,
            # Texts that end an answer are found in front; these are tokens, of which it knows one by itself.
            stop_seqs=None if params.ignore_eos else self._ends,
        )

    def _tokens(self, task: GenerationTask, chunks: Any) -> TokenStream:
        told = 0
        for chunk in chunks:
            choice = chunk.choices[0]
            reason = choice.finish_reason
            if reason not in (None, "length", "stop"):
                raise BackendError(f"mistralrs ended the answer by {reason!r}")
            if choice.logprobs is None and choice.delta.content:
                raise BackendError("mistralrs gave a text without its token")
            # The last chunk may be the end alone.
            if reason != "stop" and choice.logprobs is not None:
                told += 1
                yield self._made(task, choice.logprobs)
            if reason is not None:
                yield self._ended(task, reason, told, chunk.usage)

    def _made(self, task: GenerationTask, told: Any) -> Made:
        piece, likeliest = bytes(told.bytes), [(one.token, one.logprob) for one in told.top_logprobs]
        token = self._words.token(piece, (one for one, _ in likeliest))
        logprob = None
        if task.params.logprobs is not None:
            logprob = TokenLogprob(
                token_id=token,
                logprob=told.logprob,
                top_logprobs=tuple(likeliest[: task.params.logprobs]),
            )
        return Made(token_id=token, piece=b"" if self._words.is_special(token) else piece, logprob=logprob)

    def _ended(self, task: GenerationTask, reason: str, told: int, usage: Any) -> Ended:
        # What it reads is checked before; this would be a prompt that its template has changed.
        if usage.prompt_tokens != len(task.token_ids):
            raise BackendError(
                f"mistralrs read the prompt as {usage.prompt_tokens} tokens in place of {len(task.token_ids)}"
            )
        made = usage.completion_tokens - (reason == "stop")
        if task.params.logprobs is not None and made != told:
            raise BackendError(
                f"mistralrs told of {told} of the {made} tokens that it made: there are marks among them, "
                "which it does not show; ask without logprobs"
            )
        return Ended(reason="stop" if reason == "stop" else "length", completion_tokens=made)


def _as_ours(error: ValueError) -> Exception:
    """An error of theirs, all of which are of one class, as one of ours."""
    # What follows is where in their program it was.
    what = str(error).partition("\n")[0]
    if "sequence length is greater than" in what:
        return ContextLengthError(f"mistralrs: {what}")
    if "out of memory" in what.lower():
        return OutOfMemoryError(f"mistralrs: {what}")
    return BackendError(f"mistralrs: {what}")
