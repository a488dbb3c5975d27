"""What the learning journal says of one update, and the line that it is.

A line is an object of JSON whose last member is a check: the BLAKE2b of the check before it and of the line
itself. So a line that was altered, and one that was taken out, is found by whoever reads on from there. Texts
of requests and answers are not in it unless asked for: a digest under the journal's own salt stands for them,
by which one who has the text can tell that it is the same.
"""

import json
import math
import numbers
import re
import time as clock
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from typing import Any, Literal, TypeAlias, get_args

from ruvllm.errors import ConfigError

__all__ = ["JournalEntry", "Loop", "Note", "note_of", "seal", "unseal"]

Loop: TypeAlias = Literal["instant", "background", "deep", "rollback", "reset"]
"""What changed a tenant's adapter, or would have."""

LOOPS: tuple[str, ...] = get_args(Loop)
# Texts from outside are cut to so much; digests are of the whole.
MAX_CHARACTERS = 1000
CHECK_BYTES = 16
NO_CHECK = "0" * (2 * CHECK_BYTES)
_CHECK = re.compile(rb',"check":"([0-9a-f]{%d})"\}' % (2 * CHECK_BYTES))
_NUMBERS = ("feedback", "advantage", "kl", "drift", "log_prob_change", "time")
_COUNTS = ("generation_before", "generation_after", "num_samples", "latency_us")
# JSON has no words for them.
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What is kept of a text.

    Attributes:
        digest: Under the journal's salt, so that two journals cannot be compared.
        characters: How many there were.
        text: Its beginning, where the journal was told to keep texts.
    """

    digest: str
    characters: int
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One update of a tenant's adapter, or one that was refused. What is not known is `None`.

    Attributes:
        tenant: Whose adapter.
        loop: What changed it.
        applied: Whether it was changed.
        reason: Why not, or what a loop wanted to say of itself.
        completion_id: The answer that the feedback was about.
        feedback: As it came, also where it is no number that is allowed.
        advantage: What became of it after the baseline.
        generation_before: The tenant's generation that answered until then.
        generation_after: The one since.
        kl: How far the captured states' distributions moved.
        drift: How far the tenant is from the model as it was loaded.
        log_prob_change: Of the answer, a token.
        num_samples: How many samples the update used.
        latency_us: How long it took.
        time: Seconds since 1970.
        request: What was asked.
        response: What was answered.
    """

    tenant: str
    loop: Loop
    applied: bool
    reason: str | None = None
    completion_id: str | None = None
    feedback: float | None = None
    advantage: float | None = None
    generation_before: int | None = None
    generation_after: int | None = None
    kl: float | None = None
    drift: float | None = None
    log_prob_change: float | None = None
    num_samples: int | None = None
    latency_us: int | None = None
    time: float = field(default_factory=clock.time)
    request: Note | None = None
    response: Note | None = None

    def __post_init__(self) -> None:
        if self.loop not in LOOPS:
            raise ConfigError(f"loop is {self.loop!r}; it must be one of {', '.join(LOOPS)}")
        object.__setattr__(self, "applied", bool(self.applied))
        for name in ("tenant", "reason", "completion_id"):
            text = getattr(self, name)
            if text is not None:
                object.__setattr__(self, name, str(text)[:MAX_CHARACTERS])
        for kind, names in ((numbers.Real, _NUMBERS), (numbers.Integral, _COUNTS)):
            for name in names:
                value = getattr(self, name)
                if value is not None and not isinstance(value, kind):
                    raise ConfigError(f"{name} is {value!r}; it must be a number")

    def members(self) -> dict[str, Any]:
        """What JSON has of it: without what is not known."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        for name in ("request", "response"):
            if found[name] is not None:
                note = {one.name: getattr(found[name], one.name) for one in fields(Note)}
                found[name] = {key: value for key, value in note.items() if value is not None}
        return {name: _written(value) for name, value in found.items() if value is not None}

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> "JournalEntry":
        """The entry that `members` made; what a later version has besides is left out."""
        known = {one.name for one in fields(cls)}
        found = {name: value for name, value in members.items() if name in known}
        for name in ("request", "response"):
            if name in found:
                note = found[name]
                found[name] = Note(
                    digest=note["digest"], characters=note["characters"], text=note.get("text")
                )
        for name in _NUMBERS:
            if name in found:
                value = found[name]
                found[name] = _NOT_FINITE[value] if isinstance(value, str) else float(value)
        return cls(**found)


def note_of(text: str, salt: bytes, *, keep: bool) -> Note:
    """What a journal keeps of a text."""
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=CHECK_BYTES, key=salt).hexdigest()
    return Note(digest=digest, characters=len(text), text=text[:MAX_CHARACTERS] if keep else None)


def seal(members: Mapping[str, Any], check_before: str) -> tuple[bytes, str]:
    """The line of an object, with its end, and its check, which the next line hangs on."""
    body = json.dumps(members, separators=(",", ":"), allow_nan=False).encode("ascii")[:-1]
    check = _check(body, check_before)
    return body + f',"check":"{check}"}}\n'.encode("ascii"), check


def unseal(line: bytes, check_before: str) -> tuple[dict[str, Any], str] | None:
    """The object of a line and its check; `None` where it is not as it was written after that check."""
    end = len(line) - len(f',"check":"{NO_CHECK}"}}\n')
    found = _CHECK.fullmatch(line, max(0, end), len(line) - 1)
    if found is None or line[-1:] != b"\n":
        return None
    check = found[1].decode("ascii")
    if check != _check(line[:end], check_before):
        return None
    try:
        members = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return members, check


def _check(body: bytes, check_before: str) -> str:
    return blake2b(check_before.encode("ascii") + body, digest_size=CHECK_BYTES).hexdigest()


def _written(value: Any) -> Any:
    """A number as JSON can have it; NumPy's too."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else str(number)
