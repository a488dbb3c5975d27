"""The bodies of `/v1/decisions` and `/v1/systemone`: an input, and typed questions about it."""

import json
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ruvllm.decisions.orders import MAX_ORDERS
from ruvllm.decisions.questions import MAX_OPTIONS, MAX_QUESTIONS
from ruvllm.serve.errors import ApiError, unsupported
from ruvllm.serve.schemas.base import Body, Entries, Finite
from ruvllm.serve.schemas.chat import MAX_MESSAGES, MAX_PARTS
from ruvllm.serve.schemas.items import InputItem, item_messages

__all__ = ["DecisionFields", "DecisionRequest", "SystemOneRequest"]

Content = str | dict[str, Any] | list[Any]
_Object = Annotated[dict[str, Any], Entries(16)]
Parts = Annotated[list[_Object], Entries(MAX_PARTS)]


class DecisionFields(Body):
    """What both have besides their own form; nothing of it is OpenAI's or TypeSafe's."""

    model: str = Field(description="A name that /v1/models lists.")
    orders: Annotated[int, Field(ge=1, le=MAX_ORDERS)] | Literal["all"] | None = Field(
        None, description="In how many orders options are shown; the answer is the mean."
    )
    priority: int | None = Field(None, ge=-1000, le=1000, description="Higher ones go first among one's own.")


class DecisionRequest(DecisionFields):
    """OpenAI's form: messages or a text, and a list of questions."""

    input: str | Annotated[list[InputItem], Entries(MAX_MESSAGES, least=1)]
    questions: Annotated[list[_Object], Entries(MAX_QUESTIONS, least=1)]
    abstain_below: Annotated[Finite, Field(ge=0, le=1)] | None = Field(
        None, description="Answers of less confidence are refusals."
    )
    accepted: ClassVar[frozenset[str]] = frozenset(
        {"prompt_cache_key", "prompt_cache_options", "safety_identifier"}
    )

    def messages(self) -> list[dict[str, Any]]:
        """The input as messages; 400 by the place of what is none."""
        if isinstance(self.input, str):
            return [{"role": "user", "content": self.input}]
        return item_messages(self.input, ())

    def asked(self) -> list[dict[str, Any]]:
        """The questions as the library reads them: instructions of several parts are one text."""
        return [
            {**one, "instructions": _joined(one.get("instructions"), f"questions[{index}].instructions")}
            for index, one in enumerate(self.questions)
        ]


class SystemOneRequest(DecisionFields):
    """TypeSafe's form: a state, which may be any JSON, and questions by their names."""

    state: Content
    questions: Annotated[dict[str, _Object], Entries(MAX_QUESTIONS, least=1)]
    refused: ClassVar[dict[str, str]] = {"assets": "the model reads text only"}

    def messages(self) -> list[dict[str, Any]]:
        """The state as the user's message."""
        return [{"role": "user", "content": as_text(self.state)}]

    def asked(self) -> list[dict[str, Any]]:
        """The questions as the library reads them; 400 by its name for one that is none."""
        return [_of_system_one(name, one) for name, one in self.questions.items()]


def as_text(content: object) -> str:
    """A text as it is, anything else as JSON."""
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


def _joined(given: Any, where: str) -> Any:
    if not isinstance(given, list):
        return given
    return "\n".join(_part(part, f"{where}[{index}]") for index, part in enumerate(given))


def _part(part: Any, where: str) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "input_text" and isinstance(part.get("text"), str):
        text: str = part["text"]
        return text
    if kind == "input_json":
        return as_text(part.get("data"))
    raise unsupported(where, f"the model reads text, not {str(kind)[:40]!r}")


def _of_system_one(name: str, given: dict[str, Any]) -> dict[str, Any]:
    where = f"questions.{name}"
    read = {"noul": _noul, "choice": _choice, "score": _score}.get(str(given.get("type")))
    if read is None:
        kind = str(given.get("type"))[:40]
        message = f"{where}.type is {kind!r}; noul, choice and score are answered here"
        raise ApiError(400, message, code="invalid_value", param=f"{where}.type")
    instructions = given.get("instructions")
    text = "What fits the text best?" if instructions is None else as_text(instructions)
    return {"name": name, "instructions": text, **read(given.get("criteria"), f"{where}.criteria")}


def _noul(criteria: Any, where: str) -> dict[str, Any]:
    criteria = criteria or {}
    if not isinstance(criteria, dict):
        raise _wrong(where, "an object with true and false")
    described = {f"if_{key}": as_text(criteria[key]) for key in ("true", "false") if criteria.get(key)}
    return {"type": "predicate", **described}


def _choice(criteria: Any, where: str) -> dict[str, Any]:
    if not isinstance(criteria, dict) or not 2 <= len(criteria) <= MAX_OPTIONS:
        raise _wrong(where, f"an object of 2 to {MAX_OPTIONS} choices")
    options = [
        {"value": value, "description": None if text is None else as_text(text)}
        for value, text in criteria.items()
    ]
    return {"type": "choice", "choices": options}


def _score(criteria: Any, where: str) -> dict[str, Any]:
    if not isinstance(criteria, list) or not 2 <= len(criteria) <= MAX_OPTIONS:
        raise _wrong(where, f"a list of 2 to {MAX_OPTIONS} levels")
    return {"type": "score", "levels": [{"label": as_text(one)} for one in criteria]}


def _wrong(where: str, allowed: str) -> ApiError:
    return ApiError(400, f"{where} must be {allowed}", code="invalid_value", param=where)
