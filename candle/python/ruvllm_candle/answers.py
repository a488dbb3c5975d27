"""One request on candle: its logits, and the draws that this project's engine would make of them."""

from typing import TYPE_CHECKING

from ruvllm.backends.streaming_engine import Ended, Made, TokenStream
from ruvllm.outputs import TokenLogprob
from ruvllm.runtime.native_engine import generation_settings, sampling_settings
from ruvllm.runtime.request import GenerationTask
from ruvllm_candle import _candle

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Answers"]


class Answers:
    """Starts answers of one model, one after the other: it has one cache."""

    def __init__(self, model: _candle.Model, ground: _candle.Ground) -> None:
        self._model = model
        self._ground = ground

    def begin(self, task: GenerationTask) -> TokenStream:
        """The tokens of an answer; `begin` of `StreamingEngine`."""
        answer = _candle.Answer(
            self._model,
            self._ground,
            task.token_ids,
            sampling_settings(task.params),
            generation_settings(task),
        )
        made = 0
        try:
            while True:
                tokens, end = answer.step()
                for token, piece, told in tokens:
                    made += 1
                    yield Made(token_id=token, piece=piece, logprob=_logprob(token, told))
                if end is not None:
                    reason, stop_token = end
                    yield Ended(
                        reason="stop" if reason == "stop" else "length",
                        completion_tokens=made,
                        stop_token=stop_token,
                    )
                    return
        finally:
            answer.close()


def _logprob(token: int, told: "tuple[float, Sequence[tuple[int, float]]] | None") -> TokenLogprob | None:
    if told is None:
        return None
    logprob, top = told
    return TokenLogprob(token_id=token, logprob=logprob, top_logprobs=tuple(top))
