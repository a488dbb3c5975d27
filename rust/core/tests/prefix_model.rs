//! Random lives of sequences over the prefix cache and its pool, and lives that were thought out.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[path = "support/prefix_world.rs"]
mod prefix_world;

use prefix_world::{MAX_CACHED, World, namespace, operations, tenant};
use proptest::prelude::*;
use ruvllm_core::ids::TokenId;
use ruvllm_core::kv::{KvScheme, KvTail, rows_for};
use ruvllm_core::prefix::Namespace;
use ruvllm_core::prefix::radix_tree::{COUNTED_HITS, EdgeValue, HIT_TICKS, RadixTree};
use ruvllm_kernels::KvFormat;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn cache_and_pool_agree_with_what_the_sequences_computed(
        operations in operations(),
        is_short_of_entries: bool,
        windows in prop_oneof![
            Just(vec![None]),
            Just(vec![None, Some(20)]),
            Just(vec![Some(1), Some(40), None]),
            Just(vec![Some(33)]),
        ],
        tail in prop_oneof![Just(None), Just(Some(20))],
    ) {
        let scheme = KvScheme {
            store: KvFormat::I16,
            tail: tail.map(|tokens| KvTail { tokens, format: KvFormat::F32 }),
        };
        let mut world = World::of(&windows, scheme, is_short_of_entries);
        for operation in operations {
            world.apply(operation);
            world.check();
        }
        while let Some(one) = world.take(0) {
            one.pin.inspect(|pin| world.cache.unpin(*pin));
        }
        world.cache.clear();
        world.pool.trim(&mut world.bytes);
        prop_assert_eq!(world.pool.free_blocks(), world.pool.total_blocks());
        prop_assert_eq!(world.pool.pages().stats().used_pages, [0, 0, 0]);
        prop_assert_eq!(world.sizes(), (0, 0));
    }
}

/// A sequence that computes `tokens`, is kept, and ends, unless it is to run on.
fn live(world: &mut World, space: u8, tokens: &[TokenId], runs_on: bool) {
    world.begin(&namespace(space), tokens);
    let mut one = world.running.pop().unwrap();
    world.keep(&mut one);
    if runs_on {
        world.running.push(one);
    } else {
        one.pin.inspect(|pin| world.cache.unpin(*pin));
    }
    world.check();
}

fn text(length: u32, salt: u32) -> Vec<TokenId> {
    (0..length).map(|index| salt * 1000 + index).collect()
}

fn known(world: &World, space: u8, tokens: &[TokenId]) -> usize {
    world.cache.peek(&namespace(space), tokens)
}

/// A text whose windowed layers have its last rows alone, and one that leaves it after 40 tokens.
fn with_a_gap() -> (World, Vec<TokenId>) {
    let mut world = World::of(&[None, Some(20)], KvScheme::plain(KvFormat::I16), false);
    let text = text(90, 1);
    world.begin(&namespace(0), &text);
    let mut one = world.running.pop().unwrap();
    world.pass(&mut one);
    world.keep(&mut one);
    one.pin.inspect(|pin| world.cache.unpin(*pin));
    let other: Vec<_> = text[..40].iter().copied().chain(500..520).collect();
    world.begin(&namespace(0), &other);
    assert_eq!(world.running[0].tokens, other);
    (world, text)
}

#[test]
fn what_was_missing_comes_back_as_far_as_texts_are_one() {
    for is_end in [true, false] {
        let (mut world, text) = with_a_gap();
        assert_eq!(known(&world, 0, &text[..50]), 0);
        let mut one = world.running.pop().unwrap();
        // Its third row goes on as the other text does not.
        world.keep_part(&mut one, 40, is_end);
        world.running.push(one);
        assert_eq!(known(&world, 0, &text[..50]), 32);
        assert_eq!(known(&world, 0, &text[..40]), if is_end { 40 } else { 32 });
        world.begin(&namespace(0), &text[..50]);
        world.check();
    }
}

#[test]
fn a_flood_of_one_tenant_leaves_the_others_theirs() {
    let mut world = World::new(false);
    let mine = text(60, 1);
    live(&mut world, 0, &mine, false);
    for salt in 2..200 {
        live(&mut world, 2 + (salt % 2) as u8, &text(40, salt), false);
        assert_eq!(known(&world, 0, &mine), 60, "prompt {salt} took it");
    }
    // The flood fills what is left, and the last of it is there.
    assert_eq!(known(&world, 3, &text(40, 199)), 40);
    // The first one grows to its half, and takes it from who has more.
    for salt in 200..202 {
        live(&mut world, 0, &text(30, salt), false);
    }
    assert_eq!(known(&world, 0, &mine), 60);
    assert!(world.cache.blocks_of(&tenant(0)) >= MAX_CACHED / 2);
}

#[test]
fn entries_are_shared_like_blocks() {
    let mut world = World::new(true);
    let mine = text(17, 1);
    live(&mut world, 0, &mine, false);
    for salt in 2..60 {
        live(&mut world, 2, &text(1, salt), false);
        assert_eq!(known(&world, 0, &mine), 17, "prompt {salt} took it");
    }
}

#[test]
fn who_holds_the_most_and_uses_all_of_it_is_not_given_more() {
    let mut world = World::new(false);
    let mine = text(32, 1);
    live(&mut world, 0, &mine, false);
    for salt in 2..5 {
        live(&mut world, 2, &text(64, salt), true);
    }
    // 2 and 12 of 15 blocks: three more do not fit, and what would make room is in use.
    assert_eq!(world.cache.blocks_of(&tenant(1)), 12);
    let refused = world.cache.stats(&world.pool).refused;
    live(&mut world, 2, &text(48, 6), true);
    assert_eq!(world.cache.stats(&world.pool).refused, refused + 1);
    assert_eq!(known(&world, 0, &mine), 32);
}

#[test]
fn blocks_for_sequences_come_from_who_has_the_most_cached() {
    let mut world = World::new(false);
    live(&mut world, 0, &text(32, 1), false);
    live(&mut world, 2, &text(96, 2), false);
    live(&mut world, 4, &text(48, 3), true);
    while world.cache.blocks_of(&tenant(1)) > 0 {
        assert!(world.evict(None));
    }
    // The third has more than the first, but uses it.
    assert!(world.evict(None));
    assert_eq!(world.cache.blocks_of(&tenant(0)), 0);
    assert!(!world.evict(None));
    assert_eq!(known(&world, 4, &text(48, 3)), 48);
}

#[test]
fn a_tenant_s_quota_takes_from_it_and_those_below_it() {
    let mut world = World::new(false);
    let names = ["a", "a-b", "a/b", "b"];
    let tenants = std::sync::Arc::clone(world.pool.pages());
    let spaces = names.map(|name| Namespace {
        tenant: name.to_owned(),
        ..Namespace::default()
    });
    for (space, length) in spaces.iter().zip([17, 60, 33, 60]) {
        let tenant = tenants.tenants().tenant(&space.tenant).unwrap();
        let tokens = text(length, 1);
        let blocks: Vec<_> = (0..rows_for(tokens.len()))
            .map(|_| Some(world.pool.take(Some(&tenant)).unwrap()))
            .collect();
        let pin = world.insert(space, &tokens, &blocks);
        world.cache.unpin(pin.unwrap());
    }
    let left = |world: &World| names.map(|name| world.cache.blocks_of(name));
    assert_eq!(left(&world), [2, 4, 3, 4]);
    assert!(world.cache.evict_one_of("a"));
    assert_eq!(
        left(&world),
        [2, 4, 0, 4],
        "the one of them that holds the most"
    );
    assert!(world.cache.evict_one_of("a"));
    assert_eq!(left(&world), [0, 4, 0, 4]);
    assert!(!world.cache.evict_one_of("a"));
}

#[test]
fn a_quota_takes_nothing_that_is_on_another_account() {
    let mut world = World::new(false);
    let payer = world.pool.pages().tenants().tenant("payer").unwrap();
    let tokens = text(20, 1);
    let blocks: Vec<_> = (0..rows_for(tokens.len()))
        .map(|_| Some(world.pool.take(Some(&payer)).unwrap()))
        .collect();
    let space = Namespace {
        tenant: "a".to_owned(),
        ..Namespace::default()
    };
    let pin = world.insert(&space, &tokens, &blocks);
    world.cache.unpin(pin.unwrap());
    assert!(!world.cache.evict_one_of("a"));
    assert_eq!(world.cache.blocks_of("a"), 2);
}

#[test]
fn what_is_forgotten_on_demand_had_to_go_for_nothing() {
    let mut world = World::new(false);
    live(&mut world, 0, &text(32, 1), false);
    live(&mut world, 2, &text(32, 2), false);
    assert!(world.evict(None));
    let evictions = |world: &World| world.cache.stats(&world.pool).evictions;
    assert_eq!(evictions(&world), 1);
    world.cache.clear();
    assert_eq!((evictions(&world), world.sizes().0), (1, 0));
}

/// A value that says nothing of its tokens.
struct Nothing;

impl EdgeValue for Nothing {
    fn split_off(&mut self, _at: usize) -> Self {
        Self
    }
}

#[test]
fn the_depth_is_that_of_the_longest_way_down() {
    let mut tree = RadixTree::default();
    let (root, empty) = (tree.add_root(), tree.add_root());
    for tokens in [&[1, 2, 3, 4][..], &[1, 2, 5], &[1, 9], &[7]] {
        tree.insert(root, tokens, |_| Nothing);
    }
    // 1, then 2, then 3 and 4, or 5.
    assert_eq!((tree.depth(root), tree.depth(empty)), (3, 0));
}

#[test]
fn hits_keep_a_beginning_for_a_while_and_not_for_ever() {
    let mut tree = RadixTree::default();
    let root = tree.add_root();
    let [first, second] = [1, 2].map(|token| tree.insert(root, &[token], |_| Nothing).node);
    tree.find(root, &[1]);
    let use_second = |tree: &mut RadixTree<Nothing>| tree.insert(root, &[2], |_| Nothing);
    use_second(&mut tree);
    assert_eq!(
        tree.least_valuable(),
        Some(second),
        "the younger, without a hit"
    );
    for _ in 0..HIT_TICKS {
        use_second(&mut tree);
    }
    assert_eq!(tree.least_valuable(), Some(first), "a hit counts so much");
    for _ in 0..4 * COUNTED_HITS {
        tree.find(root, &[1]);
    }
    for _ in 0..COUNTED_HITS * HIT_TICKS - 1 {
        use_second(&mut tree);
    }
    assert_eq!(tree.least_valuable(), Some(second), "so many count");
    use_second(&mut tree);
    use_second(&mut tree);
    assert_eq!(tree.least_valuable(), Some(first), "and no more");
}
