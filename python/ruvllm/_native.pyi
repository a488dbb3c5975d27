"""Typed face of the extension module. Private: every name has a public face elsewhere.

One engine belongs to one thread (the loop in `runtime/`): `add`, `advance`, `remove` and
`status` are called there alone. `cancel`, `interrupt` and `events` may be called from any thread.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Protocol, TypeAlias, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

def dequantize(type_name: str, data: NDArray[np.uint8]) -> NDArray[np.float32]: ...
def quantize(type_name: str, values: NDArray[np.float32]) -> NDArray[np.uint8]: ...
def rms_norm(
    x: NDArray[np.float32], weight: NDArray[np.float32], epsilon: float, isa: str | None
) -> NDArray[np.float32]: ...
def softmax(x: NDArray[np.float32], columns: int, isa: str | None) -> NDArray[np.float32]: ...
def gate(
    gate: NDArray[np.float32], up: NDArray[np.float32], activation: str, isa: str | None
) -> NDArray[np.float32]: ...
def rope(
    x: NDArray[np.float32],
    positions: list[int],
    head_dim: int,
    rotation: tuple[int, float],
    isa: str | None,
) -> NDArray[np.float32]:
    """`rotation`: how many dimensions of a head turn, and the base."""

@final
class KernelPacks:
    """The kernel packs of a process: verified, compiled, swapped between two steps."""

    def __new__(
        cls,
        *,
        trusted_keys: Sequence[str],
        floors: str | None = None,
        isa: str | None = None,
    ) -> KernelPacks:
        """`floors`: the file that remembers the highest version of each name; `None` is in memory."""
    def verify(self, path: str) -> PackSummary:
        """Reads, verifies, compiles, compares with the native kernels; activates nothing."""
    def activate(self, path: str, allow_downgrade: bool) -> PackSummary: ...
    def rollback(self) -> PackSummary: ...
    def deactivate(self) -> None: ...
    def current(self) -> PackSummary | None: ...
    def previous(self) -> PackSummary | None: ...
    def calls(self) -> list[tuple[str, int, int, dict[str, int]]]:
        """Operation, calls in the pack, native calls, fallbacks by reason."""
    @property
    def automatic_rollbacks(self) -> int: ...
    def kernel(self, path: str, kernel_id: str) -> PackKernel:
        """One kernel of a verified pack, to be called by itself."""

@final
class PackSummary:
    """A pack that was verified."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def signer(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def kernels(self) -> list[str]: ...
    @property
    def generation(self) -> int:
        """Counts activations; 0 where it was only verified."""
    @property
    def is_broken(self) -> bool: ...
    @property
    def last_fault(self) -> str | None: ...

@final
class PackKernel:
    """A kernel of a pack."""

    @property
    def id(self) -> str: ...
    def call(
        self,
        a: NDArray[np.uint8],
        b: NDArray[np.uint8] | None,
        params: bytes,
        output: NDArray[np.uint8],
        scratch_bytes: int = 0,
    ) -> NDArray[np.uint8]:
        """The output's bytes after the call; `output` is what they are before."""

def sign_manifest(key: bytes, manifest: bytes) -> bytes:
    """The 64 bytes of a signature by the key of 32 secret bytes."""

def public_key(key: bytes) -> str:
    """`ed25519:` and the base64 of the public half."""

@final
class KvBlocks:
    """Keys and values of one layer in the engine's blocks, and attention over them."""

    BLOCK_TOKENS: ClassVar[int]
    def __new__(cls, blocks: int, kv_heads: int, head_dim: int, kv_format: str) -> KvBlocks: ...
    NO_BLOCK: ClassVar[int]
    @property
    def size(self) -> tuple[int, int]:
        """How many blocks there are, and bytes of each."""
    def store(
        self,
        block_table: list[int],
        position: int,
        keys: NDArray[np.float32],
        values: NDArray[np.float32],
    ) -> None: ...
    def attend(
        self,
        queries: NDArray[np.float32],
        shape: tuple[int, float, float | None, int | None],
        rows: tuple[list[tuple[int, int]], list[int]],
        isa: str | None,
        tail: tuple[KvBlocks, list[int], int] | None,
    ) -> NDArray[np.float32]:
        """`shape`: heads, scale, soft cap, window. `rows`: how many and the position of the first, of each
        sequence, and the block table. `tail`: other blocks, their table, and how many tokens they show."""
    def rows(self, block_table: list[int], begin: int, end: int) -> list[NDArray[np.float32]]:
        """Keys and values as they were stored, from one position up to another."""

@final
class PackedMatrix:
    """A matrix `[rows, columns]`, packed for this machine out of whole blocks of a tensor type."""

    def __new__(cls, type_name: str, data: NDArray[np.uint8], rows: int, columns: int) -> PackedMatrix: ...
    @property
    def rows(self) -> int: ...
    @property
    def columns(self) -> int: ...
    @property
    def type_name(self) -> str: ...
    @property
    def num_bytes(self) -> int: ...
    def multiply(self, x: NDArray[np.float32], activations: str, isa: str | None) -> NDArray[np.float32]: ...

def block_types() -> list[tuple[str, int, int]]:
    """Name, elements a block, bytes a block, for each tensor type the engine reads."""

@final
class System:
    """What this machine offers and what the engine chose."""

    @staticmethod
    def detect(isa: str | None = None, threads: int | None = None) -> System: ...
    @property
    def isa(self) -> str: ...
    @property
    def isa_reason(self) -> str: ...
    @property
    def available_isas(self) -> list[str]: ...
    @property
    def cpu_features(self) -> list[str]: ...
    @property
    def threads(self) -> int: ...
    @property
    def threads_reason(self) -> str: ...
    @property
    def debug_assertions(self) -> bool: ...

@final
class InstructionPeak:
    """The most that an instruction gives, all threads together."""

    @property
    def isas(self) -> list[str]: ...
    @property
    def instruction(self) -> str: ...
    @property
    def operands(self) -> str:
        """`int8`, `int16` or `f32`."""
    @property
    def operations_per_second(self) -> float: ...

@final
class Peaks:
    """The bounds of this machine."""

    @property
    def threads(self) -> int: ...
    @property
    def memory_bytes_per_second(self) -> float: ...
    @property
    def instructions(self) -> list[InstructionPeak]: ...

def measure_peaks(threads: int | None = None, free_bytes: int | None = None) -> Peaks:
    """Measures for about a second, with so many threads or as many as the engine would take."""

@final
class Tokenizer:
    """A tokenizer out of GGUF metadata."""

    def encode(self, text: str, add_special: bool, parse_special: bool) -> list[int]: ...
    def encode_pieces(self, pieces: Sequence[str], add_special: bool) -> list[int]:
        """Text and marks by turns."""
    def mark_texts(self) -> list[str]:
        """The texts that only a template writes as tokens."""
    def decode(self, token_ids: Sequence[int], skip_special: bool) -> bytes: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def adds_bos(self) -> bool: ...
    @property
    def bos_token(self) -> int | None: ...
    @property
    def eos_token(self) -> int | None: ...
    @property
    def end_tokens(self) -> list[int]: ...
    def token_text(self, token_id: int) -> str | None: ...
    def token_id(self, text: str) -> int | None: ...
    def vocabulary(self) -> Vocabulary: ...

@final
class Vocabulary:
    """The bytes of every token: what stop strings and streamed text are made of."""

    def __new__(cls, pieces: Sequence[bytes], special: Sequence[int]) -> Vocabulary: ...
    def __len__(self) -> int: ...
    def bytes(self, token_id: int) -> bytes | None: ...
    def is_special(self, token_id: int) -> bool: ...

@final
class Grammars:
    """The grammars of one model. Any thread; whoever asks first waits for the vocabulary."""

    def __new__(
        cls, vocabulary: Vocabulary, end_tokens: Sequence[int], tokenizer: Tokenizer | None
    ) -> Grammars: ...
    def grammar(self, kind: str, source: str) -> Grammar:
        """Gives the grammar of a source, compiled unless it is kept."""
    @property
    def bytes(self) -> int: ...

@final
class Grammar:
    """What one answer must be; any number may use it at the same time."""

    def accepts(self, text: str) -> bool:
        """Whether a text as a whole is what it allows."""
    @property
    def bytes(self) -> int: ...

@disjoint_base
class ModelHeader:
    """What the head of a model's files says."""

    @staticmethod
    def read(path: str | Path, activations: str) -> ModelHeader:
        """Checks a GGUF file or a folder as loading does, and reads no weight."""
    @property
    def architecture(self) -> str: ...
    @property
    def name(self) -> str | None: ...
    @property
    def quantization(self) -> str:
        """The tensor type that holds most weights: `Q4_1`, `F32`, ..."""
    @property
    def sizes(self) -> tuple[int, int]:
        """Weights in all, and bytes of the files."""
    @property
    def vocab_size(self) -> int: ...
    @property
    def hidden_size(self) -> int: ...
    @property
    def num_layers(self) -> int: ...
    @property
    def heads(self) -> tuple[int, int, int]:
        """Heads of queries, heads of keys and values, and how wide each is."""
    @property
    def max_context(self) -> int: ...
    def tensors(self) -> list[tuple[str, str, list[int]]]:
        """Name, type and shape of each tensor, outermost dimension first."""
    def kv_shape(self, formats: tuple[str, int | None, str | None]) -> tuple[str, int, list[int | None]]:
        """The format that a name stands for, bytes of a block, and of how many tokens each group has some."""

@final
class Model(ModelHeader):
    """Weights, packed for this machine."""

    @staticmethod
    def load(
        path: str,
        *,
        threads: int | None = None,
        isa: str | None = None,
        activations: str = "auto",
        progress: Callable[[int, int], None] | None = None,
        packs: KernelPacks | None = None,
        images: str | None = None,
        keep_image: bool = False,
        beside: Model | None = None,
    ) -> Model:
        """Reads a GGUF file or a folder; `activations` is `auto` or `f32`.

        `beside` is a model whose threads it computes on, in turns, instead of threads of its own.

        Where `images`, a folder, has the packed weights of this model, they are mapped; with `keep_image`
        they are written there where they are not.
        """
    @property
    def gguf_architecture(self) -> str:
        """The same as GGUF files have it."""
    @property
    def weight_bytes(self) -> tuple[int, int]:
        """Bytes of the packed weights, and how many of these are mapped from a file."""
    @property
    def image(self) -> tuple[Path | None, str | None]:
        """The image of the packed weights, and why there is none or it was not used."""
    def map_shape(self, module: str) -> tuple[int, int]:
        """Inputs and outputs of a linear map, by PEFT's name for it."""
    @property
    def threads(self) -> int: ...
    @property
    def isa(self) -> str: ...
    @property
    def chat_template(self) -> str | None:
        """From GGUF metadata; a folder's stands in tokenizer_config.json or chat_template.jinja."""
    @property
    def bos_token(self) -> int | None: ...
    @property
    def end_tokens(self) -> list[int]: ...
    def tokenizer(self) -> Tokenizer | None:
        """The GGUF file's tokenizer; `None` for a folder."""
    def importance(
        self, tokens: Sequence[int], chunk: int, progress: Callable[[int, int], None] | None
    ) -> list[tuple[str, NDArray[np.float32]]]:
        """Sums of squares of what goes into each matrix, by its name in GGUF files, over chunks of tokens."""

@final
class TokenEvent:
    """One sampled token; `text` is what became safe to show with it, possibly nothing."""

    @property
    def sequence(self) -> int: ...
    @property
    def token(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def logprob(self) -> float | None: ...
    @property
    def top_logprobs(self) -> list[tuple[int, float]] | None: ...

@final
class FinishedEvent:
    """The last event of a sequence that ended well; `reason`: stop, length, cancelled, done."""

    @property
    def sequence(self) -> int: ...
    @property
    def reason(self) -> str: ...
    @property
    def stopped_at(self) -> tuple[int | None, int | None] | None:
        """The index of the stop string, or the stop token, that ended it."""
    @property
    def text(self) -> str: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def completion_tokens(self) -> int: ...
    @property
    def cached_tokens(self) -> int: ...
    @property
    def cache_miss(self) -> str | None: ...
    @property
    def drafted_tokens(self) -> int:
        """Guesses of the answer's tokens that were computed."""
    @property
    def accepted_tokens(self) -> int:
        """Those that came true."""

@final
class ArrayEvent:
    """The result of an evaluation that gives an array.

    Logits `[tokens, vocab]`, an embedding `[hidden]`, or the log-probabilities of all candidates in turn.
    """

    @property
    def sequence(self) -> int: ...
    @property
    def values(self) -> NDArray[np.float32]: ...

@final
class ScoresEvent:
    """The result of scoring: each token but the first, its logprob, the likeliest tokens in its place."""

    @property
    def sequence(self) -> int: ...
    @property
    def scores(self) -> list[tuple[int, float, list[tuple[int, float]]]]: ...

@final
class FailedEvent:
    """The last event of a sequence that failed."""

    @property
    def sequence(self) -> int: ...
    @property
    def error(self) -> Exception: ...

Event = TokenEvent | FinishedEvent | ArrayEvent | ScoresEvent | FailedEvent

@final
class SequenceStatus:
    """How far one sequence is."""

    @property
    def sequence(self) -> int: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def computed_tokens(self) -> int: ...
    @property
    def total_tokens(self) -> int: ...
    @property
    def blocks(self) -> int: ...
    @property
    def is_paused(self) -> bool:
        """Whether it is set aside."""

@final
class Status:
    """What planning needs to know."""

    @property
    def sequences(self) -> list[SequenceStatus]: ...
    @property
    def free_blocks(self) -> int: ...
    @property
    def held_blocks(self) -> int:
        """Blocks that sequences hold, each counted once."""
    @property
    def total_blocks(self) -> int: ...
    @property
    def block_tokens(self) -> int: ...
    @property
    def windows(self) -> list[int | None]:
        """Of how many of the last tokens each group of layers has blocks."""
    @property
    def block_bytes(self) -> int: ...
    @property
    def room_blocks(self) -> int:
        """Blocks for which there are pages, held or not; the adapters in use have the rest of them."""
    @property
    def swapped_bytes(self) -> int:
        """Bytes kept of sequences that are set aside."""
    @property
    def steps(self) -> int:
        """Steps that were run to their end, since the beginning."""
    @property
    def rows(self) -> int:
        """Tokens that were computed in all of them."""
    @property
    def drafted_tokens(self) -> int:
        """Guesses that were computed, and those that came true."""
    @property
    def accepted_tokens(self) -> int: ...
    @property
    def step_costs(self) -> list[tuple[int, float]]:
        """Rows of a step, and how many times as long as a single one they were seen to take."""

@final
class PrefixStats:
    """Counters of the prefix cache since it was made, and what it holds now."""

    @property
    def lookups(self) -> int: ...
    @property
    def hits(self) -> int: ...
    @property
    def partial_hits(self) -> int: ...
    @property
    def misses(self) -> int: ...
    @property
    def miss_reasons(self) -> dict[str, int]: ...
    @property
    def evictions(self) -> int: ...
    @property
    def insertions(self) -> int: ...
    @property
    def refused(self) -> int: ...
    @property
    def lookup_tokens(self) -> int: ...
    @property
    def reused_tokens(self) -> int: ...
    @property
    def nodes(self) -> int: ...
    @property
    def tokens(self) -> int: ...
    @property
    def pinned(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...
    @property
    def max_memory_bytes(self) -> int: ...

@final
class PoolStats:
    """The page pool: pages, blocks, tenants."""

    @property
    def page_bytes(self) -> int: ...
    @property
    def total_pages(self) -> int: ...
    @property
    def kv_pages(self) -> int: ...
    @property
    def adapter_pages(self) -> int: ...
    @property
    def scratch_pages(self) -> int: ...
    @property
    def idle_pages(self) -> int: ...
    @property
    def highest_pages(self) -> int: ...
    @property
    def evictions(self) -> int: ...
    @property
    def block_bytes(self) -> int: ...
    @property
    def windows(self) -> list[int | None]: ...
    @property
    def total_blocks(self) -> int: ...
    @property
    def free_blocks(self) -> int: ...
    @property
    def cached_blocks(self) -> int: ...
    @property
    def swapped_bytes(self) -> int: ...
    @property
    def tenants(self) -> list[tuple[str, int, int, int | None]]:
        """Name, bytes now, bytes at most ever, quota."""

@final
class RadixTree:
    """Tokens to objects, by longest beginning."""

    def __new__(cls) -> RadixTree: ...
    def insert(self, tokens: Sequence[int] | NDArray[np.uint32], payload: object) -> int: ...
    def find(self, tokens: Sequence[int] | NDArray[np.uint32]) -> RadixMatch: ...
    def peek(self, tokens: Sequence[int] | NDArray[np.uint32]) -> int: ...
    def evict(self) -> tuple[int, Any] | None: ...
    @property
    def num_nodes(self) -> int: ...
    @property
    def num_tokens(self) -> int: ...
    @property
    def num_pins(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...
    @property
    def max_depth(self) -> int: ...
    def edges(self) -> list[tuple[int, list[int], int]]: ...
    def check_invariants(self) -> None: ...

@final
class RadixMatch:
    """A beginning that the tree knows; pinned until it is released."""

    @property
    def length(self) -> int: ...
    @property
    def segments(self) -> list[tuple[Any, int, int]]: ...
    def release(self) -> None: ...

@final
class OperationTime:
    """What one operation took, without what was timed inside it."""

    @property
    def operation(self) -> str: ...
    @property
    def calls(self) -> int: ...
    @property
    def nanoseconds(self) -> int: ...
    @property
    def operations(self) -> list[tuple[str, int]]:
        """Multiplications and additions of its products, by what was multiplied (see `InstructionPeak`)."""
    @property
    def weight_bytes(self) -> int: ...

@final
class Profile:
    """Where the time of steps went, in the order of a step."""

    @property
    def steps(self) -> int: ...
    @property
    def tokens(self) -> int: ...
    @property
    def times(self) -> list[OperationTime]: ...

class _MemorySettings(Protocol):
    @property
    def max_context(self) -> int: ...
    @property
    def kv_bytes(self) -> int: ...
    @property
    def kv(self) -> tuple[str, int | None, str | None]: ...
    @property
    def prefix_bytes(self) -> int: ...
    @property
    def prefix_entries(self) -> int: ...
    @property
    def high_watermark(self) -> float: ...
    @property
    def low_watermark(self) -> float: ...

class _Sampling(Protocol):
    """How tokens are chosen, validated against the vocabulary; samplers by their settings, in their order."""

    @property
    def temperature(self) -> float: ...
    @property
    def top_k(self) -> int: ...
    @property
    def top_p(self) -> float: ...
    @property
    def min_p(self) -> float: ...
    @property
    def typical_p(self) -> float: ...
    @property
    def top_n_sigma(self) -> float: ...
    @property
    def penalties(self) -> tuple[float, float, float]:
        """Of repetition, presence and frequency."""
    @property
    def dry(self) -> tuple[float, float, int, int | None, Sequence[str]] | None:
        """Multiplier, base, allowed length, how many of the last tokens are looked at, sequence breakers."""
    @property
    def xtc(self) -> tuple[float, float] | None:
        """Probability and threshold."""
    @property
    def dynamic_temperature(self) -> tuple[float, float] | None:
        """Range and exponent."""
    @property
    def mirostat(self) -> tuple[float, float] | None:
        """Tau and eta."""
    @property
    def logit_bias(self) -> Sequence[tuple[int, float]]: ...
    @property
    def seed(self) -> int | None: ...
    @property
    def logprobs(self) -> int | None: ...

class _GenerationSettings(Protocol):
    @property
    def max_tokens(self) -> int: ...
    @property
    def bounds(self) -> tuple[Sequence[str], Sequence[int], int, bool, Sequence[str]]:
        """Stop strings and tokens, how early none may come, whether the model's own count, what is banned."""
    @property
    def tenant(self) -> str: ...
    @property
    def cache_min_tokens(self) -> int | None: ...
    @property
    def adapters(self) -> Sequence[tuple[Adapter, float]]: ...
    @property
    def head(self) -> HeadAdapter | None: ...
    @property
    def capture(self) -> tuple[Captures, str, int] | None:
        """Where the answer is kept, under which name, and where one that is given begins."""
    @property
    def grammar(self) -> tuple[Grammar, str | None] | None:
        """What the answer must be, and behind which text of it that begins."""
    @property
    def thinking(self) -> tuple[int, str, str, Sequence[int]] | None:
        """A budget in tokens, the marks around thoughts, and the tokens that end them."""
    @property
    def keep_special(self) -> Sequence[str]: ...
    @property
    def prediction(self) -> Sequence[int] | None:
        """What the answer may be like; `None` where nothing is to be guessed."""
    @property
    def processor(self) -> Callable[[NDArray[np.uint32], NDArray[np.float32]], NDArray[np.float32]] | None:
        """Gives the logits that hold for those behind a text; both arrays are its own."""

class _EvaluationSettings(Protocol):
    @property
    def kind(self) -> str: ...
    @property
    def top_logprobs(self) -> int: ...
    @property
    def candidates(self) -> Sequence[tuple[int, Sequence[int]]]: ...
    @property
    def shared_tokens(self) -> int: ...
    @property
    def tenant(self) -> str: ...
    @property
    def adapters(self) -> Sequence[tuple[Adapter, float]]: ...
    @property
    def head(self) -> HeadAdapter | None: ...
    @property
    def capture(self) -> tuple[Captures, str, int] | None:
        """Where the answer is kept, under which name, and where one that is given begins."""

class _AdapterPart(Protocol):
    @property
    def layer(self) -> int: ...
    @property
    def module(self) -> str: ...
    @property
    def a(self) -> NDArray[np.float32] | NDArray[np.float16]: ...
    @property
    def b(self) -> NDArray[np.float32] | NDArray[np.float16]: ...
    @property
    def scale(self) -> float: ...
    @property
    def in_file_order(self) -> bool: ...

@final
class Adapter:
    """Low-rank matrices that fit a model, as it computes with them; ready as long as this."""

    @property
    def num_bytes(self) -> int: ...

@final
class AdapterPool:
    """Adapters that are ready, on pages of an engine's budget."""

    def __new__(cls, memory: EngineMemory, *, max_bytes: int) -> AdapterPool: ...
    def get(self, generation: int) -> Adapter | None:
        """One that is ready."""
    def put(self, model: Model, parts: Sequence[_AdapterPart], *, generation: int, seconds: float) -> Adapter:
        """Makes one ready, waiting so long for room. `a` is `[rank, inputs]`, `b` `[outputs, rank]`."""
    def forget(self, generation: int) -> None:
        """Takes one out that nobody will ask for again."""
    def stats(self) -> tuple[int, int, int, int, int]:
        """Those ready, their bytes and pages; how often one was made, and had to go."""

class _MicroFeedback(Protocol):
    @property
    def gradient_estimate(self) -> NDArray[np.float32] | None: ...
    @property
    def quality(self) -> float: ...
    @property
    def reward(self) -> float | None: ...
    @property
    def latency_us(self) -> int: ...

_Halves: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float32]]

@final
class HeadAdapter:
    """An adapter on the last hidden state, `h + scale * sum of b[r] * (a[r] . h)`; it never changes."""

    def __new__(cls, a: NDArray[np.float32], b: NDArray[np.float32], scale: float) -> HeadAdapter:
        """Both `[rank, hidden]`."""

@final
class Captures:
    """What is learned from, of answers that feedback may come for; the oldest are forgotten."""

    def __new__(cls, *, max_bytes: int, max_tokens: int) -> Captures:
        """`max_tokens`: the first so many of an answer."""
    def has(self, key: str) -> bool: ...
    def take(self, key: str) -> Captured | None: ...
    def usage(self) -> tuple[int, int]:
        """Answers, and their bytes."""

@final
class Captured:
    """What is learned from, of one answer: hidden states, and the likeliest tokens of each place."""

    @property
    def token_ids(self) -> list[int]:
        """Its tokens, the one that ended it included."""
    @property
    def num_bytes(self) -> int: ...

class _HeadState(Protocol):
    """Matrices `[rank, hidden]`, B turned over."""

    @property
    def a(self) -> NDArray[np.float32]: ...
    @property
    def b(self) -> NDArray[np.float32]: ...
    @property
    def scale(self) -> float: ...
    @property
    def fisher_a(self) -> NDArray[np.float32]: ...
    @property
    def fisher_b(self) -> NDArray[np.float32]: ...
    @property
    def anchor_a(self) -> NDArray[np.float32]: ...
    @property
    def anchor_b(self) -> NDArray[np.float32]: ...

@final
class HeadLearner:
    """Makes updates for one model, one at a time."""

    def __new__(cls, model: Model) -> HeadLearner: ...
    def judge(self, captured: Captured, state: _HeadState) -> tuple[float, float]:
        """The mean log-probability of the answer's tokens, and the divergence from no adapter."""
    def update(
        self,
        captured: Captured,
        advantage: float,
        state: _HeadState,
        limits: tuple[float, float, float, float, int],
    ) -> tuple[bool, tuple[float, float, float], float, list[NDArray[np.float32]]]:
        """`limits`: of divergence and drift, how strongly importance holds, what of it stays, and steps.

        Gives whether anything moved; the change of the answer's mean log-probability, divergence and drift;
        the scale; A, B, their importance and their anchors, flat.
        """

@final
class MicroLora:
    """An adapter that learns. Any thread.

    Matrices are flat: A `[rank, inputs]`, and B turned over `[rank, outputs]`.
    """

    def __new__(
        cls,
        maps: Sequence[tuple[str, int, int]],
        settings: tuple[int, float, float, int],
        isa: str | None,
    ) -> MicroLora:
        """`maps`: what messages call each, its inputs and outputs. `settings`: rank, alpha, dropout, seed."""
    def forward(self, place: int, input: NDArray[np.float32]) -> NDArray[np.float32]: ...
    def forward_add(self, place: int, input: NDArray[np.float32], output: NDArray[np.float32]) -> None: ...
    def adapt(self, places: Sequence[int], input: NDArray[np.float32], feedback: _MicroFeedback) -> bool: ...
    def apply(
        self,
        learning_rate: float,
        strength: float,
        terms: Sequence[tuple[int, Sequence[NDArray[np.float32]]]],
    ) -> int:
        """`terms`: which map, its Fisher of A and of B, its optimal A and B."""
    def weights(self) -> list[_Halves]: ...
    def take_fisher(self) -> list[tuple[_Halves | None, _Halves]]:
        """The means of squared gradients since the last time, and the weights."""
    def reset(self) -> None: ...
    @property
    def scale(self) -> float: ...
    def stats(self) -> tuple[int, int, int, int, float, int]:
        """Adaptations, feedback without, adaptations that wait, updates, sums of qualities, of latencies."""

_Example: TypeAlias = tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.float32]]

@final
class Training:
    """LoRA training over a loaded model, whose packed weights are read as they are.

    Any thread; one at a time works.
    """

    def __new__(
        cls,
        model: Model,
        *,
        rank: int,
        alpha: float,
        modules: Sequence[str],
        seed: int,
        layers: Sequence[int] | None = None,
    ) -> Training:
        """`modules`: PEFT's names of maps. A is drawn as PEFT draws it, B is 0."""
    def tensors(self) -> list[tuple[str, tuple[int, int]]]:
        """PEFT's keys, without `base_model.model.`, and shapes, layer by layer."""
    def read(self, name: str, kind: str = "value") -> NDArray[np.float32]:
        """A copy of `value`, `gradient`, `first_moment` or `second_moment` of a tensor."""
    def write(self, name: str, kind: str, values: NDArray[np.float32]) -> None: ...
    @property
    def steps(self) -> int:
        """Steps that were made: what AdamW corrects its means by, so a checkpoint has it."""
    def set_steps(self, steps: int) -> None: ...
    def accumulate(self, examples: Sequence[_Example], *, recompute: bool = True) -> list[float]:
        """The loss of each of `(tokens [n], ids [n, k], shares [n, k])`, whose gradients are added up.

        It is `-sum of shares[i, j] * log p(ids[i, j] | tokens[: i + 1])`. An error adds nothing, but for
        that of a loss that is no number, which clears all gradients.
        """
    def log_probs(self, tokens: NDArray[np.uint32], ids: NDArray[np.uint32]) -> NDArray[np.float32]:
        """Of each of `ids [n, k]` behind the tokens up to its row."""
    def step(
        self,
        *,
        learning_rate: float,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        max_gradient_norm: float | None = None,
        scale: float = 1.0,
    ) -> float:
        """One step of AdamW with `scale` times the gradients; gives their norm before it was cut.

        Gradients are cleared.
        """
    def activation_bytes(self) -> int:
        """Most that was held for a way back at once."""

@final
class Engine:
    """Runs plans over one model and one pool of key-value blocks."""

    def __new__(
        cls,
        model: Model,
        *,
        words: tuple[Vocabulary | None, Sequence[int]],
        memory: _MemorySettings,
        speculates: bool,
        draft: tuple[Model, Vocabulary | None, int] | None = None,
        record_on: Tape | None = None,
    ) -> Engine:
        """`words` are what its tokens say, and those that end an answer.

        `record_on` keeps what the model says of each text that it computes from the beginning: requests that
        take it out of the prefix cache leave nothing there.

        `kv_format`: `auto` (int16, or f32 where weights or activations are), or a format's name."""
    @staticmethod
    def replaying(
        header: ModelHeader,
        tape: Tape,
        *,
        words: tuple[Vocabulary | None, Sequence[int]],
        memory: _MemorySettings,
        threads: int | None = None,
    ) -> Engine:
        """Has a tape play the part of a model of which there is the head alone; it guesses by looking up.

        A text that is not on the tape fails its request. There are no embeddings, and nothing is learned.
        """
    def add_generation(
        self, tokens: Sequence[int], sampling: _Sampling, settings: _GenerationSettings
    ) -> int: ...
    def add_evaluation(self, tokens: Sequence[int], settings: _EvaluationSettings) -> int: ...
    def preempt(self, sequence: int, swap: bool) -> None:
        """Sets a sequence aside; a plan that names it takes it up again."""
    def trim(self) -> None:
        """Gives the pages back that nothing stands on."""
    def memory(self) -> EngineMemory:
        """Any thread. Gives the memory of the engine."""
    def advance(self, plan: Sequence[tuple[int, int]], max_steps: int) -> str:
        """Runs up to `max_steps` steps over `(sequence, prefill tokens a step)` rows.

        Returns why it paused: `finished`, `interrupted`, `horizon`, `blocks`.
        """
    def status(self) -> Status: ...
    def start_profile(self) -> None:
        """Any thread. Times the steps from here on; waits for the plan that is running."""
    def take_profile(self) -> Profile | None:
        """Any thread. Ends that and gives what was recorded."""
    def cancel(self, sequence: int) -> None:
        """Any thread. The sequence ends with reason `cancelled`, in the midst of a prefill too."""
    def interrupt(self) -> None:
        """Any thread. `advance` returns after the step that is running."""
    def events(self, timeout: float) -> list[Event]:
        """Any thread. Waits until there are events, or `timeout` seconds; empty then, or when closed."""
    def close(self) -> None:
        """Any thread. Wakes `events` and `advance` for good."""

@final
class Tape:
    """Logits by the texts that they follow upon."""

    def __new__(cls, kept: int) -> Tape:
        """Keeps the likeliest `kept` tokens of each row, and of the others how likely they are together."""
    @staticmethod
    def invented(seed: int) -> Tape:
        """Says something of every text, the same each time, and nothing that a model would."""
    def __len__(self) -> int:
        """Rows that were recorded."""

@final
class EngineMemory:
    """What an engine keeps. Any thread; each call waits for the plan that is running."""

    def prefix_stats(self) -> PrefixStats: ...
    def pool_stats(self) -> PoolStats: ...
    def set_quota(self, tenant: str, bytes: int | None) -> None: ...
    def make_room(self, bytes: int) -> None:
        """Forgets prefixes for others of the budget."""
    def clear_prefixes(self) -> None: ...
    def snapshot_prefixes(self, model: str) -> PrefixSnapshot: ...
    def load_prefixes(self, file: BinaryIO, model: str) -> tuple[int, int, int]:
        """Gives the nodes in the file, those that found room, and their tokens."""
    def check_invariants(self) -> None: ...

@final
class PrefixSnapshot:
    """The prefix cache at one moment, as the bytes of a file. Any thread; waits for the plan."""

    def next_piece(self, limit: int) -> NDArray[np.uint8]:
        """About `limit` bytes more; none at the end. What was evicted meanwhile is left out."""
    @property
    def written_nodes(self) -> int:
        """How many nodes the file holds; known at its end."""

def process_memory() -> tuple[int, int]:
    """Resident bytes now and at their highest (0 where the system does not tell)."""

@final
class GgufFile:
    """An opened GGUF file, every description in which is checked."""

    @staticmethod
    def open(path: str | Path) -> GgufFile | None:
        """`None` for a file of another kind."""
    def keys(self) -> list[str]:
        """All, sorted."""
    def value(self, key: str) -> str | float | int | None:
        """Of a key that is a text or a number."""
    def tensors(self) -> list[tuple[str, str, list[int]]]:
        """Name, type and shape of each, outermost dimension first, sorted by name."""
    def data(self, name: str) -> NDArray[np.uint8] | None:
        """A tensor's bytes."""

class _QuantizeSettings(Protocol):
    """How a model is written anew."""

    @property
    def mix(self) -> str: ...
    @property
    def threads(self) -> int | None: ...
    @property
    def entries(self) -> Sequence[tuple[str, bytes]]:
        """What the file says besides, by key: a value as GGUF has it, behind the number of its type."""
    @property
    def importance(self) -> Mapping[str, Sequence[float]]:
        """Of matrices by name: what the square of an error in each column counts."""

def quantize_model(
    path: str | Path,
    target: BinaryIO,
    settings: _QuantizeSettings,
    progress: Callable[[int, int], None] | None,
) -> list[tuple[str, list[str], list[int]]]:
    """Write a model of that mix into a file; of each tensor name, types and bytes, both before and after."""

def safetensors_tensors(file: bytes) -> list[tuple[str, str, list[int], int, int, bool]]:
    """Of each tensor: name, type, shape, where its bytes begin and end, whether all are numbers."""

def json_shape(text: bytes) -> dict[str, int]:
    """Counts what stands in a text, whether it is JSON or not; a long one without the interpreter lock."""
