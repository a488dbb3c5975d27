"""How text is made, under the names of llama.cpp, which Ollama has too."""

from typing import Any, ClassVar

from pydantic import Field

from ruvllm.params import GenerateParams
from ruvllm.serve.errors import unsupported
from ruvllm.serve.schemas.base import Finite, SamplerFields, StopTexts

__all__ = ["LlamaSampling", "length"]

_OTHER_ENGINE = "it is another engine's setting"
_OTHERS = "tfs_z typ_p penalize_newline"


class LlamaSampling(SamplerFields):
    """The sampler's settings; those that are not given are `defaults`.

    With mirostat, filters that are not given are off; llama.cpp leaves all of them out.
    """

    temperature: Finite | None = Field(None, ge=0, le=2, description="0 takes the likeliest token.")
    top_p: Finite | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1, le=2**31 - 1, description="0 keeps all tokens.")
    min_p: Finite | None = Field(None, ge=0, lt=1)
    repeat_penalty: Finite | None = Field(None, gt=0, le=10, description="1 changes nothing; the default.")
    repeat_last_n: int | None = Field(None, ge=-1, le=2**31 - 1, description="-1, or 0 for no penalties.")
    presence_penalty: Finite | None = Field(None, ge=-2, le=2)
    frequency_penalty: Finite | None = Field(None, ge=-2, le=2)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63, description="Below 0 it is drawn.")
    stop: str | StopTexts | None = None

    defaults: ClassVar[dict[str, Any]] = {"temperature": 0.8, "top_k": 40, "top_p": 0.9, "min_p": 0.0}
    refused: ClassVar[dict[str, str]] = dict.fromkeys(_OTHERS.split(), _OTHER_ENGINE)

    def sampling(self, *, max_tokens: int, logprobs: int | None = None, place: str = "") -> GenerateParams:
        """The engine's parameters; `place` is where the fields stand, for errors."""
        chosen = {**self.defaults}
        if self.mirostat:
            chosen |= {"top_k": 0, "top_p": 1.0, "min_p": 0.0}
        for name in chosen:
            if (value := getattr(self, name)) is not None:
                chosen[name] = value
        repetition, presence, frequency = self._penalties(place)
        stops = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return GenerateParams(
            max_tokens=max_tokens,
            **{**chosen, "top_k": max(0, chosen["top_k"])},
            **self.sampler_params(),
            repetition_penalty=repetition,
            presence_penalty=presence,
            frequency_penalty=frequency,
            stop_sequences=tuple(stop for stop in stops if stop),
            seed=None if self.seed is None or self.seed < 0 else self.seed,
            logprobs=logprobs,
        )

    def _penalties(self, place: str) -> tuple[float, float, float]:
        nothing = (1.0, 0.0, 0.0)
        repetition = 1.0 if self.repeat_penalty is None else self.repeat_penalty
        asked = (repetition, self.presence_penalty or 0.0, self.frequency_penalty or 0.0)
        if self.repeat_last_n == 0:
            return nothing
        if asked != nothing and self.repeat_last_n not in (None, -1):
            why = "penalties look at all tokens: give -1, or 0 for none"
            raise unsupported(f"{place}repeat_last_n", why)
        return asked


def length(asked: int | None, otherwise: int) -> int:
    """The longest answer, where a number below 1 is none.

    >>> length(5, 99), length(-1, 99), length(None, 99)
    (5, 99, 99)
    """
    return asked if asked is not None and asked > 0 else otherwise
