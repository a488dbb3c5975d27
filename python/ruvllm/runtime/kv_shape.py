"""How many blocks of the key-value cache a request needs.

A block has some tokens of a few layers, and each group of layers has blocks of its own. Layers that see all
of a context need a block for every `block_tokens` tokens of it; those with a window only what it reaches, and
what the tokens of a step add while they are computed together.
"""

from dataclasses import dataclass

__all__ = ["KvShape"]


@dataclass(frozen=True, slots=True)
class KvShape:
    """Tokens of a block, and of how many last tokens each group of layers has some; `None` is all."""

    block_tokens: int
    windows: tuple[int | None, ...] = (None,)

    def rows(self, num_tokens: int) -> int:
        """Blocks that hold so many tokens of one group."""
        return -(-num_tokens // self.block_tokens)

    def blocks_at(self, computed: int, end: int) -> int:
        """Blocks that a step needs which computes the tokens from `computed` to `end`."""
        return sum(self.rows(end) - self._first_row(window, computed) for window in self.windows)

    def most_blocks(self, num_tokens: int, step_tokens: int) -> int:
        """Blocks that a request needs at the most on its way to so many tokens, so many of them a step."""
        rows = self.rows(num_tokens)
        return sum(min(rows, self._most_rows(window, step_tokens, rows)) for window in self.windows)

    def tokens_in(self, blocks: int, step_tokens: int, limit: int) -> int:
        """Tokens that so many blocks hold, `limit` at the most."""
        low, high = 0, self.rows(limit)
        while low < high:
            middle = (low + high + 1) // 2
            fits = self.most_blocks(middle * self.block_tokens, step_tokens) <= blocks
            low, high = (middle, high) if fits else (low, middle - 1)
        return min(limit, low * self.block_tokens)

    def _first_row(self, window: int | None, position: int) -> int:
        """The first row that is held where one goes on at `position`."""
        return 0 if window is None else max(0, position + 1 - window) // self.block_tokens

    def _most_rows(self, window: int | None, step_tokens: int, rows: int) -> int:
        # Wherever they begin: so many positions may touch a row more than they fill.
        return rows if window is None else self.rows(window - 1 + step_tokens) + 1
