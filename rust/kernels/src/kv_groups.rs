//! Keys and values in groups of 32 with 4 or 8 bits a value: `step * code + minimum`, step and minimum in f16.
//!
//! For a colder tier of the cache, packed by the run of tokens. The blocks that attention reads are laid out in
//! `attention/layout.rs`, of which the 8-bit ones have a scale for a token and no minimum; this is not for them. The layout is the
//! one of kernel packs' `kv_pack` and `kv_unpack`; the group of 4 bits is GGML's `Q4_1`.

use half::f16;

/// Values of a group.
pub const GROUP_VALUES: usize = 32;

/// Bits of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupBits {
    /// Codes of 0 to 15, two in a byte: the first half of the group in the low ones.
    Four,
    /// Codes of 0 to 255.
    Eight,
}

impl GroupBits {
    fn most(self) -> f32 {
        match self {
            Self::Four => 15.0,
            Self::Eight => 255.0,
        }
    }

    /// Bytes of a group: step, minimum, codes.
    pub fn group_bytes(self) -> usize {
        match self {
            Self::Four => 4 + GROUP_VALUES / 2,
            Self::Eight => 4 + GROUP_VALUES,
        }
    }
}

/// Which values are a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupAxis {
    /// 32 channels of a token: for values. Groups are `[tokens, channels / 32]`.
    Channels,
    /// A channel of 32 tokens: for keys, some of whose channels are large in every token. Groups are
    /// `[tokens / 32, channels]`.
    Tokens,
}

/// Rows `[tokens, channels]` and how they are packed. Last groups may hold fewer values; the rest of their codes is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvGroups {
    /// Rows.
    pub tokens: usize,
    /// Values of a row.
    pub channels: usize,
    /// Which values are a group.
    pub axis: GroupAxis,
    /// Bits of a code.
    pub bits: GroupBits,
}

impl KvGroups {
    /// How many values there are.
    pub fn values(&self) -> usize {
        self.tokens * self.channels
    }

    /// Bytes of all groups.
    pub fn bytes(&self) -> usize {
        let groups = match self.axis {
            GroupAxis::Channels => self.tokens * self.channels.div_ceil(GROUP_VALUES),
            GroupAxis::Tokens => self.tokens.div_ceil(GROUP_VALUES) * self.channels,
        };
        groups * self.bits.group_bytes()
    }

    /// Where a group's values stand: the first of them, how far the next is, and how many there are.
    fn places(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let Self {
            tokens,
            channels,
            axis,
            ..
        } = *self;
        let (rows, width) = match axis {
            GroupAxis::Channels => (1, GROUP_VALUES),
            GroupAxis::Tokens => (GROUP_VALUES, 1),
        };
        let of_rows = move |token: usize| {
            (0..channels).step_by(width).map(move |channel| {
                let first = token * channels + channel;
                match axis {
                    GroupAxis::Channels => (first, 1, (channels - channel).min(GROUP_VALUES)),
                    GroupAxis::Tokens => (first, channels, (tokens - token).min(GROUP_VALUES)),
                }
            })
        };
        (0..tokens).step_by(rows).flat_map(of_rows)
    }

    /// Whether there are so many values, and bytes of groups.
    ///
    /// # Panics
    ///
    /// Where there are not.
    pub fn check(&self, values: usize, bytes: usize) {
        assert_eq!(
            (values, bytes),
            (self.values(), self.bytes()),
            "values and bytes of {self:?}"
        );
    }
}

pub(crate) fn pack(shape: KvGroups, input: &[f32], groups: &mut [u8]) {
    shape.check(input.len(), groups.len());
    let groups = groups.chunks_exact_mut(shape.bits.group_bytes());
    for ((first, stride, count), group) in shape.places().zip(groups) {
        // What is missing is the first value again, which changes neither minimum nor range.
        let place = |index| first + stride * if index < count { index } else { 0 };
        let values: [f32; GROUP_VALUES] = std::array::from_fn(|index| input[place(index)]);
        pack_group(shape.bits, &values, count, group);
    }
}

fn pack_group(bits: GroupBits, values: &[f32; GROUP_VALUES], count: usize, group: &mut [u8]) {
    let least = values.iter().copied().fold(f32::INFINITY, f32::min);
    let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let stored = [(most - least) / bits.most(), least].map(f16::from_f32);
    // Codes are counted from what is stored, so that its rounding costs nothing more.
    let [step, minimum] = stored.map(f16::to_f32);
    let is_number = values
        .iter()
        .chain([&step, &minimum])
        .all(|value| value.is_finite());
    let stored = if is_number { stored } else { [f16::NAN; 2] };
    let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
    let code = |value: f32| {
        let scaled = ((value - minimum) * inverse).clamp(0.0, bits.most());
        scaled.round_ties_even() as u8
    };
    let codes: [u8; GROUP_VALUES] = std::array::from_fn(|index| {
        if is_number && index < count {
            code(values[index])
        } else {
            0
        }
    });
    let (head, body) = group.split_at_mut(4);
    head[..2].copy_from_slice(&stored[0].to_le_bytes());
    head[2..].copy_from_slice(&stored[1].to_le_bytes());
    match bits {
        GroupBits::Eight => body.copy_from_slice(&codes),
        GroupBits::Four => {
            let (low, high) = codes.split_at(GROUP_VALUES / 2);
            for ((byte, low), high) in body.iter_mut().zip(low).zip(high) {
                *byte = low | high << 4;
            }
        }
    }
}

pub(crate) fn unpack(shape: KvGroups, groups: &[u8], output: &mut [f32]) {
    shape.check(output.len(), groups.len());
    let groups = groups.chunks_exact(shape.bits.group_bytes());
    for ((first, stride, count), group) in shape.places().zip(groups) {
        let (head, body) = group.split_at(4);
        let number = |at: usize| f16::from_le_bytes([head[at], head[at + 1]]).to_f32();
        let (step, minimum) = (number(0), number(2));
        for index in 0..count {
            let code = match (shape.bits, index < GROUP_VALUES / 2) {
                (GroupBits::Eight, _) => body[index],
                (GroupBits::Four, true) => body[index] & 15,
                (GroupBits::Four, false) => body[index - GROUP_VALUES / 2] >> 4,
            };
            output[first + stride * index] = step * f32::from(code) + minimum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{GroupAxis, GroupBits, KvGroups};
    use crate::quant::{BlockType, decode};
    use crate::{Kernels, Scalar};

    const BITS: [GroupBits; 2] = [GroupBits::Four, GroupBits::Eight];

    fn numbers(count: usize) -> Vec<f32> {
        (0..count)
            .map(|index| (index * 7919 % 2003) as f32 / 300.0 - 3.0)
            .collect()
    }

    fn packed(shape: KvGroups, values: &[f32]) -> Vec<u8> {
        let mut groups = vec![0xFF; shape.bytes()];
        Scalar.group_kv(shape, values, &mut groups);
        groups
    }

    fn unpacked(shape: KvGroups, groups: &[u8]) -> Vec<f32> {
        let mut values = vec![f32::NAN; shape.values()];
        Scalar.ungroup_kv(shape, groups, &mut values);
        values
    }

    #[test]
    fn what_was_packed_comes_back_within_half_a_step() {
        for bits in BITS {
            for axis in [GroupAxis::Channels, GroupAxis::Tokens] {
                for (tokens, channels) in [(3, 40), (35, 6), (64, 32), (1, 1), (0, 5)] {
                    let shape = KvGroups {
                        tokens,
                        channels,
                        axis,
                        bits,
                    };
                    let values = numbers(shape.values());
                    let found = unpacked(shape, &packed(shape, &values));
                    // A group's range is at most 6.68; f16 takes 2^-11 of it and of the minimum.
                    let allowed = 6.68 / bits.most() / 2.0 + (6.68 + 3.0) / 2048.0;
                    for (found, value) in found.iter().zip(&values) {
                        assert!(
                            (found - value).abs() <= allowed,
                            "{shape:?}: {found}, {value}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn four_bits_are_q4_1() {
        let (axis, bits) = (GroupAxis::Channels, GroupBits::Four);
        let shape = KvGroups {
            tokens: 3,
            channels: 64,
            axis,
            bits,
        };
        let groups = packed(shape, &numbers(shape.values()));
        let mut expected = vec![0.0; shape.values()];
        decode(BlockType::Q4_1, &groups, &mut expected).unwrap();
        assert_eq!(unpacked(shape, &groups), expected);
    }

    /// A token's values are its own, along both axes.
    #[test]
    fn where_groups_stand() {
        for bits in BITS {
            let along = |axis| KvGroups {
                tokens: 40,
                channels: 3,
                axis,
                bits,
            };
            let mut values = vec![0.0; 120];
            values[35 * 3 + 1] = 1.0;
            let touched = |shape: KvGroups| -> Vec<usize> {
                let groups = packed(shape, &values);
                let groups = groups.chunks_exact(bits.group_bytes()).enumerate();
                let is_touched = |group: &[u8]| group.iter().any(|byte| *byte != 0);
                groups
                    .filter(|(_, group)| is_touched(group))
                    .map(|(index, _)| index)
                    .collect()
            };
            assert_eq!(touched(along(GroupAxis::Channels)), [35]);
            assert_eq!(touched(along(GroupAxis::Tokens)), [3 + 1]);
        }
    }

    #[test]
    fn what_is_no_number_of_f16_reads_as_nan() {
        for bits in BITS {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e9, -70_000.0] {
                let axis = GroupAxis::Channels;
                let shape = KvGroups {
                    tokens: 1,
                    channels: 64,
                    axis,
                    bits,
                };
                let mut values = numbers(64);
                values[5] = bad;
                let found = unpacked(shape, &packed(shape, &values));
                let (first, second) = found.split_at(32);
                assert!(first.iter().all(|value| value.is_nan()), "{bad}");
                assert!(second.iter().all(|value| value.is_finite()), "{bad}");
            }
        }
    }
}
