"""The forward pass: embedding, layers, norm, head."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .folder import Weights, read_config, read_weights
from .rope import inverse_frequencies
from .settings import FULL, SLIDING, Settings, read_settings

Array = NDArray[np.float64]


class Reference:
    """A model's logits and its greedy continuation, from its settings and weights by Hugging Face names."""

    def __init__(self, settings: Settings, weights: Weights) -> None:
        self.settings = settings
        self._weights = weights

    @classmethod
    def open(cls, folder: Path) -> "Reference":
        """The model of a folder."""
        return cls(read_settings(read_config(folder)), read_weights(folder))

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding."""
        return len(self._weights["model.embed_tokens.weight"])

    def logits(self, tokens: Sequence[int], *, rope_lengths: Sequence[int] | None = None) -> Array:
        """The logits after each token, `[tokens, vocab]`.

        `rope_lengths` has, for each token, the length that decides its rotary frequencies: that of the whole
        sequence, unless a cache holds what was computed when the sequence was shorter.
        """
        hidden = self.hidden(tokens, rope_lengths=rope_lengths)
        return self.logits_of(hidden)

    def logits_of(self, hidden: Array) -> Array:
        """The logits of last hidden states."""
        return _soft_cap(hidden @ self.head().T, self.settings.final_cap)

    def hidden(self, tokens: Sequence[int], *, rope_lengths: Sequence[int] | None = None) -> Array:
        """The last hidden states, after the norm, `[tokens, hidden]`."""
        settings, lengths = self.settings, rope_lengths or [len(tokens)] * len(tokens)
        rows = self._weights["model.embed_tokens.weight"][np.asarray(tokens)]
        if settings.is_gemma:
            rows = rows * float(np.float32(math.sqrt(settings.hidden)))
        turns = {kind: self._turns(kind, lengths) for kind in (FULL, SLIDING)}
        for index, kind in enumerate(settings.layer_kinds):
            layer = _Layer(settings, self._weights, f"model.layers.{index}.", kind)
            rows = layer(rows, turns[kind])
        return _norm(rows, self._weights["model.norm.weight"], settings)

    def greedy(self, tokens: Sequence[int], count: int, *, cached: bool = False) -> list[int]:
        """The likeliest next token, `count` times, everything computed anew each time.

        With `cached` every token keeps the rotary frequencies of the step that saw it first, as with
        transformers' `generate` and its cache.
        """
        sequence = list(tokens)
        for _ in range(count):
            lengths = [max(len(tokens), index + 1) for index in range(len(sequence))] if cached else None
            sequence.append(int(self.logits(sequence, rope_lengths=lengths)[-1].argmax()))
        return sequence[len(tokens) :]

    def head(self) -> Array:
        """The head; a tied model's is the embedding, unless its file has another."""
        stored = self._weights.get("lm_head.weight")
        return self._weights["model.embed_tokens.weight"] if stored is None else stored

    def _turns(self, kind: str, lengths: Sequence[int]) -> tuple[Array, Array]:
        """Cosines and sines, `[tokens, 1, pairs]`."""
        settings = self.settings
        known = {
            length: inverse_frequencies(
                settings.ropes[kind], settings.head_dim, settings.max_positions, length
            )
            for length in set(lengths)
        }
        angles = np.stack([position * known[length][0] for position, length in enumerate(lengths)])[:, None]
        scales = np.array([known[length][1] for length in lengths])[:, None, None]
        return np.cos(angles) * scales, np.sin(angles) * scales


class _Layer:
    def __init__(self, settings: Settings, weights: Weights, prefix: str, kind: str) -> None:
        self._settings, self._weights, self._prefix = settings, weights, prefix
        self._window = settings.window if kind == SLIDING else None

    def __call__(self, rows: Array, turns: tuple[Array, Array]) -> Array:
        if not self._settings.is_gemma:
            rows = rows + self._attend(self._norm("input_layernorm", rows), turns)
            return rows + self._feed_forward(self._norm("post_attention_layernorm", rows))
        attended = self._attend(self._norm("input_layernorm", rows), turns)
        rows = rows + self._norm("post_attention_layernorm", attended)
        fed = self._feed_forward(self._norm("pre_feedforward_layernorm", rows))
        return rows + self._norm("post_feedforward_layernorm", fed)

    def _norm(self, name: str, rows: Array) -> Array:
        return _norm(rows, self._weights[f"{self._prefix}{name}.weight"], self._settings)

    def _linear(self, name: str, rows: Array) -> Array:
        result = rows @ self._weights[f"{self._prefix}{name}.weight"].T
        bias = self._weights.get(f"{self._prefix}{name}.bias")
        return result if bias is None else result + bias

    def _heads(self, rows: Array) -> tuple[Array, Array, Array]:
        """Queries, keys and values, `[tokens, heads, head_dim]`, before RoPE."""
        settings = self._settings
        if settings.family == "phi3":
            widths = np.array([settings.heads, settings.kv_heads]) * settings.head_dim
            parts = np.split(self._linear("self_attn.qkv_proj", rows), np.cumsum(widths), axis=-1)
        else:
            parts = [self._linear(f"self_attn.{name}_proj", rows) for name in "qkv"]
        query, key, value = (part.reshape(len(rows), -1, settings.head_dim) for part in parts)
        if settings.family in ("qwen3", "gemma3_text"):
            query, key = self._norm("self_attn.q_norm", query), self._norm("self_attn.k_norm", key)
        return query, key, value

    def _attend(self, rows: Array, turns: tuple[Array, Array]) -> Array:
        settings, count = self._settings, len(rows)
        query, key, value = self._heads(rows)
        query, key = _rotate(query, *turns), _rotate(key, *turns)
        group = settings.heads // settings.kv_heads
        key, value = np.repeat(key, group, axis=1), np.repeat(value, group, axis=1)
        scores = np.einsum("qhd,khd->hqk", query, key) * settings.attention_scale
        scores = _soft_cap(scores, settings.attention_cap)
        behind = np.arange(count)[:, None] - np.arange(count)
        seen = (behind >= 0) & (behind < (self._window or count))
        scores = np.where(seen, scores, -np.inf)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        attended = np.einsum("hqk,khd->qhd", shares, value).reshape(count, -1)
        return self._linear("self_attn.o_proj", attended)

    def _feed_forward(self, rows: Array) -> Array:
        if self._settings.family == "phi3":
            gate, up = np.split(self._linear("mlp.gate_up_proj", rows), 2, axis=-1)
        else:
            gate, up = self._linear("mlp.gate_proj", rows), self._linear("mlp.up_proj", rows)
        activated = _gelu(gate) if self._settings.is_gemma else gate / (1 + np.exp(-gate))
        return self._linear("mlp.down_proj", activated * up)


def _norm(rows: Array, weight: Array, settings: Settings) -> Array:
    scaled = rows / np.sqrt((rows**2).mean(-1, keepdims=True) + settings.epsilon)
    return scaled * (1 + weight if settings.is_gemma else weight)


def _soft_cap(values: Array, cap: float | None) -> Array:
    return values if cap is None else np.tanh(values / cap) * cap


def _gelu(values: Array) -> Array:
    """The approximation by tanh."""
    inner = math.sqrt(2 / math.pi) * (values + 0.044715 * values**3)
    return 0.5 * values * (1 + np.tanh(inner))


def _rotate(heads: Array, cosines: Array, sines: Array) -> Array:
    """Dimension `i` turns with `i + pairs`; what is beyond the turning dimensions stays."""
    pairs = cosines.shape[-1]
    first, second, rest = np.split(heads, [pairs, 2 * pairs], axis=-1)
    turned = [first * cosines - second * sines, second * cosines + first * sines, rest]
    return np.concatenate(turned, axis=-1)
