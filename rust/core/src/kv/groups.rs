//! Which layers share blocks: those that see the same of a context, in the same format.
//!
//! A block holds some tokens of a few layers. Layers that see all of a context need all of its blocks; layers
//! with a window need those that a window reaches, and what it has passed is free for others. Where the last tokens have
//! a format of their own, that is a window too, of every layer. So that one pool serves all, blocks have one size, and
//! groups as many layers as fit.

use std::fmt;

use ruvllm_kernels::{KvFormat, KvLayout, whole_block_bytes};

use super::BLOCK_TOKENS;
use super::scheme::{KvScheme, TierFormat};

/// So many tokens more than a window reaches are held: what follows an answer is often written a little differently
/// the next time, and who comes back then leaves the text that far before its end.
pub const NEAR_THE_END: usize = 4 * BLOCK_TOKENS;
/// The context for which the size of blocks is chosen: what layers with a window hold weighs little beside it.
const USUAL_TOKENS: usize = 4096;
/// Beside the size of block that takes the least, so many bytes may have one more.
const BYTES_FOR_ONE_MORE: usize = 26;

/// The groups of a model's layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvGroups {
    scheme: KvScheme,
    /// What a query sees in the layers of each group, itself included.
    windows: Vec<Option<usize>>,
    /// What the blocks of each group look like; all are as large.
    layouts: Vec<KvLayout>,
    /// Of each layer.
    tiers: Vec<Vec<LayerTier>>,
    lack_key_bias: bool,
}

/// Some of a layer's keys and values: all, or those that have one format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerTier {
    /// In the blocks of which group.
    pub group: usize,
    /// In which of a block's layers.
    pub layer: usize,
    /// A query sees so many positions, itself included...
    pub window: Option<usize>,
    /// ... but for so many of the last ones.
    pub behind: usize,
}

/// Tiers of layers that can share blocks.
struct TierKind {
    format: KvFormat,
    window: Option<usize>,
    layer_bytes: usize,
    /// Which layers, and the tier of each.
    members: Vec<(usize, usize)>,
}

impl KvGroups {
    /// The groups of layers that see so much each, `None` being all, with heads of so many numbers.
    pub fn of(layers: &[Option<usize>], heads: (usize, usize), scheme: KvScheme) -> Self {
        let formats: Vec<_> = layers.iter().map(|window| scheme.tiers(*window)).collect();
        let kinds = kinds_of(&formats, heads);
        let block_bytes = block_bytes(&kinds);
        let place = |tier: &TierFormat| LayerTier {
            group: 0,
            layer: 0,
            window: tier.window,
            behind: tier.behind,
        };
        let tiers = formats
            .iter()
            .map(|tiers| tiers.iter().map(place).collect());
        let mut groups = Self {
            scheme,
            windows: Vec::new(),
            layouts: Vec::new(),
            tiers: tiers.collect(),
            lack_key_bias: false,
        };
        for kind in &kinds {
            let per_block = kind.layers_in(block_bytes).max(1);
            for members in kind.members.chunks(per_block) {
                for (layer, (owner, tier)) in members.iter().enumerate() {
                    let tier = &mut groups.tiers[*owner][*tier];
                    (tier.group, tier.layer) = (groups.windows.len(), layer);
                }
                let layout = KvLayout::new(per_block, heads, kind.format);
                groups.layouts.push(layout.in_blocks_of(block_bytes));
                groups.windows.push(kind.window);
            }
        }
        groups
    }

    /// One group of so many layers that see all, in one format.
    pub fn whole(layers: usize, heads: (usize, usize), format: KvFormat) -> Self {
        Self::of(&vec![None; layers], heads, KvScheme::plain(format))
    }

    /// The same, where keys are stored without what a bias makes of them.
    #[must_use]
    pub fn without_key_bias(self) -> Self {
        Self {
            lack_key_bias: true,
            ..self
        }
    }

    /// Whether keys are stored without what a bias makes of them.
    pub fn lack_key_bias(&self) -> bool {
        self.lack_key_bias
    }

    /// In which formats keys and values are kept.
    pub fn scheme(&self) -> KvScheme {
        self.scheme
    }

    /// How many groups: so many blocks hold [`BLOCK_TOKENS`] tokens of all layers.
    pub fn count(&self) -> usize {
        self.windows.len()
    }

    /// Bytes of a block.
    pub fn block_bytes(&self) -> usize {
        self.layouts[0].block_bytes()
    }

    /// Bytes of a block of each group.
    pub fn row_bytes(&self) -> usize {
        self.count() * self.block_bytes()
    }

    /// What the blocks of a group look like.
    pub fn layout(&self, group: usize) -> KvLayout {
        self.layouts[group]
    }

    /// What a query sees in the layers of each group.
    pub fn windows(&self) -> &[Option<usize>] {
        &self.windows
    }

    /// How many of the last tokens each group's blocks are held of.
    pub fn held_windows(&self) -> Vec<Option<usize>> {
        let held = |window: &Option<usize>| window.map(|window| window.max(1) + NEAR_THE_END);
        self.windows.iter().map(held).collect()
    }

    /// Whether some layers do not see all.
    pub fn has_windows(&self) -> bool {
        self.windows.iter().any(Option::is_some)
    }

    /// Whether a place of a row by row table may be without a block: its group has a window.
    pub fn may_lack(&self, place: usize) -> bool {
        self.windows[place % self.count()].is_some()
    }

    /// Where a layer is. What is computed is written to all of its tiers.
    pub fn tiers(&self, layer: usize) -> &[LayerTier] {
        &self.tiers[layer]
    }

    /// The first row of blocks of a group that a query at `position` sees something of.
    pub fn first_row(&self, group: usize, position: usize) -> usize {
        let begin = |window: usize| (position + 1).saturating_sub(window.max(1));
        self.windows[group].map_or(0, begin) / BLOCK_TOKENS
    }

    /// The first row of a group that whoever goes on at `position` holds.
    pub fn first_held_row(&self, group: usize, position: usize) -> usize {
        self.first_row(group, position.saturating_sub(NEAR_THE_END))
    }

    /// Blocks that hold so many tokens when the last of them is computed by itself: no window has to reach further.
    pub fn least_blocks(&self, tokens: usize) -> usize {
        let rows = tokens.div_ceil(BLOCK_TOKENS);
        let needed = |group| rows - self.first_held_row(group, tokens.saturating_sub(1));
        (0..self.count()).map(needed).sum()
    }

    /// The most of `length` tokens behind which one can go on, where `has` says which blocks, by row and group,
    /// are there: every window that reaches back needs its own.
    pub fn usable_length(&self, length: usize, has: impl Fn(usize, usize) -> bool) -> usize {
        let (mut length, mut group) = (length, 0);
        while group < self.count() {
            let rows = self.first_row(group, length)..length.div_ceil(BLOCK_TOKENS);
            let missing = rows.rev().find(|row| !has(*row, group));
            let Some(mut row) = missing else {
                group += 1;
                continue;
            };
            while self.first_row(group, row * BLOCK_TOKENS) < row && !has(row - 1, group) {
                row -= 1;
            }
            // A shorter one reaches further back in every group with a window; the others lack nothing.
            length = row * BLOCK_TOKENS;
            group = self.windows.iter().position(Option::is_some).unwrap_or(0);
        }
        length
    }
}

/// What blocks look like, as files of prefixes say it: groups that are alike are told once.
impl fmt::Display for KvGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: Vec<_> = self.windows.iter().zip(&self.layouts).collect();
        for alike in groups.chunk_by(|a, b| a == b) {
            let (window, layout) = alike[0];
            let (count, layers, format) = (alike.len(), layout.layers, layout.format.name());
            let (heads, width) = (layout.kv_heads, layout.head_dim);
            write!(f, "{count} x {layers} layers of {heads} x {width} {format}")?;
            match window {
                Some(window) => write!(f, " of {window} positions, ")?,
                None => write!(f, " of all, ")?,
            }
        }
        if self.lack_key_bias {
            write!(f, "keys without bias, ")?;
        }
        write!(f, "{} bytes", self.block_bytes())
    }
}

impl TierKind {
    /// Rows of blocks that a usual context holds of it.
    fn usual_rows(&self) -> usize {
        let held = |window: usize| window.saturating_add(NEAR_THE_END).min(USUAL_TOKENS);
        self.window
            .map_or(USUAL_TOKENS, held)
            .div_ceil(BLOCK_TOKENS)
    }

    /// How many layers of it a block holds.
    fn layers_in(&self, block_bytes: usize) -> usize {
        (block_bytes / self.layer_bytes.max(1)).min(self.members.len())
    }
}

/// Those that see all first.
fn kinds_of(layers: &[Vec<TierFormat>], (kv_heads, head_dim): (usize, usize)) -> Vec<TierKind> {
    let mut kinds: Vec<TierKind> = Vec::new();
    for (layer, tiers) in layers.iter().enumerate() {
        for (index, tier) in tiers.iter().enumerate() {
            let is_same =
                |kind: &&mut TierKind| (kind.format, kind.window) == (tier.format, tier.window);
            if let Some(known) = kinds.iter_mut().find(is_same) {
                known.members.push((layer, index));
                continue;
            }
            kinds.push(TierKind {
                format: tier.format,
                window: tier.window,
                layer_bytes: KvLayout::new(1, (kv_heads, head_dim), tier.format).layer_bytes(),
                members: vec![(layer, index)],
            });
        }
    }
    kinds.sort_by_key(|kind| kind.window.unwrap_or(0));
    kinds
}

/// The size of blocks that makes the fewest groups of those that take little more than the best does, of a usual context: the
/// fewer blocks, the less there is to count.
fn block_bytes(kinds: &[TierKind]) -> usize {
    let sizes = kinds.iter().flat_map(|kind| {
        let counts = 1..=kind.members.len();
        counts.map(|count| whole_block_bytes(count * kind.layer_bytes))
    });
    let fits_all = |bytes: &usize| kinds.iter().all(|kind| kind.layer_bytes <= *bytes);
    let groups = |kind: &TierKind, bytes: usize| kind.members.len().div_ceil(kind.layers_in(bytes));
    let count = |bytes: usize| -> usize { kinds.iter().map(|kind| groups(kind, bytes)).sum() };
    let held = |bytes: usize| -> usize {
        let blocks = |kind: &TierKind| groups(kind, bytes) * kind.usual_rows();
        kinds.iter().map(blocks).sum::<usize>() * bytes
    };
    let sizes: Vec<_> = sizes
        .filter(fits_all)
        .map(|bytes| (count(bytes), held(bytes), bytes))
        .collect();
    let least = sizes.iter().map(|(_, all, _)| *all).min().unwrap_or(0);
    let is_tight =
        |(_, all, _): &&(usize, usize, usize)| (all - least) * BYTES_FOR_ONE_MORE <= least;
    let best = sizes.iter().filter(is_tight).min();
    best.map_or(0, |(_, _, bytes)| *bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::{KvTail, KvWanted};

    /// Every so many layers see all, the others a window.
    fn alternating(layers: usize, period: usize, window: usize) -> Vec<Option<usize>> {
        let window_of = |layer: usize| (!(layer + 1).is_multiple_of(period)).then_some(window);
        (0..layers).map(window_of).collect()
    }

    const HEADS: (usize, usize) = (1, 64);

    fn of(windows: &[Option<usize>], scheme: KvScheme) -> KvGroups {
        KvGroups::of(windows, HEADS, scheme)
    }

    #[test]
    fn layers_without_windows_are_one_group() {
        let groups = KvGroups::whole(30, HEADS, KvFormat::I16);
        assert_eq!((groups.count(), groups.layout(0).layers), (1, 30));
        let last = LayerTier {
            group: 0,
            layer: 29,
            window: None,
            behind: 0,
        };
        assert_eq!(groups.tiers(29), [last]);
    }

    #[test]
    fn every_layer_has_a_place_of_its_own_in_a_group_of_its_window() {
        // Gemma 3 with 270M, 1B, 4B, 12B and 27B, and Gemma 2.
        for (layers, period, expected) in [
            (18, 6, (6, 3)),
            (26, 6, (13, 2)),
            (34, 6, (7, 5)),
            (48, 6, (6, 8)),
            (62, 6, (13, 5)),
            (26, 2, (2, 13)),
        ] {
            let windows = alternating(layers, period, 512);
            let groups = of(&windows, KvScheme::plain(KvFormat::I16));
            assert_eq!((groups.count(), groups.layout(0).layers), expected);
            assert_eq!(groups.windows()[0], None);
            check_places(&groups, &windows);
        }
    }

    /// Each tier of each layer has a place of its own, in blocks that have its format and see what it sees.
    fn check_places(groups: &KvGroups, windows: &[Option<usize>]) {
        let mut places = Vec::new();
        for layer in 0..windows.len() {
            for tier in groups.tiers(layer) {
                let layout = groups.layout(tier.group);
                assert_eq!(groups.windows()[tier.group], tier.window);
                assert!(tier.layer < layout.layers);
                assert_eq!(layout.block_bytes(), groups.block_bytes());
                places.push((tier.group, tier.layer));
            }
        }
        let count = places.len();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), count);
    }

    #[test]
    fn a_tail_is_a_window_of_all_layers_that_see_further() {
        let scheme = KvScheme {
            store: KvFormat::Q4,
            tail: Some(KvTail {
                tokens: 100,
                format: KvFormat::I16,
            }),
        };
        // All, far, and so near that it is kept as a tail.
        let windows = [None, Some(2000), Some(512), None];
        let groups = of(&windows, scheme);
        check_places(&groups, &windows);
        let seen = |layer: usize| {
            let tiers = groups.tiers(layer).iter();
            let format = |tier: &LayerTier| groups.layout(tier.group).format;
            tiers
                .map(|tier| (format(tier), tier.window, tier.behind))
                .collect::<Vec<_>>()
        };
        let tail = (KvFormat::I16, Some(100), 0);
        assert_eq!(seen(0), [(KvFormat::Q4, None, 100), tail]);
        assert_eq!(seen(1), [(KvFormat::Q4, Some(2000), 100), tail]);
        assert_eq!(seen(2), [(KvFormat::I16, Some(512), 0)]);
        assert_eq!(seen(3), seen(0));
    }

    #[test]
    fn tiers_leave_little_of_a_block_empty() {
        // SmolLM2, an 8B, and Gemma 3 with 270M.
        let gemma = alternating(18, 6, 512);
        for (windows, heads, format, most, count) in [
            (&vec![None; 30], (3, 64), KvFormat::Q4, 0.04, 3),
            (&vec![None; 30], (3, 64), KvFormat::Q3, 0.04, 4),
            (&vec![None; 32], (8, 128), KvFormat::Q4, 0.03, 3),
            (&vec![None; 32], (8, 128), KvFormat::Q3, 0.03, 4),
            // Three layers see all, and blocks that they fill hold no whole number of the others.
            (&gemma, (1, 256), KvFormat::Q4, 0.15, 11),
            (&alternating(62, 6, 1024), (16, 128), KvFormat::Q4, 0.03, 67),
        ] {
            let scheme = KvWanted::format(format)
                .scheme(KvFormat::I16, 8192)
                .unwrap();
            let groups = KvGroups::of(windows, heads, scheme);
            check_places(&groups, windows);
            // Of a context of 4096 tokens, of which a window holds its own and 64 more.
            let rows = |window: Option<usize>| window.map_or(256, |window| (window + 64) / 16);
            let tiers = (0..windows.len()).flat_map(|layer| groups.tiers(layer));
            let bytes =
                |tier: &LayerTier| groups.layout(tier.group).layer_bytes() * rows(tier.window);
            let used: usize = tiers.map(bytes).sum();
            let blocks: usize = groups.windows().iter().map(|window| rows(*window)).sum();
            let all = blocks * groups.block_bytes();
            let empty = (all - used) as f64 / all as f64;
            assert!(
                empty <= most && groups.count() <= count,
                "{empty} of {groups}"
            );
        }
    }

    #[test]
    fn what_a_window_does_not_reach_is_not_needed() {
        let groups = of(&[None, Some(20)], KvScheme::plain(KvFormat::I16));
        assert_eq!(groups.count(), 2);
        // A query at 35 sees 16 to 35.
        let rows = [34, 35, 36, 50, 51].map(|position| groups.first_row(1, position));
        assert_eq!(rows, [0, 1, 1, 1, 2]);
        let whole = |_, _| true;
        assert_eq!(groups.usable_length(100, whole), 100);
        // To go on behind 100 takes 81 on, behind 80 takes 61 on.
        let without = |missing: usize| move |row, group| group == 0 || row != missing;
        assert_eq!(groups.usable_length(100, without(4)), 100);
        assert_eq!(groups.usable_length(100, without(5)), 80);
        assert_eq!(groups.usable_length(100, |row, _| row < 3), 48);
        assert_eq!(groups.usable_length(100, |_, group| group == 0), 0);
    }
}
