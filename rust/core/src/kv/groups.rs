//! Which layers share blocks: those that see the same of a context.
//!
//! A block holds some tokens of a few layers. Layers that see all of a context need all of its blocks; layers
//! with a window need those that a window reaches, and what it has passed is free for others. So that one pool
//! serves both, all groups have equally many layers.

use super::BLOCK_TOKENS;

/// So many tokens more than a window reaches are held: what follows an answer is often written a little differently
/// the next time, and who comes back then leaves the text that far before its end.
pub const NEAR_THE_END: usize = 4 * BLOCK_TOKENS;
/// Of the places of a block at most one in so many stays empty, where groups do not come out even.
const PLACES_FOR_AN_EMPTY_ONE: usize = 32;

/// The groups of a model's layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvGroups {
    /// What a query sees in the layers of each group, itself included.
    windows: Vec<Option<usize>>,
    places: Vec<LayerPlace>,
    block_layers: usize,
}

/// Where the keys and values of a layer are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerPlace {
    /// In the blocks of which group.
    pub group: usize,
    /// In which of a block's layers.
    pub layer: usize,
}

impl KvGroups {
    /// The groups of layers that see so much each; `None` is all.
    pub fn of(layers: &[Option<usize>]) -> Self {
        let mut kinds: Vec<(Option<usize>, usize)> = Vec::new();
        for window in layers {
            match kinds.iter_mut().find(|(known, _)| known == window) {
                Some((_, count)) => *count += 1,
                None => kinds.push((*window, 1)),
            }
        }
        // Those that see all come first.
        kinds.sort_by_key(|(window, _)| window.unwrap_or(0));
        let block_layers = block_layers(&kinds);
        let mut groups = Self {
            windows: Vec::new(),
            places: vec![LayerPlace { group: 0, layer: 0 }; layers.len()],
            block_layers,
        };
        for (window, _) in &kinds {
            let first = groups.windows.len();
            let mut count = 0;
            let own = layers.iter().zip(&mut groups.places);
            for (_, place) in own.filter(|(layer, _)| *layer == window) {
                *place = LayerPlace {
                    group: first + count / block_layers,
                    layer: count % block_layers,
                };
                count += 1;
            }
            let number = count.div_ceil(block_layers);
            groups.windows.resize(first + number, *window);
        }
        groups
    }

    /// One group of so many layers that see all.
    pub fn whole(layers: usize) -> Self {
        Self::of(&vec![None; layers])
    }

    /// How many groups: so many blocks hold [`BLOCK_TOKENS`] tokens of all layers.
    pub fn count(&self) -> usize {
        self.windows.len()
    }

    /// Layers of a block.
    pub fn block_layers(&self) -> usize {
        self.block_layers
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

    /// Where a layer is.
    pub fn place(&self, layer: usize) -> LayerPlace {
        self.places[layer]
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

/// As many layers a block as leave few places empty: the fewer blocks, the less there is to count.
fn block_layers(kinds: &[(Option<usize>, usize)]) -> usize {
    let all: usize = kinds.iter().map(|(_, count)| count).sum();
    let most = kinds.iter().map(|(_, count)| *count).min().unwrap_or(1);
    let places = |layers: usize| -> usize {
        let of_kind = |(_, count): &(_, usize)| count.next_multiple_of(layers);
        kinds.iter().map(of_kind).sum()
    };
    let is_full = |layers: &usize| {
        let places = places(*layers);
        (places - all) * PLACES_FOR_AN_EMPTY_ONE <= places
    };
    (1..=most).rev().find(is_full).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every so many layers see all, the others a window.
    fn alternating(layers: usize, period: usize, window: usize) -> Vec<Option<usize>> {
        let window_of = |layer: usize| (!(layer + 1).is_multiple_of(period)).then_some(window);
        (0..layers).map(window_of).collect()
    }

    #[test]
    fn layers_without_windows_are_one_group() {
        let groups = KvGroups::whole(30);
        assert_eq!((groups.count(), groups.block_layers()), (1, 30));
        assert_eq!(
            groups.place(29),
            LayerPlace {
                group: 0,
                layer: 29
            }
        );
    }

    #[test]
    fn every_layer_has_a_place_of_its_own_in_a_group_of_its_window() {
        // Gemma 3 with 270M, 1B, 4B, 12B and 27B, and Gemma 2.
        for (layers, period, expected) in [
            (18, 6, (6, 3)),
            (26, 6, (13, 2)),
            (34, 6, (7, 5)),
            (48, 6, (6, 8)),
            (62, 6, (16, 4)),
            (26, 2, (2, 13)),
        ] {
            let windows = alternating(layers, period, 512);
            let groups = KvGroups::of(&windows);
            assert_eq!((groups.count(), groups.block_layers()), expected);
            assert_eq!(groups.windows()[0], None);
            let mut places = Vec::new();
            for (layer, window) in windows.iter().enumerate() {
                let place = groups.place(layer);
                assert_eq!(groups.windows()[place.group], *window);
                assert!(place.layer < groups.block_layers());
                places.push((place.group, place.layer));
            }
            places.sort_unstable();
            places.dedup();
            assert_eq!(places.len(), layers);
        }
    }

    #[test]
    fn what_a_window_does_not_reach_is_not_needed() {
        let groups = KvGroups::of(&[None, Some(20)]);
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
