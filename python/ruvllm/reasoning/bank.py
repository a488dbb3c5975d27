"""`ReasoningBank`: what was tried for which request, found again by similarity, distilled to patterns."""

import os
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ruvllm._checks import Interval, check_integer, check_number, check_type
from ruvllm.errors import ConfigError, InvalidOperationError, NotFoundError
from ruvllm.reasoning.bank_file import BankFile, Head
from ruvllm.reasoning.change import Change, Kept, Vectors
from ruvllm.reasoning.content import MAX_CAPACITY, BankContent
from ruvllm.reasoning.context import BankContext, write_context
from ruvllm.reasoning.embedding import Embeddings
from ruvllm.reasoning.figures import BankStats
from ruvllm.reasoning.patterns import Distilled, Pattern, distil, usual_count
from ruvllm.reasoning.table import Filter, IndexKind
from ruvllm.reasoning.trajectory import QUALITY, Match, Trajectory, Verdict
from ruvllm.runtime.closing import Closing

if TYPE_CHECKING:
    from ruvllm.reasoning.embedding import EmbeddingSource

__all__ = ["ReasoningBank"]

DEFAULT_CAPACITY = 10_000
MAX_FOUND = 1000
MAX_PATTERNS = 1000
# So many texts are embedded, and so many trajectories written, together.
RECORDED_AT_ONCE = 64
# A file that has grown to so much of what it was when written whole, and by so much, is written anew.
GROWTH = 2
LEAST_GROWTH_BYTES = 1024**2
SIMILARITY = Interval(-1.0, 1.0)
ALL = frozenset(Verdict)


class ReasoningBank(Closing):
    """What was tried for which request and how it went; of one tenant, in memory or in a folder.

        with LLM("smollm2-135m") as llm, ReasoningBank(llm, "bank") as bank:
            bank.record(Trajectory(request="2 + 2?", response="4", verdict=Verdict.Success, quality=1.0))
            print(bank.search("What is 3 + 3?", 1)[0].trajectory.response)

    Every method may be called from any thread. Where the bank has a folder, what a method changed is on the
    disk when it returns, whatever happens to the process then. A bank is open once at a time.
    """

    def __init__(
        self,
        embeddings: "EmbeddingSource",
        folder: str | os.PathLike[str] | None = None,
        *,
        tenant: str = "default",
        capacity: int = DEFAULT_CAPACITY,
        index: IndexKind = "auto",
    ) -> None:
        """Open a bank, or begin one.

        Args:
            embeddings: The model whose embeddings say what is similar, or a function that gives
                [texts, dimensions] for a list of texts. A bank stays with one of them.
            folder: Where banks are kept, each tenant's by itself; `None` keeps this one in memory.
            tenant: Whose bank. Nothing in it is ever found through another tenant's.
            capacity: How many trajectories it may hold; the worst give way to new ones.
            index: How the nearest are found: `exact` looks at all, `hnsw` at a graph (the extra
                `ruvllm[bank]`), `auto` takes the graph where it is there and quicker.
        """
        check_type("tenant", tenant, str)
        if not tenant:
            raise ConfigError("tenant is empty; it must name one")
        self._tenant = tenant
        self._capacity = check_integer("capacity", capacity, 1, MAX_CAPACITY)
        self._embeddings = Embeddings(embeddings, tenant)
        self._content = BankContent(self._embeddings.dimensions, index)
        self._lock = threading.RLock()
        self._is_closed = False
        # Found, and not on the disk yet: that waits for the next change.
        self._found: set[int] = set()
        self._recorded = self._evicted = self._searches = 0
        self._whole_bytes = 0
        self._file = None if folder is None else BankFile(folder, Head(tenant, self._embeddings.probe))
        if self._file is not None:
            self._restore(self._file)

    def __repr__(self) -> str:
        return f"ReasoningBank(tenant={self._tenant!r}, trajectories={len(self)})"

    def __len__(self) -> int:
        return len(self._content)

    def close(self) -> None:
        """Keep how often what was found, and let another process open it. Twice is the same as once."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            if self._file is not None:
                try:
                    if self._found:
                        self._change(Change())
                finally:
                    self._file.close()

    # -- what is in it

    def record(self, trajectory: Trajectory) -> int:
        """Add a trajectory; gives its id, which no other one ever gets."""
        return self.extend([trajectory])[0]

    def extend(self, trajectories: Iterable[Trajectory]) -> list[int]:
        """Add many, which is quicker than one by one; gives their ids.

        Where the bank is full, those give way that have little quality and are seldom found, and those that
        stand for a pattern last. What is added by one call gives way to what the same call adds only where it
        alone is more than the capacity.
        """
        wanted = list(trajectories)
        for one in wanted:
            check_type("trajectory", one, Trajectory)
        numbers: list[int] = []
        # Not all of what is there gives way at once: a pattern's best could not go last then.
        at_once = min(RECORDED_AT_ONCE, max(1, self._capacity // 2))
        for begin in range(0, len(wanted), at_once):
            part = wanted[begin : begin + at_once]
            vectors = self._embeddings.of([one.request for one in part])
            with self._open():
                numbers += self._add(part, vectors)
        return numbers

    def get(self, number: int) -> Trajectory:
        """The trajectory of an id; `NotFoundError` where it is not there (any more)."""
        with self._open():
            self._check_there(number)
            return self._content.trajectories[number]

    def forget(self, *numbers: int) -> None:
        """Take trajectories out; their texts are then nowhere in the bank's file, too.

        Patterns keep what they counted until the next `distill`, and show what was forgotten no more.
        `NotFoundError`, and nothing is forgotten, where one of them is not there.
        """
        with self._open():
            for number in numbers:
                self._check_there(number)
            self._change(Change(dropped=tuple(dict.fromkeys(numbers))))
            self._write_whole()

    # -- finding

    def search(
        self, text: str, k: int = 5, *, verdicts: Collection[Verdict] = ALL, min_quality: float = 0.0
    ) -> list[Match]:
        """The `k` trajectories whose requests are most similar to a text, the most similar first.

        Args:
            text: A request.
            k: How many; fewer where there are no more.
            verdicts: Only those that ended so.
            min_quality: Only those that were as good.
        """
        check_integer("k", k, 1, MAX_FOUND)
        which = _filter(verdicts, min_quality)
        vector = self._vector_of(text)
        with self._open():
            found = self._nearest(vector, k, which)
            self._count_uses(found)
            self._searches += 1
            return found

    def distill(self, patterns: int | None = None, *, best: int = 3, seed: int = 0) -> tuple[Pattern, ...]:
        """Find the patterns of what is there, in the place of those that were found before.

        Args:
            patterns: How many, at most; by default half as many again as the root of the trajectories.
            best: So many trajectories stand for each.
            seed: The same one finds the same patterns of the same trajectories.
        """
        check_integer("best", best, 1, MAX_FOUND)
        check_integer("seed", seed, 0)
        if patterns is not None:
            check_integer("patterns", patterns, 1, MAX_PATTERNS)
        with self._open():
            table, next_id = self._content.table, self._content.next_id
            there = dict(self._content.trajectories)
            vectors = table.vectors(there)
            directions = table.directions(vectors)
        if there:
            # Others go on meanwhile.
            found = distil(
                there,
                vectors,
                directions,
                num_patterns=patterns or usual_count(len(there)),
                num_best=best,
                seed=seed,
            )
            with self._open():
                self._change(Change(distilled=Distilled(found, next_id)))
        return self.patterns()

    def patterns(self) -> tuple[Pattern, ...]:
        """What the last `distill` found, the largest first; still there when the bank is opened again."""
        with self._open():
            return self._content.patterns()

    def context(
        self,
        prompt: str,
        k: int = 3,
        *,
        max_tokens: int = 512,
        min_similarity: float = 0.0,
        min_quality: float = 0.5,
    ) -> BankContext:
        """What is known about requests like this one, as a text to put before it.

        Of each of the `k` most similar patterns it has that one of the best trajectories which is most like
        the prompt; of a bank without patterns, the `k` most similar trajectories.

        Args:
            prompt: The request.
            k: How many patterns, at most.
            max_tokens: The most tokens of the text; what does not fit is left out, its steps first.
            min_similarity: Nothing that is less similar to the prompt; 0 is what unrelated requests have.
            min_quality: No trajectory that was not as good.
        """
        check_integer("k", k, 1, MAX_FOUND)
        check_integer("max_tokens", max_tokens, 1)
        check_number("min_similarity", min_similarity, SIMILARITY)
        which = _filter(ALL, min_quality)
        vector = self._vector_of(prompt)
        with self._open():
            found = self._for_context(vector, k, which)
        similar = [one for one in found if one[0].similarity >= min_similarity]
        context = write_context(similar, self._embeddings.count_tokens, max_tokens)
        with self._open():
            self._count_uses(context.used)
        return context

    def stats(self) -> BankStats:
        """What it holds, and what it did since it was opened."""
        with self._open():
            content = self._content
            ended = [one.verdict for one in content.trajectories.values()]
            qualities = [one.quality for one in content.trajectories.values()]
            return BankStats(
                tenant=self._tenant,
                trajectories=len(content),
                capacity=self._capacity,
                verdicts={verdict: ended.count(verdict) for verdict in Verdict},
                mean_quality=float(np.mean(qualities)) if qualities else 0.0,
                patterns=len(content.distilled.patterns),
                undistilled=sum(number >= content.distilled.next_id for number in content.trajectories),
                recorded=self._recorded,
                evicted=self._evicted,
                searches=self._searches,
                index="hnsw" if content.table.has_graph else "exact",
                background=content.table.background.count,
                file_bytes=0 if self._file is None else self._file.num_bytes,
            )

    # -- inside; the lock is held

    @contextmanager
    def _open(self) -> Iterator[None]:
        with self._lock:
            if self._is_closed:
                raise InvalidOperationError("the bank is closed")
            yield

    def _restore(self, file: BankFile) -> None:
        """Take in what the file says."""
        num_added = 0
        try:
            for one in file.read():
                if isinstance(one, int):
                    next_id = one
                else:
                    num_added += len(one.added)
                    self._content.apply(one)
            self._content.next_id = max(self._content.next_id, next_id)
            self._whole_bytes = file.added_bytes * len(self._content) // max(1, num_added)
            self._make_room()
        except ValueError as error:
            file.close()
            raise file.damaged(error) from error
        except BaseException:
            file.close()
            raise

    def _add(self, trajectories: Sequence[Trajectory], vectors: Vectors) -> list[int]:
        content = self._content
        first = content.next_id
        added = [
            Kept(first + position, one, vector)
            for position, (one, vector) in enumerate(zip(trajectories, vectors, strict=True))
        ]
        dropped = content.worst(len(content) + len(added) - self._capacity)
        self._change(Change(added=added, dropped=dropped))
        self._recorded += len(added)
        self._evicted += len(dropped)
        background = content.table.due_background()
        if background is not None:
            self._change(Change(background=background))
        content.table.take_in()
        return [one.id for one in added]

    def _make_room(self) -> None:
        """Hold what was read to a capacity that is smaller than it was."""
        dropped = self._content.worst(len(self._content) - self._capacity)
        if dropped:
            self._change(Change(dropped=dropped))
            self._evicted += len(dropped)

    def _change(self, change: Change) -> None:
        """Write a change, and only then make it."""
        if self._found:
            change = replace(change, uses={number: self._content.uses[number] for number in self._found})
        if self._file is not None:
            self._file.append(change)
        self._content.apply(change)
        self._found.clear()
        if self._file is not None:
            grown = self._file.num_bytes - self._whole_bytes
            if grown > max(LEAST_GROWTH_BYTES, (GROWTH - 1) * self._whole_bytes):
                self._write_whole()

    def _write_whole(self) -> None:
        if self._file is not None:
            self._file.rewrite(self._content.whole(), next_id=self._content.next_id)
            self._whole_bytes = self._file.num_bytes

    def _vector_of(self, text: str) -> Vectors:
        check_type("text", text, str)
        if not text.strip():
            raise ConfigError("the text is empty; it must have something to be found by")
        vector: Vectors = self._embeddings.of([text])[0]
        return vector

    def _nearest(self, vector: Vectors, k: int, which: Filter) -> list[Match]:
        found = self._content.table.nearest(vector, k, which)
        return [self._content.match(number, similarity) for number, similarity in found]

    def _for_context(self, vector: Vectors, k: int, which: Filter) -> list[tuple[Match, int | None]]:
        """Trajectories and their patterns, of each of the most similar patterns that have any."""
        content = self._content
        if not content.distilled.patterns:
            return [(match, None) for match in self._nearest(vector, k, which)]
        direction = content.table.directions(vector[None])[0]
        similarities = content.pattern_directions().astype(np.float64) @ direction
        found: list[tuple[Match, int | None]] = []
        for pattern in np.argsort(-similarities, kind="stable").tolist():
            best = [
                content.match(number, content.table.similarity(number, direction))
                for number in content.distilled.patterns[pattern].best
                if number in content.trajectories
                and content.trajectories[number].quality >= which.min_quality
            ]
            if best:
                found.append((max(best, key=lambda match: match.similarity), pattern))
            if len(found) == k:
                break
        return found

    def _count_uses(self, found: Iterable[Match]) -> None:
        for match in found:
            if match.id in self._content.uses:
                self._content.uses[match.id] += 1
                self._found.add(match.id)

    def _check_there(self, number: int) -> None:
        check_integer("id", number, 1)
        if number not in self._content.trajectories:
            raise NotFoundError(f"there is no trajectory {number} in the bank of {self._tenant!r}")


def _filter(verdicts: Collection[Verdict], min_quality: float) -> Filter:
    for verdict in verdicts:
        check_type("a verdict", verdict, Verdict)
    return Filter(frozenset(verdicts), check_number("min_quality", min_quality, QUALITY))
