"""The prefix cache of a loaded model, for its users: figures, clearing, a file for the next start."""

import os
from pathlib import Path

import ruvllm._native as _native
import ruvllm.whole_file as whole_file
from ruvllm.errors import StorageError
from ruvllm.figures import LoadedPrefixes, PrefixCacheStats
from ruvllm.runtime.loop import EngineLoop
from ruvllm.runtime.model_digest import model_digest

__all__ = ["EnginePrefixCache"]

# So much of a file is made between two plans of the engine, in about two milliseconds.
PIECE_BYTES = 1 << 22


class EnginePrefixCache:
    """What a model has computed and keeps; `LLM.prefix_cache` is one.

    Requests use it without being told; `GenerateParams.cache_prefix` says otherwise for one of them.
    """

    def __init__(self, memory: _native.EngineMemory, loop: EngineLoop, path: Path, name: str) -> None:
        self._memory = memory
        self._loop = loop
        self._path = path
        self._name = name
        self._fingerprint: str | None = None

    def __repr__(self) -> str:
        # Without figures: those are the engine's, which may be in a step.
        return f"EnginePrefixCache({self._name!r:.64})"

    def stats(self) -> PrefixCacheStats:
        """Counters since the model was loaded, and what the cache holds now."""
        stats = self._loop.call(self._memory.prefix_stats)
        return PrefixCacheStats(
            total_lookups=stats.lookups,
            cache_hits=stats.hits,
            partial_hits=stats.partial_hits,
            cache_misses=stats.misses,
            miss_reasons=stats.miss_reasons,
            evictions=stats.evictions,
            insertions=stats.insertions,
            refused_insertions=stats.refused,
            lookup_tokens=stats.lookup_tokens,
            reused_tokens=stats.reused_tokens,
            entries=stats.nodes,
            tokens=stats.tokens,
            pinned_entries=stats.pinned,
            memory_usage_bytes=stats.memory_bytes,
            max_memory_bytes=stats.max_memory_bytes,
        )

    def clear(self) -> None:
        """Forget all that no request uses now, answers to guess from included, and give its memory back."""
        self._loop.call(self._memory.clear_prefixes)

    def save(self, path: str | os.PathLike[str]) -> int:
        """Write the cache to a file, whole or not at all; gives the number of entries.

        The file is its owner's alone. Requests go on meanwhile: what they evict is not in the file, what
        they add neither. `StorageError` where it cannot be written.
        """
        name = self._model_fingerprint()
        try:
            with whole_file.replacing(path) as file:
                snapshot = self._loop.call(lambda: self._memory.snapshot_prefixes(name))
                while len(piece := self._loop.call(lambda: snapshot.next_piece(PIECE_BYTES))):
                    file.write(piece.data)
        except OSError as error:
            raise StorageError(f"{os.fspath(path)} cannot be written: {error.strerror or error}") from error
        return snapshot.written_nodes

    def load(self, path: str | os.PathLike[str]) -> LoadedPrefixes:
        """Read a file that `save` wrote, as far as there is room.

        `StorageError` where it is damaged, of another version, or belongs to another model or cache format,
        where a prefix in it is longer than the context, and where it is no regular file.
        """
        name = self._model_fingerprint()
        try:
            with whole_file.open_regular(path) as file:
                in_file, entries, tokens = self._loop.call(lambda: self._memory.load_prefixes(file, name))
        except OSError as error:
            raise StorageError(f"{os.fspath(path)} cannot be read: {error.strerror or error}") from error
        return LoadedPrefixes(entries_in_file=in_file, entries=entries, tokens=tokens)

    def _model_fingerprint(self) -> str:
        if self._fingerprint is None:
            self._fingerprint = model_digest(self._path)
        return self._fingerprint
