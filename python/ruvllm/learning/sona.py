"""`SonaLlm`: a model that learns from feedback while it answers, for one tenant."""

import uuid
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ruvllm._checks import check_type
from ruvllm.errors import ConfigError, SonaError
from ruvllm.learning.background import BackgroundLoop
from ruvllm.learning.config import SonaLlmConfig
from ruvllm.learning.deep import FEWEST, DeepLoop, DeepSample
from ruvllm.learning.tenant_learner import TenantLearner, checked_feedback
from ruvllm.learning.tenant_state import TenantState
from ruvllm.learning.tenants import Learning
from ruvllm.learning.values import AdaptationResult, DeepResult, LearningLoopStats
from ruvllm.outputs import Chunk, Completion
from ruvllm.params import GenerateKeywords, GenerateParams
from ruvllm.runtime.chat_methods import AskedKeywords, ChatKeywords, told_apart
from ruvllm.runtime.evaluations import TokenIds
from ruvllm.runtime.prompts import Prompt, is_conversation, prompts_of
from ruvllm.text.messages import MessageLike
from ruvllm.training.config import TrainingConfig
from ruvllm.training.values import OnProgress

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["SonaLlm"]

# Answers whose text still leads to what was kept of them.
MAX_KNOWN_TEXTS = 256
HEAD = "lm_head"


class LearningModel(Protocol):
    """What learning needs of a model; `LLM` has it."""

    @property
    def learning(self) -> Learning:
        """Who learns on it."""

    def generate(
        self, prompt: Prompt, params: GenerateParams | None = None, *, tenant: str = ""
    ) -> Completion:
        """Continue a prompt."""

    def chat(
        self,
        messages: str | Sequence[MessageLike],
        params: GenerateParams | None = None,
        *,
        tenant: str = "",
        **keywords: "Unpack[ChatKeywords]",
    ) -> Completion:
        """Answer a conversation."""

    def stream(
        self,
        prompt: Prompt | Sequence[MessageLike],
        params: GenerateParams | None = None,
        *,
        tenant: str = "",
    ) -> Iterator[Chunk]:
        """Do either piece by piece."""

    def logits(self, token_ids: TokenIds, *, tenant: str = "") -> NDArray[np.float32]:
        """Give the logits after each token."""

    def score(self, token_ids: TokenIds, *, tenant: str = "") -> NDArray[np.float32]:
        """Give how unlikely each token is after those before it."""

    def tokenize(self, text: str, *, add_bos: bool | None = None, parse_special: bool = True) -> list[int]:
        """Give a text's tokens."""

    def chat_tokens(self, messages: str | Sequence[MessageLike]) -> list[int]:
        """Give the tokens of a conversation."""


class SonaLlm:
    """A model that learns from feedback while it answers: what one tenant says changes what that tenant gets.

        with LLM("smollm2-135m") as llm:
            sona = SonaLlm(llm, tenant="acme")
            answer = sona.chat("What is machine learning?")
            sona.feedback(answer.completion_id, 1.0)

    Learning begins with the first `SonaLlm` of a tenant; all of one tenant share what is learned, and
    requests that name the tenant (`llm.generate(..., tenant="acme")`) use it as well. Feedback moves an
    adapter of rank 1 or 2 on the last hidden state: keys and values do not depend on it, and cached
    prefixes stay.

    Every method may be called from any thread; in coroutines, await them by `asyncio.to_thread`.
    """

    def __init__(self, llm: Any, config: SonaLlmConfig | None = None, *, tenant: str = "default") -> None:
        """Begin to learn, or go on.

        Args:
            llm: An `LLM`, or an `AsyncEngine`, whose model it is then.
            config: How; the defaults are `SonaLlmConfig()`. A tenant that learns already keeps its own.
            tenant: Whose feedback it is, and whose requests it changes.
        """
        self._llm = cast("LearningModel", getattr(llm, "llm", llm))
        self.tenant = tenant
        learning: Learning = self._llm.learning
        self._learner: TenantLearner = learning.learner(tenant, config)
        self._background: BackgroundLoop = learning.background(tenant)
        self._deep: DeepLoop = learning.deep(tenant)
        # By what was asked and the text of the answer.
        self._known: OrderedDict[tuple[str, str], str] = OrderedDict()

    def __repr__(self) -> str:
        return f"SonaLlm({self._llm!r}, tenant={self.tenant!r})"

    @property
    def config(self) -> SonaLlmConfig:
        """How it learns."""
        return self._learner.config

    @property
    def state(self) -> TenantState:
        """What is learned now: matrices and numbers that never change."""
        return self._learner.state

    @property
    def learner(self) -> TenantLearner:
        """What learns for the tenant, for whoever keeps a log of it or its state."""
        return self._learner

    # -- answers

    def generate(
        self,
        prompt: Prompt,
        params: GenerateParams | None = None,
        **keywords: "Unpack[GenerateKeywords]",
    ) -> Completion:
        """Continue one prompt, as `LLM.generate` does, with what was learned.

        sona.generate("Once upon a time", max_tokens=40)
        """
        params = GenerateParams.of(params, keywords)
        prompt = _one(prompt, "prompt")
        return self._noted(prompt, self._llm.generate(prompt, params, tenant=self.tenant))

    def chat(
        self,
        messages: str | Sequence[MessageLike],
        params: GenerateParams | None = None,
        **keywords: "Unpack[ChatKeywords]",
    ) -> Completion:
        """Answer one conversation, as `LLM.chat` does, with what was learned."""
        changes, _ = told_apart(keywords)
        # Refuses what only `LLM.chat` takes; what is not said, it decides: a model may have recommendations.
        GenerateParams.of(params, changes, beside=tuple(AskedKeywords.__optional_keys__))
        messages = _one(messages, "conversation")
        return self._noted(messages, self._llm.chat(messages, params, tenant=self.tenant, **keywords))

    def stream(
        self,
        prompt: Prompt | Sequence[MessageLike],
        params: GenerateParams | None = None,
        **keywords: "Unpack[GenerateKeywords]",
    ) -> Iterator[Chunk]:
        """Do either piece by piece; the last chunk has the `completion_id`."""
        return self._llm.stream(prompt, GenerateParams.of(params, keywords), tenant=self.tenant)

    def logits(self, token_ids: TokenIds) -> NDArray[np.float32]:
        """The logits after each token, with what was learned."""
        return self._llm.logits(token_ids, tenant=self.tenant)

    def score(self, token_ids: TokenIds) -> NDArray[np.float32]:
        """The negative log-likelihood of each token but the first, with what was learned."""
        return self._llm.score(token_ids, tenant=self.tenant)

    def forward(self, input: NDArray[np.float32], module: str = HEAD) -> NDArray[np.float32]:
        """What is added to last hidden states, `[hidden]` or `[rows, hidden]`, before the head.

        The instant loop learns there alone; another `module` is a `ConfigError`.
        """
        if module != HEAD:
            raise ConfigError(f"module is {module!r}; what is learned acts before {HEAD!r} alone")
        state = self.state
        rows = np.asarray(input, np.float32)
        if rows.ndim not in (1, 2) or rows.shape[-1] != state.hidden:
            raise ConfigError(f"input is of shape {rows.shape}; its rows must have {state.hidden} numbers")
        added = state.scale * (rows @ state.a.T) @ state.b
        return cast("NDArray[np.float32]", added.astype(np.float32, copy=False))

    # -- the instant loop

    def instant_adapt(
        self,
        request: Prompt | Sequence[MessageLike],
        response: str | Completion,
        feedback: float,
    ) -> AdaptationResult:
        """Learn that a response was good (1), bad (0), or anything between.

            sona.instant_adapt("What is machine learning?", "Machine learning is...", 0.9)

        Args:
            request: A prompt as for `generate`, or messages as for `chat`.
            response: The answer, or its text. Of one that was generated here the captured states are
                used; another one goes through the model once.
            feedback: From 0 to 1. It counts by how far it lies from what was expected until now.
        """
        checked_feedback(feedback)
        if isinstance(response, Completion):
            if response.completion_id is None:
                raise SonaError("the completion was not kept: nobody learned for its tenant when it was made")
            return self.feedback(response.completion_id, feedback)
        check_type("response", response, str)
        if not response:
            raise SonaError("response is empty; there is nothing to learn from")
        known = self._known.get((_key(request), response))
        if known is not None and self._learner.has(known):
            return self.feedback(known, feedback)
        prompt = self._prompt_tokens(request)
        captured = self._llm.learning.captured(self.tenant, prompt, self._response_tokens(response))
        return self._learner.adapt(captured, f"given-{uuid.uuid4().hex}", feedback, prompt=prompt)

    def correct(
        self,
        request: Prompt | Sequence[MessageLike],
        response: str | Completion | None,
        corrected: str,
    ) -> AdaptationResult:
        """Learn what the answer should have been; the one that was given counts as bad, where it is kept.

            sona.correct("What is the capital of Australia?", answer, "Canberra.")

        Both together move no farther than one feedback may, and are undone as one.
        """
        check_type("corrected", corrected, str)
        if not corrected:
            raise SonaError("corrected is empty; there is nothing to learn from")
        if isinstance(response, Completion):
            given = response.completion_id
        else:
            given = None if response is None else self._known.get((_key(request), response))
        prompt = self._prompt_tokens(request)
        captured = self._llm.learning.captured(self.tenant, prompt, self._response_tokens(corrected))
        return self._learner.correct(captured, f"corrected-{uuid.uuid4().hex}", prompt=prompt, given=given)

    def feedback(self, completion_id: str | None, feedback: float) -> AdaptationResult:
        """The same by the `completion_id` of an answer that was generated for this tenant.

        An id that is not known, another tenant's too, is a `NotFoundError`.
        """
        if not isinstance(completion_id, str):
            raise SonaError(f"completion_id is {completion_id!r}; it must be a completion's, which is a text")
        return self._learner.feedback(completion_id, feedback)

    # -- the loops behind it

    def background_consolidate(self) -> AdaptationResult:
        """Make one adapter of what was learned since the last time, by the config's strategy.

        What comes out is measured on the latest answers with feedback; where what there is or what there was
        before does better, that is kept.
        """
        return self._background.consolidate()

    def maybe_background(self) -> AdaptationResult | None:
        """The same, if enough feedback waits for it and the interval is over; else `None`."""
        return self._background.maybe()

    def start_background(self) -> None:
        """Let a thread of low priority do that from here on, until `stop_background`; requests go first."""
        self._llm.learning.background_thread.add(self._background)

    def stop_background(self) -> None:
        """Have no more turns taken by it."""
        self._llm.learning.background_thread.remove(self._background)

    def deep_optimize(
        self,
        samples: Sequence[DeepSample] | None = None,
        config: TrainingConfig | None = None,
        *,
        on_progress: OnProgress | None = None,
    ) -> DeepResult:
        """Train an adapter of all layers, for minutes, which the tenant's next requests have if it helps.

        Whether it does is measured by a share of the samples that is kept out of training. Requests go on
        meanwhile, and go first. `rollback` undoes it.

        Args:
            samples: What to learn; by default the answers of this tenant that had good feedback.
            config: How; by default the `training` of `SonaLlmConfig`.
            on_progress: Called after each step; what it raises ends the turn, and nothing has changed.
        """
        return self._deep.optimize(samples, config, on_progress)

    def should_trigger_deep(self) -> bool:
        """Whether the qualities since the deep loop ran last come to `deep_trigger_threshold`.

        Only where there is something to train on as well.
        """
        is_due = self.stats().accumulated_quality >= self.config.deep_trigger_threshold
        return is_due and len(self._deep.samples()) >= FEWEST

    # -- back, and figures

    def rollback(self, steps: int = 1) -> AdaptationResult:
        """Undo so many changes: the next requests are as they were then, to the bit."""
        return self._learner.rollback(steps)

    def reset(self) -> AdaptationResult:
        """Forget what was learned; `rollback` brings it back."""
        return self._learner.reset()

    def stats(self) -> LearningLoopStats:
        """What the loops did so far."""
        return self._learner.stats()

    # -- what is asked and answered

    def _noted(self, request: object, completion: Completion) -> Completion:
        for one in completion.choices:
            if one.completion_id is not None:
                self._known[_key(request), one.text] = one.completion_id
        while len(self._known) > MAX_KNOWN_TEXTS:
            self._known.popitem(last=False)
        return completion

    def _prompt_tokens(self, request: Prompt | Sequence[MessageLike]) -> list[int]:
        if isinstance(request, str):
            return self._llm.tokenize(request)
        if is_conversation(request):
            return self._llm.chat_tokens(cast("Sequence[MessageLike]", request))
        return [int(token) for token in cast("Sequence[int]", request)]

    def _response_tokens(self, response: str) -> list[int]:
        return self._llm.tokenize(response, add_bos=False, parse_special=False)


def _one(request: Any, name: str) -> Any:
    """The one that was given; `ConfigError` for a list, since each answer is learned from by itself."""
    each, count = prompts_of(request, name)
    if count is not None:
        raise ConfigError(
            f"the {name} is a list of {count}; `SonaLlm` takes one {name} in a call: call it for each, or "
            "`LLM` with the same `tenant` for all"
        )
    return each[0]


def _key(request: object) -> str:
    """What was asked, as it was given."""
    return repr(request)
