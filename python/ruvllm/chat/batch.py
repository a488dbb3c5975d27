"""`BatchInference`: one instruction, many inputs, all together."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from ruvllm._checks import check_integer
from ruvllm.errors import BatchError
from ruvllm.outputs import Completion, Usage
from ruvllm.params import GenerateKeywords, GenerateParams
from ruvllm.runtime.gathering import Outcome
from ruvllm.runtime.unpicklable import Unpicklable

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ruvllm.llm import LLM
    from ruvllm.text.messages import MessageLike

__all__ = ["BatchInference"]


class BatchInference(Unpicklable):
    """Puts one instruction before each of many inputs.

        with LLM("smollm2-135m") as llm:
            batch = BatchInference(llm, "Translate into French: ")
            for completion in batch.run(["Good morning.", "Good night."]):
                print(completion.text)

    The inputs share the engine's steps, and the instruction is computed once: the first input computes it,
    the others wait for it and take it from the prefix cache.
    """

    def __init__(  # noqa: PLR0913 - the documented face
        self,
        llm: "LLM",
        instruction_prefix: str,
        *,
        chat: bool = False,
        params: GenerateParams | None = None,
        max_in_flight: int = 128,
        tenant: str = "",
        priority: int = 0,
        **keywords: "Unpack[GenerateKeywords]",
    ) -> None:
        """Take an instruction.

        Args:
            llm: The model.
            instruction_prefix: What stands before each input, with the white space between the two.
            chat: Whether the instruction is the system prompt and each input a user's message in the model's
                chat template, instead of one text.
            params: How answers are made.
            max_in_flight: So many inputs are with the engine at once; the others wait here, not in its queue.
            tenant: On whose account, as in `LLM.generate`.
            priority: As in `LLM.generate`.
            **keywords: What `params` are to be other in, as in `LLM.generate`.
        """
        self.instruction_prefix = instruction_prefix
        self._llm = llm
        self._chat = chat
        self._params = GenerateParams.of(
            params, keywords, beside=("chat", "max_in_flight", "tenant", "priority")
        )
        self._max_in_flight = check_integer("max_in_flight", max_in_flight, 1)
        self._tenant = tenant
        self._priority = priority
        self._usage = Usage(prompt_tokens=0, completion_tokens=0)
        self._usage_lock = threading.Lock()

    _instead = "pass the name of the model and the instruction, and make one there"

    def __repr__(self) -> str:
        return f"BatchInference({self._llm!r}, {self.instruction_prefix!r:.64})"

    @property
    def usage(self) -> Usage:
        """Tokens of all answers so far."""
        return self._usage

    def run(
        self, inputs: Iterable[str], *, progress: Callable[[int, int], None] | None = None
    ) -> list[Completion]:
        """Answer all inputs; the answers come in the order of the inputs.

        Every input is tried. Where some fail, `BatchError` is raised at the end, and has the answers of the
        others (`completions`) and what went wrong (`errors`).

        Args:
            inputs: The texts.
            progress: Called with the inputs that are done and all of them, failed ones included.
        """
        texts = list(inputs)
        completions: list[Completion | None] = [None] * len(texts)
        errors: dict[int, Exception] = {}
        for done, (index, outcome) in enumerate(self.stream(texts), start=1):
            if isinstance(outcome, Completion):
                completions[index] = outcome
            else:
                errors[index] = outcome
            if progress is not None:
                progress(done, len(texts))
        if errors:
            raise BatchError.of(completions, errors)
        return [completion for completion in completions if completion is not None]

    def stream(self, inputs: Iterable[str]) -> Iterator[tuple[int, Outcome]]:
        """Answer inputs and give each one's index with its outcome, in the order in which they end.

        An outcome is a `Completion`, or the error of this input. Inputs are taken from their iterable when
        there is room for them, so it may be as long as one likes; leaving the loop cancels what is under way.
        """
        outcomes = self._llm.as_completed(
            map(self._prompt, inputs),
            self._params,
            tenant=self._tenant,
            priority=self._priority,
            max_in_flight=self._max_in_flight,
        )
        with outcomes:
            for index, outcome in outcomes:
                if isinstance(outcome, Completion):
                    with self._usage_lock:
                        self._usage = self._usage + outcome.usage_of_choices
                yield index, outcome

    def _prompt(self, text: str) -> "str | Sequence[MessageLike]":
        if not self._chat:
            return self.instruction_prefix + text
        return [
            {"role": "system", "content": self.instruction_prefix},
            {"role": "user", "content": text},
        ]
