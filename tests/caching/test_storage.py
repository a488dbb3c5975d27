"""A saved cache: the same again, and files that are damaged, foreign, or made to harm."""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ruvllm import PrefixCache, StorageError
from ruvllm.caching import storage
from tests.caching.arrays import TOKEN_BYTES, assert_right, keys_of, values_of

KEY = "model 1, adapter 3, f32"
PROMPTS = ([1, 2, 3, 4, 5], [1, 2, 9], [7, 8], [1, 2, 3, 4, 5, 6, 6])


@pytest.fixture
def cache() -> PrefixCache:
    cache = PrefixCache(key=KEY)
    for tokens in PROMPTS:
        assert cache.insert(tokens, keys_of(tokens), values_of(tokens))
    return cache


@pytest.fixture
def saved(cache: PrefixCache, tmp_path: Path) -> Path:
    cache.save(tmp_path / "prefixes")
    return tmp_path / "prefixes"


def refuse(path: Path, message: str, *, key: str = KEY) -> None:
    """The file is refused, and the cache is as it was."""
    cache = PrefixCache(key=key)
    cache.insert([4, 4], keys_of([4, 4]), values_of([4, 4]))
    with pytest.raises(StorageError, match=message):
        cache.load(path)
    assert (cache.stats().tokens, cache.memory_usage()) == (2, 2 * TOKEN_BYTES)


def forge(path: Path, header: Any, body: bytes = b"", *, version: int = 1) -> None:
    """A file whose checksum is right."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    content = struct.pack("<8sII", b"RUVLLMPC", version, len(text)) + text + body
    path.write_bytes(content + hashlib.blake2b(content, digest_size=32).digest())


def test_a_loaded_cache_knows_the_same(cache: PrefixCache, saved: Path) -> None:
    other = PrefixCache(key=KEY)
    loaded = other.load(saved)
    assert (loaded.entries_in_file, loaded.entries, loaded.tokens) == (4, 4, 10)
    assert other.memory_usage() == cache.memory_usage()
    for tokens in PROMPTS:
        found = other.lookup(tokens, limit=len(tokens))
        assert found
        assert found.length == len(tokens)
        assert_right(found, tokens)


def test_what_was_evicted_is_not_saved(tmp_path: Path) -> None:
    cache = PrefixCache(key=KEY)
    for tokens in ([1, 2, 3, 4], [1, 2, 9]):
        cache.insert(tokens, keys_of(tokens), values_of(tokens))
    cache.evict_lru()
    cache.save(tmp_path / "prefixes")
    other = PrefixCache(key=KEY)
    other.load(tmp_path / "prefixes")
    assert (other.stats().tokens, other.memory_usage()) == (3, 3 * TOKEN_BYTES)


def test_loading_adds_what_is_not_known_and_fits(saved: Path) -> None:
    other = PrefixCache(8 * TOKEN_BYTES, key=KEY)
    mine = [1, 2, 3, 3]
    other.insert(mine, keys_of(mine), values_of(mine))
    loaded = other.load(saved)
    assert (loaded.entries_in_file, loaded.entries, loaded.tokens) == (4, 2, 3)
    assert other.memory_usage() == 7 * TOKEN_BYTES
    for tokens in (mine, [1, 2, 3, 4, 5], [1, 2, 9]):
        found = other.lookup(tokens, limit=len(tokens))
        assert found
        assert_right(found, tokens)
    assert other.stats().evictions == 0


def test_an_empty_cache_is_saved_too(tmp_path: Path) -> None:
    assert PrefixCache(key=KEY).save(tmp_path / "prefixes") == 0
    assert PrefixCache(key=KEY).load(tmp_path / "prefixes").entries_in_file == 0


@pytest.mark.parametrize("dtype", [np.float16, ">f4", np.int8, np.uint16, np.float64])
def test_values_of_any_plain_type(dtype: Any, tmp_path: Path) -> None:
    cache, other = PrefixCache(), PrefixCache()
    keys = keys_of([1, 2]).astype(dtype)
    cache.insert([1, 2], keys, keys)
    cache.save(tmp_path / "prefixes")
    other.load(tmp_path / "prefixes")
    found = other.lookup([1, 2, 3])
    assert found
    assert found.keys.dtype.itemsize == keys.dtype.itemsize
    np.testing.assert_array_equal(found.keys, keys)


def test_a_file_is_replaced_whole_or_not_at_all(
    cache: PrefixCache, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def fail(file: Any, *_: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "_write_contents", fail)
    with pytest.raises(StorageError, match="No space left on device"):
        cache.save(saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_places_that_cannot_be_used(cache: PrefixCache, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        cache.save(tmp_path / "missing" / "prefixes")
    refuse(tmp_path / "missing", "cannot be read")
    refuse(tmp_path, "cannot be read")


def test_another_key(saved: Path) -> None:
    refuse(saved, "written under the key 'model 1, adapter 3, f32', not 'adapter 4'", key="adapter 4")


def test_another_shape(tmp_path: Path) -> None:
    cache = PrefixCache(key=KEY)
    half = keys_of([1]).astype(np.float16)
    cache.insert([1], half, half)
    cache.save(tmp_path / "prefixes")
    refuse(tmp_path / "prefixes", r"it holds float16 .+, this cache float32")


def test_every_cut_is_seen(saved: Path) -> None:
    content = saved.read_bytes()
    for size in (*range(0, 60, 7), len(content) // 2, len(content) - 33, len(content) - 1):
        saved.write_bytes(content[:size])
        refuse(saved, "cannot be loaded")
    saved.write_bytes(content + b"\0")
    refuse(saved, "must follow its header")


def test_every_damage_is_seen(saved: Path) -> None:
    content = saved.read_bytes()
    for place in range(0, len(content), 5):
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        saved.write_bytes(damaged)
        refuse(saved, "cannot be loaded")


def test_another_version(tmp_path: Path) -> None:
    forge(tmp_path / "forged", {}, version=2)
    refuse(tmp_path / "forged", "it has version 2, and 1 can be read")


SHAPE = [2, 1, 3, 2]
ONE = {"key": KEY, "dtype": "<f4", "shape": SHAPE, "entries": [[1, 0]]}


def test_a_forged_file_that_is_right_is_taken(tmp_path: Path) -> None:
    forge(tmp_path / "forged", ONE, bytes(4 + TOKEN_BYTES))
    assert PrefixCache(key=KEY).load(tmp_path / "forged").tokens == 1


@pytest.mark.parametrize(
    "change",
    [
        {"entries": [[2**62, 0]]},
        {"entries": [[10**30, 0]]},
        {"entries": [[1, -1]]},
        {"entries": [[1, 1]]},
        {"entries": [[0, 0]]},
        {"entries": [[1.0, 0]]},
        {"entries": [[True, 0]]},
        {"entries": [[1]]},
        {"entries": 7},
        {"entries": []},
        {"dtype": "|O"},
        {"dtype": "O"},
        {"dtype": "<f1"},
        {"dtype": "<U4"},
        {"dtype": None},
        {"shape": [2, 1, 3]},
        {"shape": [2, 1, 3, 0]},
        {"shape": [2, 1, -3, -2]},
        {"shape": [2**40, 2**40, 2**40, 2**40]},
        {"shape": None},
        {"key": None},
    ],
    ids=str,
)
def test_hostile_headers(change: dict, tmp_path: Path) -> None:
    forge(tmp_path / "forged", ONE | change, bytes(4 + TOKEN_BYTES))
    refuse(tmp_path / "forged", "cannot be loaded")


@pytest.mark.parametrize(
    "header", [b"", b"[]", b"7", b"\xff\xfe", b"[" * 100_000, b'{"key": ' + b"9" * 9999 + b"}"]
)
def test_headers_that_are_none(header: bytes, tmp_path: Path) -> None:
    forge(tmp_path / "forged", header)
    refuse(tmp_path / "forged", "cannot be loaded")


@pytest.mark.parametrize("dtype", ["|O", "<M8", "<c8"])
def test_types_that_are_no_numbers(dtype: str, tmp_path: Path) -> None:
    forge(tmp_path / "forged", ONE | {"dtype": dtype}, bytes(4 + 2 * TOKEN_BYTES))
    refuse(tmp_path / "forged", "no type that is known")


def test_an_entry_on_nothing_is_left_out(tmp_path: Path) -> None:
    """Its keys would stand for tokens whose beginning nobody has."""
    forge(tmp_path / "forged", ONE | {"entries": [[3, 2]]}, bytes(3 * 4 + TOKEN_BYTES))
    cache = PrefixCache(key=KEY)
    assert cache.load(tmp_path / "forged").entries == 0
    assert cache.lookup([0, 0, 0], limit=3) is None
