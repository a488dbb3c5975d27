"""How a model of the catalogue answers best, as it was measured of its very file.

It holds where a question is asked as it is, and only as far as nobody says otherwise: `LLM.chat` with a text,
`ChatSession`, `ruvllm run` and `chat`. Messages that a caller wrote, and requests to a server, get nothing
before them; nor does what is asked with tools, an adapter or a chat template of one's own, as it was
measured without.
"""

from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Any

__all__ = ["NOTHING", "SAMPLING", "Recommended"]

SAMPLING = ("temperature", "repetition_penalty")
"""What can be recommended of how tokens are chosen: names of `GenerateParams`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommended:
    """What is recommended of a model; `None` is nothing.

    >>> Recommended(system_prompt="", temperature=0.2).told()
    "temperature 0.2, system prompt '' (empty, in the place of the template's own)"

    Attributes:
        system_prompt: What stands before a question. An empty text takes away what the model's template puts
            there by itself; `None` leaves that.
        temperature: `GenerateParams.temperature`.
        repetition_penalty: `GenerateParams.repetition_penalty`.
    """

    system_prompt: str | None = None
    temperature: float | None = None
    repetition_penalty: float | None = None

    @property
    def given(self) -> dict[str, Any]:
        """What there is, by its name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def sampling(self) -> dict[str, float]:
        """What there is of how tokens are chosen: keywords of `GenerateParams`."""
        return {name: value for name, value in self.given.items() if name in SAMPLING}

    def told(self, *, but: Collection[str] = ()) -> str:
        """The same in words; `but` are names of what does not hold, as somebody said otherwise."""
        words = [f"{name} {value:g}" for name, value in self.sampling.items() if name not in but]
        if self.system_prompt is not None and "system_prompt" not in but:
            empty = "" if self.system_prompt else " (empty, in the place of the template's own)"
            words.append(f"system prompt {self.system_prompt!r}{empty}")
        return ", ".join(words)

    def before(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The messages behind the system prompt, unless they have one, or are begun with instructions."""
        if self.system_prompt is None or messages[0]["role"] in ("system", "developer"):
            return messages
        return [{"role": "system", "content": self.system_prompt}, *messages]


NOTHING: Recommended = Recommended()
