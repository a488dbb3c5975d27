"""`ToolConversation`: a conversation in which the model calls tools and is told what came of it."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ruvllm.errors import SessionError
from ruvllm.outputs import Completion
from ruvllm.params import GenerateKeywords, GenerateParams
from ruvllm.runtime.unpicklable import Unpicklable
from ruvllm.tools import ToolCall, ToolChoice, ToolChoiceLike, ToolDefinition, ToolLike, check_tools

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ruvllm.llm import LLM

__all__ = ["ToolConversation"]


class ToolConversation(Unpicklable):
    """Messages, calls and results, in the order in which they come.

        with LLM("smollm2-135m") as llm:
            talk = ToolConversation(llm, [weather])
            answer = talk.send_message("How is the weather in Oslo?")
            while answer.tool_calls:
                answer = talk.submit_tool_results({call.id: run(call) for call in answer.tool_calls})
            print(answer.text)

    One thread at a time; other conversations of the same model run beside it.
    """

    def __init__(
        self,
        llm: "LLM",
        tools: Sequence[ToolLike],
        system_prompt: str | None = None,
        *,
        params: GenerateParams | None = None,
        parallel_tool_calls: bool = True,
        **keywords: "Unpack[GenerateKeywords]",
    ) -> None:
        """Begin a conversation.

        Args:
            llm: The model.
            tools: What may be called.
            system_prompt: What stands before all.
            params: How answers are made.
            parallel_tool_calls: Whether an answer may have several calls.
            **keywords: What `params` are to be other in, as in `LLM.generate`.
        """
        self.tools: tuple[ToolDefinition, ...] = check_tools(tools, ToolChoice())
        self.params = GenerateParams.of(params, keywords, beside=("system_prompt", "parallel_tool_calls"))
        self.params.check_one_answer("a turn of a conversation")
        self._llm = llm
        self._parallel = parallel_tool_calls
        self._messages: list[dict[str, Any]] = []
        self._pending: tuple[ToolCall, ...] = ()
        if system_prompt is not None:
            self._messages.append({"role": "system", "content": system_prompt})

    _instead = (
        "pass its `messages`, which are plain data, load the model there, and go on by "
        "llm.chat([*messages, ...], tools=...)"
    )

    def __repr__(self) -> str:
        return f"ToolConversation({self._llm!r}, tools={len(self.tools)}, messages={len(self._messages)})"

    @property
    def messages(self) -> list[dict[str, Any]]:
        """All messages so far."""
        return list(self._messages)

    @property
    def pending(self) -> tuple[ToolCall, ...]:
        """The calls whose results the model waits for."""
        return self._pending

    def send_message(self, text: str, tool_choice: ToolChoiceLike = None) -> Completion:
        """Say something. `SessionError` while results of calls are missing."""
        if self._pending:
            raise SessionError(f"the model waits for the results of {_names(self._pending)}")
        return self._answered([{"role": "user", "content": text}], tool_choice)

    def submit_tool_results(
        self, results: Mapping[str, Any], tool_choice: ToolChoiceLike = None
    ) -> Completion:
        """Tell what came of the pending calls, and get the answer to that.

        Args:
            results: By the calls' ids: a text, or values that become JSON. An exception is told to the model
                as what went wrong.
            tool_choice: As for `chat`.
        """
        missing = [call for call in self._pending if call.id not in results]
        unknown = set(results) - {call.id for call in self._pending}
        if missing or unknown or not self._pending:
            wanted = f"no result of {_names(missing)}" if missing else f"no pending call {sorted(unknown)}"
            raise SessionError(f"there is {wanted if missing or unknown else 'no call that waits for one'}")
        told = [
            {"role": "tool", "tool_call_id": call.id, "name": call.name, "content": _told(results[call.id])}
            for call in self._pending
        ]
        return self._answered(told, tool_choice)

    def _answered(self, more: list[dict[str, Any]], tool_choice: ToolChoiceLike) -> Completion:
        """The answer to more messages; where it fails, they have not been said."""
        # They may have been set since the conversation began.
        GenerateParams.of(self.params, {}).check_one_answer("a turn of a conversation")
        answer = self._llm.chat(
            [*self._messages, *more],
            self.params,
            tools=self.tools,
            tool_choice=tool_choice,
            parallel_tool_calls=self._parallel,
        )
        said: dict[str, Any] = {"role": "assistant", "content": answer.text}
        if answer.tool_calls:
            said["tool_calls"] = [call.as_dict() for call in answer.tool_calls]
        self._messages += [*more, said]
        self._pending = answer.tool_calls
        return answer


def _told(result: object) -> str:
    if isinstance(result, BaseException):
        return f"Error: {type(result).__name__}: {result}"
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str)


def _names(calls: Sequence[ToolCall]) -> str:
    return ", ".join(f"{call.name} ({call.id})" for call in calls)
