"""API keys: whose request it is, and what they may. Only digests of keys are kept."""

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ruvllm.errors import ConfigError

__all__ = ["ApiKey", "KeyRing", "read_key_file"]

_TENANT = re.compile(r"[A-Za-z0-9_.-]{1,64}(/[A-Za-z0-9_.-]{1,64}){0,2}")
LEAST, MOST = 8, 512
_KEY = re.compile(rf"[\x21-\x7e]{{{LEAST},{MOST}}}")
_NUMBER = re.compile(r"[0-9]{1,18}")
# What a number may be at the least.
_NUMBERS = {"requests-per-minute": 1, "concurrent-requests": 1, "kv-quota-bytes": 1, "max-priority": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key, as far as the server knows it.

    Attributes:
        digest: SHA-256 of the key.
        tenant: On whose account its requests run; keys of the same tenant share prefixes.
        requests_per_minute: How many answers it may ask for; `None` is any number.
        concurrent_requests: How many answers may be under way; `None` is any number.
        kv_quota_bytes: What its tenant may hold of the key-value cache; `None` is all.
        max_priority: Up to here its requests' priorities count beside other tenants' as well.
        is_admin: Whether it may flush and save the cache, and load, give up and fetch models and adapters.
    """

    digest: bytes
    tenant: str
    requests_per_minute: int | None = None
    concurrent_requests: int | None = None
    kv_quota_bytes: int | None = None
    max_priority: int = 0
    is_admin: bool = False

    @classmethod
    def of(cls, secret: str, *, tenant: str | None = None, is_admin: bool = True) -> "ApiKey":
        """A key by its text; its tenant is named after its digest, unless told."""
        digest = _checked_digest(secret)
        return cls(digest=digest, tenant=tenant or _name_of(digest), is_admin=is_admin)


class KeyRing:
    """The keys that open the server; none at all means that it is open."""

    def __init__(self, keys: Sequence[ApiKey]) -> None:
        self._keys = tuple(keys)
        if len({key.digest for key in self._keys}) < len(self._keys):
            raise ConfigError("an API key is given twice")

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self):  # type: ignore[no-untyped-def]  # noqa: ANN204
        return iter(self._keys)

    def find(self, secret: str) -> ApiKey | None:
        """The key that this is; the time taken tells nothing about how near it came."""
        digest = hashlib.sha256(secret.encode("utf-8", "replace")).digest()
        found = None
        for key in self._keys:
            if hmac.compare_digest(digest, key.digest):
                found = key
        return found


def read_key_file(path: Path) -> list[ApiKey]:
    """Read keys, one a line: the key, then what it may.

        sk-2f9c...  tenant=acme/web  requests-per-minute=600  concurrent-requests=8
        sk-77ab...  admin

    Lines that begin with `#` are comments.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the file of API keys {path} cannot be read: {error}") from error
    keys = [
        _read_line(line, f"{path}:{number}")
        for number, line in enumerate(lines, start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not keys:
        raise ConfigError(f"the file of API keys {path} has none")
    return keys


def _read_line(line: str, where: str) -> ApiKey:
    secret, *words = line.split()
    digest = _checked_digest(secret, where)
    tenant, numbers, is_admin = _name_of(digest), {}, False
    for word in words:
        name, _, value = word.partition("=")
        if word == "admin":
            is_admin = True
        elif name == "tenant" and _TENANT.fullmatch(value):
            tenant = value
        elif name in _NUMBERS and _NUMBER.fullmatch(value) and int(value) >= _NUMBERS[name]:
            numbers[name.replace("-", "_")] = int(value)
        else:
            raise ConfigError(
                f"{where}: {word!r} is not understood; after a key may stand admin, tenant=org/team/user, "
                f"{', '.join(f'{name}=N' for name in sorted(_NUMBERS))}"
            )
    return ApiKey(digest=digest, tenant=tenant, is_admin=is_admin, **numbers)


def _checked_digest(secret: str, where: str = "an API key") -> bytes:
    if not _KEY.fullmatch(secret):
        has_length = LEAST <= len(secret) <= MOST
        but = "this one has others as well" if has_length else f"this one has {len(secret)}"
        raise ConfigError(f"{where}: a key has {LEAST} to {MOST} visible ASCII characters, and {but}")
    return hashlib.sha256(secret.encode("ascii")).digest()


def _name_of(digest: bytes) -> str:
    return f"key-{digest.hex()[:12]}"
