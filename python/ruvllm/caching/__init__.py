"""The engine's tree of token prefixes for any payload, and a cache of keys and values as NumPy arrays.

A loaded model has a prefix cache of its own (`LLM.prefix_cache`); these two are for programs that compute
keys and values themselves, or have something else to find by the longest known beginning.
"""

from ruvllm.caching.kv_cache import KvCache
from ruvllm.caching.prefix_cache import CachedPrefix, PrefixCache
from ruvllm.caching.radix_tree import Edge, Evicted, RadixMatch, RadixTree, Segment

__all__ = ["CachedPrefix", "Edge", "Evicted", "KvCache", "PrefixCache", "RadixMatch", "RadixTree", "Segment"]
