//! The prefix cache's file: crafted ones, ones that are merged, and ones written while blocks go.
#![allow(missing_docs, clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "a test may have a clock")]

use std::io::Cursor;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ruvllm_core::Error;
use ruvllm_core::kv::{BLOCK_TOKENS, BlockRef, BlockStore, HostBlocks, KvGroups, KvPool, rows_for};
use ruvllm_core::memory::{PAGE_BYTES, PagePoolConfig, Watermarks};
use ruvllm_core::prefix::file::Loaded;
use ruvllm_core::prefix::{Known, Namespace, PrefixCache, PrefixLimits};
use ruvllm_kernels::{KvFormat, KvLayout};
use xxhash_rust::xxh3::xxh3_64;

const LAYOUT: KvLayout = KvLayout::new(2, (1, 4), KvFormat::I16);
const NO_PARENT: u32 = u32::MAX;
const MAX_TOKENS: usize = 20_000;

/// A cache, and the pool that its blocks stand in.
struct Kept {
    cache: PrefixCache,
    pool: KvPool,
    bytes: HostBlocks,
}

impl Kept {
    fn new(blocks: usize) -> Self {
        Self::with_entries(blocks, 1 << 20)
    }

    fn with_entries(blocks: usize, max_entries: usize) -> Self {
        let max_bytes = LAYOUT.block_bytes() * blocks;
        let limits = PrefixLimits {
            max_bytes,
            max_entries,
        };
        let pool = KvPool::new(
            KvGroups::whole(
                LAYOUT.layers,
                (LAYOUT.kv_heads, LAYOUT.head_dim),
                LAYOUT.format,
            ),
            PagePoolConfig {
                budget_bytes: max_bytes,
                page_bytes: PAGE_BYTES,
                watermarks: Watermarks {
                    high: 1.0,
                    low: 1.0,
                },
            },
        )
        .unwrap();
        Self {
            cache: PrefixCache::new(limits, Arc::clone(pool.groups())),
            bytes: HostBlocks::of(&pool).unwrap(),
            pool,
        }
    }

    /// Keeps a prefix whose blocks say for each position what stands up to it.
    fn keep(&mut self, namespace: &Namespace, tokens: &[u32]) {
        let blocks: Vec<Option<BlockRef>> = (0..rows_for(tokens.len()))
            .map(|index| {
                let block = self.pool.take(None).unwrap();
                let bytes = self.bytes.bytes_mut(block.id());
                let first = index * BLOCK_TOKENS;
                for position in first..tokens.len().min(first + BLOCK_TOKENS) {
                    let place = (position - first) * 8;
                    bytes[place..place + 8].copy_from_slice(&mark(&tokens[..=position]));
                }
                Some(block)
            })
            .collect();
        let known = Known {
            tokens,
            blocks: &blocks,
            is_end: true,
        };
        let pin = self.cache.insert(namespace, known, &self.pool).unwrap();
        self.cache.unpin(pin);
    }

    /// How many of the tokens are known; what their blocks hold must be right.
    fn known(&mut self, namespace: &Namespace, tokens: &[u32]) -> usize {
        let found = self.cache.lookup(namespace, tokens, tokens.len());
        for position in 0..found.length {
            let block = found.blocks[position / BLOCK_TOKENS].as_ref().unwrap();
            let bytes = self.bytes.bytes(block.id());
            let place = position % BLOCK_TOKENS * 8;
            assert_eq!(bytes[place..place + 8], mark(&tokens[..=position]));
        }
        if let Some(pin) = found.pin {
            self.cache.unpin(pin);
        }
        found.length
    }

    fn load(&mut self, file: &[u8]) -> Result<Loaded, Error> {
        let file = &mut Cursor::new(file);
        let room = (&mut self.pool, &mut self.bytes as &mut dyn BlockStore);
        self.cache.load(room, "m", MAX_TOKENS, file)
    }

    /// The whole file; `between` is done after each piece.
    fn saved(&mut self, mut between: impl FnMut(&mut Self)) -> (Vec<u8>, usize) {
        let mut snapshot = self.cache.snapshot(&self.pool, "m");
        let mut file = Vec::new();
        loop {
            let piece = snapshot.next_piece(&self.pool, &self.bytes, LAYOUT.block_bytes());
            if piece.is_empty() {
                return (file, snapshot.written_nodes());
            }
            file.extend(piece);
            between(self);
        }
    }

    fn check(&self) {
        self.cache.check_invariants(&self.pool).unwrap();
    }
}

fn mark(tokens: &[u32]) -> [u8; 8] {
    let bytes: Vec<u8> = tokens.iter().flat_map(|one| one.to_le_bytes()).collect();
    xxh3_64(&bytes).to_le_bytes()
}

fn tenant(name: &str) -> Namespace {
    Namespace {
        tenant: name.to_owned(),
        ..Namespace::default()
    }
}

/// One node of a crafted file.
type Node<'a> = (u32, u32, &'a [u32], &'a [u32]);

const A: &[&str] = &["a"];
const FIRST: Node<'static> = (NO_PARENT, 0, &[1, 2], &[0]);
const SECOND: Node<'static> = (0, 0, &[1], &[0]);

/// A file that is refused, for what reason, and of which nothing is taken.
fn refuse(file: &[u8], expected: &str) {
    let mut kept = Kept::new(4);
    let error = kept.load(file).unwrap_err();
    assert!(
        matches!(&error, Error::Storage(text) if text.contains(expected)),
        "{error}"
    );
    assert_eq!((kept.pool.cached_blocks(), kept.pool.free_blocks()), (0, 4));
    kept.check();
}

/// A file with a right checksum, put together by hand.
fn crafted(blocks: u32, tenants: &[&str], nodes: &[Node<'_>]) -> Vec<u8> {
    let mut file = b"RUVLLMKV".to_vec();
    let number = |file: &mut Vec<u8>, value: u32| file.extend(value.to_le_bytes());
    let name = |file: &mut Vec<u8>, text: &str| {
        number(file, text.len() as u32);
        file.extend(text.as_bytes());
    };
    number(&mut file, 6);
    name(&mut file, "m");
    let bytes = LAYOUT.block_bytes();
    name(
        &mut file,
        &format!("1 x 2 layers of 1 x 4 int16 of all, {bytes} bytes"),
    );
    file.resize(file.len() + blocks as usize * LAYOUT.block_bytes(), 7);
    number(&mut file, tenants.len() as u32);
    for tenant in tenants {
        name(&mut file, tenant);
        file.extend([0; 16]);
    }
    number(&mut file, nodes.len() as u32);
    for (parent, namespace, tokens, held) in nodes {
        number(&mut file, *parent);
        number(&mut file, *namespace);
        for numbers in [tokens, held] {
            number(&mut file, numbers.len() as u32);
            file.extend(numbers.iter().flat_map(|one| one.to_le_bytes()));
        }
        number(&mut file, 1);
    }
    number(&mut file, blocks);
    signed(file)
}

fn signed(mut file: Vec<u8>) -> Vec<u8> {
    let checksum = xxh3_64(&file);
    file.extend(checksum.to_le_bytes());
    file
}

/// A chain of nodes of one token each, all of which name the same block.
fn chain(length: usize) -> Vec<u8> {
    let tokens: Vec<u32> = (0..length as u32).collect();
    let nodes: Vec<Node<'_>> = (0..length)
        .map(|index| {
            let parent = index.checked_sub(1).map_or(NO_PARENT, |above| above as u32);
            (parent, 0, &tokens[index..=index], &[0][..])
        })
        .collect();
    crafted(1, &["a"], &nodes)
}

fn seconds_of(mut work: impl FnMut()) -> f64 {
    let measure = |_| {
        let began = Instant::now();
        work();
        began.elapsed()
    };
    (0..5)
        .map(measure)
        .min()
        .unwrap_or(Duration::ZERO)
        .as_secs_f64()
}

#[test]
fn fault_5_a_chain_takes_as_long_as_it_is() {
    let of_length = |length: usize| {
        let file = chain(length);
        seconds_of(|| {
            let mut kept = Kept::new(4);
            assert_eq!(kept.load(&file).unwrap().loaded_nodes, length);
        })
    };
    // Other work on the machine makes either of them long; what is square is never seen as linear.
    let ratios = (0..10).map(|_| of_length(16_000) / of_length(2_000));
    let mut seen = Vec::new();
    let is_linear = ratios
        .inspect(|ratio| seen.push(*ratio))
        .any(|ratio| ratio < 20.0);
    assert!(is_linear, "{seen:?}: 8 is linear, 64 square");
}

#[test]
fn fault_5_a_prefix_longer_than_the_context() {
    let mut kept = Kept::new(4);
    let error = kept.load(&chain(MAX_TOKENS + 1)).unwrap_err().to_string();
    assert!(
        error.contains("a prefix of 20001 tokens, and the context holds 20000"),
        "{error}"
    );
    // The number alone is enough: nothing is made as long as it says.
    let tokens = [1];
    let mut file = crafted(1, &["a"], &[(NO_PARENT, 0, &tokens, &[0])]);
    let place = file.len() - 8 - 4 - 4 - 8 - 8;
    file.truncate(file.len() - 8);
    file[place..place + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    let error = kept.load(&signed(file)).unwrap_err().to_string();
    assert!(error.contains("a prefix of 4294967295 tokens"), "{error}");
    assert_eq!(kept.pool.cached_blocks(), 0);
}

#[test]
fn crafted_trees_that_are_none() {
    let cases: &[(&str, &[&str], &[Node<'_>])] = &[
        ("stands before its parent", A, &[(0, 0, &[1], &[0])]),
        ("stands before its parent", A, &[FIRST, (7, 0, &[1], &[0])]),
        ("does not fit", A, &[(NO_PARENT, 1, &[1], &[0])]),
        ("does not fit", &["a", "b"], &[FIRST, (0, 1, &[1], &[0])]),
        ("does not fit", A, &[(NO_PARENT, 0, &[], &[])]),
        ("does not fit", A, &[(NO_PARENT, 0, &[1], &[])]),
        ("does not fit", A, &[(NO_PARENT, 0, &[1], &[0, 0])]),
        ("does not fit", A, &[FIRST, (NO_PARENT, 0, &[1, 3], &[0])]),
        ("does not fit", A, &[FIRST, SECOND, SECOND]),
        ("block that is not there", A, &[(NO_PARENT, 0, &[1], &[1])]),
        (
            "block that is not there",
            A,
            &[(NO_PARENT, 0, &[1], &[u32::MAX])],
        ),
        ("namespace stands there twice", &["a", "a"], &[FIRST]),
    ];
    for (expected, tenants, nodes) in cases {
        refuse(&crafted(1, tenants, nodes), expected);
    }
    let good = crafted(1, A, &[FIRST, SECOND, (0, 0, &[3], &[0])]);
    assert_eq!(Kept::new(4).load(&good).unwrap().loaded_nodes, 3);
}

#[test]
fn crafted_lengths_that_are_wrong() {
    let good = crafted(1, A, &[FIRST, SECOND]);
    let (content, number) = (good.len() - 8, good.len() - 12);
    let with = |range: std::ops::Range<usize>, bytes: &[u8]| {
        let mut file = good[..content].to_vec();
        file.splice(range, bytes.iter().copied());
        signed(file)
    };
    assert_eq!(with(0..0, &[]), good);
    refuse(&with(number..number, &[0; 4]), "4 bytes follow its nodes");
    refuse(&with(number..content, &[9, 0, 0, 0]), "9 blocks are more");
    refuse(&with(number..content, &[0xFF; 4]), "blocks are more");
    refuse(&with(12..16, &[0xFF; 4]), "a name of 4294967295 bytes");
    refuse(&with(16..content, &[]), "where 0 are left");
}

#[test]
fn more_nodes_than_there_may_be() {
    let mut kept = Kept::with_entries(4, 100);
    let loaded = kept.load(&chain(5_000)).unwrap();
    assert_eq!((loaded.nodes, loaded.loaded_nodes), (5_000, 99));
    kept.check();
}

/// Numbers that look drawn, the same every time.
struct Drawn(u64);

impl Drawn {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % end
    }

    /// Few different tokens, so that prefixes branch everywhere.
    fn prefix(&mut self) -> Vec<u32> {
        (0..=self.below(70)).map(|_| self.below(2) as u32).collect()
    }
}

#[test]
fn what_is_loaded_joins_what_is_known() {
    let mut drawn = Drawn(7);
    for _ in 0..60 {
        let (mut one, mut other) = (Kept::new(400), Kept::new(400));
        let mut all = Vec::new();
        for index in 0..16 {
            let namespace = tenant(["a", "b"][drawn.below(2)]);
            // Often the same, or the beginning of one, on both sides.
            let mut prefix = drawn.prefix();
            if drawn.below(3) == 0
                && let Some((_, known)) = all.get(drawn.below(16)) as Option<&(Namespace, Vec<u32>)>
            {
                prefix = known[..=drawn.below(known.len())].to_vec();
            }
            if index % 2 == 0 { &mut one } else { &mut other }.keep(&namespace, &prefix);
            all.push((namespace, prefix));
        }
        let (file, nodes) = one.saved(|_| ());
        let before = other.cache.stats(&other.pool).tokens;
        let loaded = other.load(&file).unwrap();
        assert_eq!(loaded.nodes, nodes);
        assert_eq!(
            other.cache.stats(&other.pool).tokens,
            before + loaded.loaded_tokens
        );
        other.check();
        for (namespace, prefix) in &all {
            assert_eq!(other.known(namespace, prefix), prefix.len());
        }
        // Once more changes nothing.
        assert_eq!(other.load(&file).unwrap().loaded_tokens, 0);
    }
}

#[test]
fn what_is_evicted_while_it_is_written_is_lost_to_the_file_alone() {
    let mut drawn = Drawn(3);
    for evictions in 1..4 {
        let mut kept = Kept::new(200);
        let prefixes: Vec<_> = (0..20).map(|_| drawn.prefix()).collect();
        for prefix in &prefixes {
            kept.keep(&tenant("a"), prefix);
        }
        let (whole, all_nodes) = kept.saved(|_| ());
        let (file, nodes) = kept.saved(|kept| {
            for _ in 0..evictions {
                kept.cache.evict_one();
            }
            // What takes its place is not what the file is to hold.
            if let Ok(block) = kept.pool.take(None) {
                kept.bytes.bytes_mut(block.id()).fill(0xFF);
            }
        });
        assert!(nodes < all_nodes && file.len() < whole.len());
        let mut after = Kept::new(400);
        let loaded = after.load(&file).unwrap();
        assert_eq!((loaded.nodes, loaded.loaded_nodes), (nodes, nodes));
        let known = prefixes
            .iter()
            .map(|prefix| after.known(&tenant("a"), prefix));
        assert!(known.sum::<usize>() > 0);
        after.check();
    }
}

#[test]
fn a_snapshot_keeps_no_room_from_anybody() {
    let mut kept = Kept::new(8);
    kept.keep(&tenant("a"), &[1; 50]);
    let mut snapshot = kept.cache.snapshot(&kept.pool, "m");
    assert!(!snapshot.next_piece(&kept.pool, &kept.bytes, 1).is_empty());
    kept.cache.clear();
    assert_eq!(kept.pool.free_blocks(), 8);
}
