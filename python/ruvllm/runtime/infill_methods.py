"""What a loaded model does between two texts. `LLM` has these methods."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from ruvllm._checks import check_integer
from ruvllm.errors import TokenizationError
from ruvllm.outputs import Completion
from ruvllm.params import GenerateKeywords, GenerateParams, ParamsLike
from ruvllm.runtime.generations import Generations
from ruvllm.runtime.request import Terms
from ruvllm.runtime.text_methods import TextMethods
from ruvllm.text.infill import Infill, InfillFormat, InfillTokens, infill_format, stated_marks

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["InfillMethods"]


class InfillMethods(TextMethods):
    """Filling in the middle with the model in `_open`."""

    if TYPE_CHECKING:

        @property
        def _generations(self) -> Generations: ...
        def _chosen(self, params: ParamsLike) -> ParamsLike: ...

    def infill(
        self,
        prefix: str,
        suffix: str,
        params: ParamsLike = None,
        *,
        extra: Sequence[tuple[str, str]] = (),
        cut: bool = False,
        tenant: str = "",
        **keywords: "Unpack[GenerateKeywords]",
    ) -> Completion:
        r"""Write what stands between two texts, with a model that was trained for it.

            llm.infill("def add(a, b):\n    return ", "\n\nprint(add(1, 2))").text

        Other ways to ask take the tokens: `llm.stream(llm.infill_tokens(prefix, suffix))`.

        Args:
            prefix: What stands before the cursor.
            suffix: What stands after it.
            params: As for `generate`.
            extra: Other files that belong to it, each a name and a text, the most important last.
            cut: Leave out what is farthest from the cursor, where the texts do not fit with
                `params.max_tokens`; else they are refused.
            tenant: As for `generate`.
            **keywords: As for `generate`.
        """
        params = GenerateParams.of(self._chosen(params), keywords, beside=("extra", "cut", "tenant"))
        tokens = self.infill_tokens(prefix, suffix, extra=extra, room_for=params.max_tokens if cut else None)
        generations = self._generations
        return generations.answer(generations.prompt_answering(tokens, params, Terms(tenant)))

    def infill_tokens(
        self,
        prefix: str,
        suffix: str,
        *,
        extra: Sequence[tuple[str, str]] = (),
        begun: str = "",
        room_for: int | None = None,
    ) -> list[int]:
        """Give the tokens that the model sees for a text that it is to write between two others.

        What the texts say is text: marks such as `<|fim_middle|>` come from the model's format alone.

        Args:
            prefix: What stands before the cursor.
            suffix: What stands after it.
            extra: Other files that belong to it, each a name and a text, the most important last.
            begun: How the answer begins.
            room_for: Leave room for so many tokens of an answer, and leave out what is farthest from the
                cursor; `None` never leaves anything out.
        """
        infill = Infill(prefix=prefix, suffix=suffix, extra=extra, begun=begun)
        return self.infill_prompt(infill, room_for=room_for).token_ids

    def infill_prompt(self, infill: Infill, *, room_for: int | None = None) -> InfillTokens:
        """The same of values that stand already, with whether something was left out, for servers."""
        how = self._required_infill_format()
        room = None
        if room_for is not None:
            check_integer("room_for", room_for, 1)
            # A prompt has at least half of the context: an answer is the shorter one.
            room = max(self._open.max_context - room_for, self._open.max_context // 2)
        return how.tokens(self._required_tokenizer(), infill, room=room)

    @property
    def can_infill(self) -> bool:
        """Whether the model was trained to write between two texts, as far as its vocabulary tells."""
        return self._infill_format is not None

    @cached_property
    def _infill_format(self) -> InfillFormat | None:
        tokenizer = self.tokenizer
        return None if tokenizer is None else infill_format(tokenizer, stated_marks(self._open.path))

    def _required_infill_format(self) -> InfillFormat:
        self._required_tokenizer()
        if self._infill_format is None:
            raise TokenizationError(
                f"the model {self._open.text.name} was not trained to fill in the middle: its vocabulary has "
                "no marks for it, such as <|fim_prefix|>; ask a code model that has, or leave the suffix out"
            )
        return self._infill_format
