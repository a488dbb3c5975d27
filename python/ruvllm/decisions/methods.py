"""What a loaded model does with questions. `LLM` has these methods."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ruvllm.decisions.answers import Decision
from ruvllm.decisions.calibration import Example
from ruvllm.decisions.labelled import Labelled
from ruvllm.decisions.labels import Tokens
from ruvllm.decisions.params import DecisionParams
from ruvllm.decisions.plan import DecisionPlan, DecisionText
from ruvllm.decisions.questions import QuestionLike, questions_of
from ruvllm.runtime.evaluations import Evaluations
from ruvllm.runtime.open_model import OpenModel
from ruvllm.runtime.request import Terms
from ruvllm.runtime.text_methods import TextMethods
from ruvllm.text.common_texts import encode_each
from ruvllm.text.messages import MessageLike

if TYPE_CHECKING:
    from ruvllm.adapters.registry import AdapterChoice
    from ruvllm.runtime.awaited import Awaited

__all__ = ["DecisionMethods"]

# Models that could think first are asked not to: what is measured is the first token of the answer.
_WITHOUT_THINKING = {"enable_thinking": False}
_SOMETHING = {"role": "user", "content": "?"}


class DecisionMethods(TextMethods):
    """Decisions of the model in `_open`."""

    _open: OpenModel

    if TYPE_CHECKING:

        @property
        def _evaluations(self) -> Evaluations: ...
        def _terms(self, tenant: str = "", priority: int = 0, adapter: AdapterChoice = None) -> Terms: ...
        def on(self, terms: Terms) -> Awaited: ...  # noqa: D102

    def decide(
        self,
        input: str | Sequence[MessageLike],
        questions: QuestionLike | Iterable[QuestionLike],
        params: DecisionParams | None = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice" = None,
    ) -> Decision:
        """Answer typed questions about an input with probabilities; nothing is generated.

            angry = llm.decide("My card was charged twice!", Predicate("The customer is angry."))
            print(angry.answers[0].probability)

        Args:
            input: A text, or the messages of a conversation.
            questions: One `Predicate`, `Choice` or `Score`, or a list of up to 400, as values or as objects.
            params: How; the defaults are `DecisionParams()`.
            tenant: On whose account, as for `generate`.
            priority: As for `generate`.
            adapter: As for `generate`.
        """
        params = params or DecisionParams()
        plan = self.decision_plan(input, questions, params)
        terms = self._terms(tenant, priority, adapter)
        measured = self._evaluations.branches(plan.beginning, plan.branches, terms).wait()
        return plan.decision(measured, params)

    async def adecide(
        self,
        input: str | Sequence[MessageLike],
        questions: QuestionLike | Iterable[QuestionLike],
        params: DecisionParams | None = None,
        *,
        tenant: str = "",
        priority: int = 0,
        adapter: "AdapterChoice" = None,
    ) -> Decision:
        """Do the same as `decide`, to be awaited."""
        params = params or DecisionParams()
        plan = self.decision_plan(input, questions, params)
        work = self.on(self._terms(tenant, priority, adapter))
        return plan.decision(await work.branches(plan.beginning, plan.branches), params)

    def decision_plan(
        self,
        input: str | Sequence[MessageLike],
        questions: QuestionLike | Iterable[QuestionLike],
        params: DecisionParams | None = None,
    ) -> DecisionPlan:
        """What `decide` computes: tokens of prompts, and which tokens are measured where."""
        params = params or DecisionParams()
        text = DecisionText(self._prompts_tokens, self._label_tokens, next(iter(self._open.end_tokens), None))
        return DecisionPlan(text, input, questions_of(questions), params.orders)

    def decision_examples(self, labelled: Labelled, params: DecisionParams | None = None) -> list[Example]:
        """What the model says of questions whose answers are known, for `Calibration.fit`."""
        plan = self.decision_plan(labelled.input, labelled.questions, params)
        measured = self._evaluations.branches(plan.beginning, plan.branches, self._terms()).wait()
        return plan.examples(measured, labelled.right)

    def _prompts_tokens(self, asked: Sequence[Sequence[dict[str, Any]]]) -> list[list[int]]:
        """The tokens of several conversations; what they have in common is tokenized once."""
        rendered = [self.render_chat(messages, variables=_WITHOUT_THINKING) for messages in asked]
        return encode_each(self._required_tokenizer(), rendered)

    def _label_tokens(self, label: str) -> Tokens:
        """The tokens of a label at the beginning of an answer."""
        before = self.chat_tokens([_SOMETHING], variables=_WITHOUT_THINKING)
        answered = [_SOMETHING, {"role": "assistant", "content": label}]
        whole = self.chat_tokens(answered, continue_last=True, variables=_WITHOUT_THINKING)
        if len(whole) > len(before) and whole[: len(before)] == before:
            return tuple(whole[len(before) :])
        # The template writes an answer that there is otherwise than one that is to come.
        return tuple(self.tokenize(label, add_bos=False, parse_special=False))
