//! How a packed matrix is laid out, and its plain view, value by value.

use half::{bf16, f16};

use crate::quant::coding::{Codebook, coding};
use crate::quant::{BlockFormat, ScaleEncoding};
use crate::simd::Lanes;

/// Rows of a tile: the 32-bit lanes of the widest vector.
pub const TILE_ROWS: usize = 16;
/// Inputs of a packed block.
pub const BLOCK_INPUTS: usize = 32;
/// The place of the highest bit of a 14-bit integer but for its sign.
pub(super) const WORD_LEADING_BIT: u8 = 12;
/// Inputs that share an f16 base in the formats with super-blocks.
pub(super) const SUPER_INPUTS: usize = 256;

/// How the elements of a packed matrix are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elements {
    /// Dense f32.
    Float,
    /// Dense f16 bits.
    Half,
    /// Dense bf16 bits.
    Bfloat,
    /// Unsigned integers with scales.
    Quantized(QuantLayout),
}

/// Low four bits of each of four weights.
pub(super) const NIBBLES: u32 = 0x0f0f_0f0f;

/// Bytes of a vector of four weights for each row of a tile.
pub(crate) const VECTOR_BYTES: usize = 4 * TILE_ROWS;

/// Where the bits above the low four stand for the inputs `4 * vector..`: the vector after the
/// nibbles, and the lowest bit in each of its bytes.
pub(crate) fn high_bits_place(width: u32, vector: usize) -> (usize, u32) {
    let vectors = 8 / width as usize;
    (vector / vectors, (vector % vectors) as u32 * width)
}

/// What tells one quantized layout from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuantLayout {
    /// 4, 5, 6 or 8 bits a weight.
    pub bits: u32,
    /// What the bits choose from, where they are not the integer itself.
    pub codebook: Option<Codebook>,
    /// Inputs that share a scale: 16 or 32.
    pub group: usize,
    /// What is subtracted from each integer.
    pub zero: u8,
    /// How scales are stored.
    pub encoding: ScaleEncoding,
    /// Whether groups have a minimum that is added.
    pub has_minimum: bool,
}

impl QuantLayout {
    pub(super) fn of<F: BlockFormat>() -> Self {
        Self {
            bits: F::BITS,
            codebook: F::CODEBOOK,
            group: F::GROUP,
            zero: F::ZERO,
            encoding: F::ENCODING,
            has_minimum: F::HAS_MINIMUM,
        }
    }

    /// How the integers are kept, as one number.
    pub(crate) fn coding(self) -> u32 {
        coding(self.bits, self.codebook)
    }

    /// Scale groups of a block.
    pub(crate) fn groups(self) -> usize {
        BLOCK_INPUTS / self.group
    }

    /// Bytes of the integers of one block of a tile.
    pub(crate) fn block_bytes(self) -> usize {
        TILE_ROWS * BLOCK_INPUTS * self.bits as usize / 8
    }

    /// Bytes of the scales of one block of a tile, without a super-block's bases.
    pub(crate) fn block_scale_bytes(self) -> usize {
        let kinds = 1 + usize::from(self.has_minimum);
        let width = match self.encoding {
            ScaleEncoding::Half | ScaleEncoding::Bfloat => 2,
            ScaleEncoding::Single => 4,
            ScaleEncoding::Super => 1,
        };
        self.groups() * kinds * TILE_ROWS * width
    }

    /// Bytes of the bases that stand before every super-block.
    pub(crate) fn super_header_bytes(self) -> usize {
        match self.encoding {
            ScaleEncoding::Super => (1 + usize::from(self.has_minimum)) * TILE_ROWS * 2,
            _ => 0,
        }
    }

    pub(super) fn tile_scale_bytes(self, columns: usize) -> usize {
        columns / BLOCK_INPUTS * self.block_scale_bytes()
            + columns / SUPER_INPUTS * self.super_header_bytes()
    }

    /// Offset of a block's scales inside its tile.
    pub(crate) fn scale_offset(self, block: usize) -> usize {
        let headers = block / (SUPER_INPUTS / BLOCK_INPUTS) + 1;
        block * self.block_scale_bytes() + headers * self.super_header_bytes()
    }
}

/// One block of a tile, read value by value: the plain view of the layout.
#[derive(Clone, Copy)]
pub(crate) struct TileBlock<'a> {
    layout: QuantLayout,
    values: &'a [u8],
    header: &'a [u8],
    scales: &'a [u8],
}

impl<'a> TileBlock<'a> {
    #[inline(always)]
    pub(crate) fn new(
        layout: QuantLayout,
        values: &'a [u8],
        scales: &'a [u8],
        block: usize,
    ) -> Self {
        let bytes = layout.block_bytes();
        let blocks_of_super = SUPER_INPUTS / BLOCK_INPUTS;
        let header = layout.scale_offset(block / blocks_of_super * blocks_of_super)
            - layout.super_header_bytes();
        Self {
            layout,
            values: &values[block * bytes..(block + 1) * bytes],
            header: &scales[header..header + layout.super_header_bytes()],
            scales: &scales[layout.scale_offset(block)..][..layout.block_scale_bytes()],
        }
    }

    /// The stored integer, zero point not yet subtracted.
    pub(crate) fn integer(&self, lane: usize, input: usize) -> u8 {
        if self.layout.bits == 8 {
            return self.values[input / 4 * 64 + lane * 4 + input % 4];
        }
        let position = lane * 4 + input % 4;
        let byte = self.values[input % 16 / 4 * VECTOR_BYTES + position];
        let low = if input < 16 { byte & 15 } else { byte >> 4 };
        if self.layout.bits == 4 {
            let chosen = |codebook: Codebook| codebook.entries()[usize::from(low)];
            return self.layout.codebook.map_or(low, chosen);
        }
        let width = self.layout.bits - 4;
        let (plane, shift) = high_bits_place(width, input / 4);
        let high = self.values[(4 + plane) * VECTOR_BYTES + position] >> shift;
        low | ((high & ((1 << width) - 1)) << 4)
    }

    /// The integers of one row, zero point subtracted.
    #[inline(always)]
    pub(crate) fn integers(&self, lane: usize) -> [i8; BLOCK_INPUTS] {
        let word = |vector: usize| {
            let place = vector * VECTOR_BYTES + lane * 4;
            u32::from_le_bytes(lane_bytes(&self.values[place..place + 4], 0))
        };
        let mut words = [0; BLOCK_INPUTS / 4];
        if self.layout.bits == 8 {
            words = std::array::from_fn(word);
        } else {
            for vector in 0..4 {
                let nibbles = word(vector);
                words[vector] = nibbles & NIBBLES;
                words[4 + vector] = (nibbles >> 4) & NIBBLES;
            }
        }
        if matches!(self.layout.bits, 5 | 6) {
            let width = self.layout.bits - 4;
            let mask = 0x0101_0101 * ((1 << width) - 1);
            for (vector, target) in words.iter_mut().enumerate() {
                let (plane, shift) = high_bits_place(width, vector);
                *target |= ((word(4 + plane) >> shift) & mask) << 4;
            }
        }
        let mut integers = [0; BLOCK_INPUTS];
        let entries = self.layout.codebook.map(Codebook::entries);
        for (word, target) in words.into_iter().zip(integers.as_chunks_mut::<4>().0) {
            *target = word
                .to_le_bytes()
                .map(|byte| entries.map_or(byte, |entries| entries[usize::from(byte & 15)]))
                .map(|byte| byte.wrapping_sub(self.layout.zero).cast_signed());
        }
        integers
    }

    /// Scale and minimum of a group, so that a weight is `scale * (integer - zero) + minimum`.
    pub(crate) fn scale(&self, lane: usize, group: usize) -> (f32, f32) {
        let kinds = 1 + usize::from(self.layout.has_minimum);
        let half =
            |bytes: &[u8], index: usize| f16::from_le_bytes(lane_bytes(bytes, index)).to_f32();
        let index = group * kinds * TILE_ROWS + lane;
        let minimum = index + TILE_ROWS;
        let (scale, minimum_of): (f32, &dyn Fn() -> f32) = match self.layout.encoding {
            ScaleEncoding::Single => (f32::from_le_bytes(lane_bytes(self.scales, index)), &|| 0.0),
            ScaleEncoding::Bfloat => {
                let scale = bf16::from_le_bytes(lane_bytes(self.scales, index));
                (scale.to_f32(), &|| 0.0)
            }
            ScaleEncoding::Half => (half(self.scales, index), &|| half(self.scales, minimum)),
            ScaleEncoding::Super => (
                half(self.header, lane) * f32::from(self.scales[index].cast_signed()),
                &|| {
                    half(self.header, TILE_ROWS + lane)
                        * f32::from(self.scales[minimum].cast_signed())
                },
            ),
        };
        (
            scale,
            if self.layout.has_minimum {
                minimum_of()
            } else {
                0.0
            },
        )
    }

    /// The scales, and the minimums or zeros, of a group of all rows.
    #[inline(always)]
    pub(crate) fn scales<L: Lanes>(
        &self,
        lanes: L,
        group: usize,
        [scales, minimums]: &mut [[f32; TILE_ROWS]; 2],
    ) {
        let first = group * (1 + usize::from(self.layout.has_minimum)) * TILE_ROWS;
        self.load_scales(lanes, (0, first), scales);
        if self.layout.has_minimum {
            self.load_scales(lanes, (TILE_ROWS, first + TILE_ROWS), minimums);
        }
    }

    /// Sixteen scales, or minimums: `base` is the place of the first base in a super-block's header.
    #[inline(always)]
    fn load_scales<L: Lanes>(
        &self,
        lanes: L,
        (base, first): (usize, usize),
        target: &mut [f32; TILE_ROWS],
    ) {
        for (index, target) in target.chunks_exact_mut(L::WIDTH).enumerate() {
            let offset = index * L::WIDTH;
            let place = first + offset;
            let vector = match self.layout.encoding {
                ScaleEncoding::Single => {
                    let bytes = &self.scales[4 * place..4 * (place + L::WIDTH)];
                    // SAFETY: as many numbers as a vector has stand there.
                    unsafe { lanes.load(bytes.as_ptr().cast()) }
                }
                ScaleEncoding::Bfloat => {
                    let bytes = &self.scales[2 * place..2 * (place + L::WIDTH)];
                    // SAFETY: as many bfloats as a vector has lanes stand there.
                    unsafe { lanes.load_bfloat(bytes.as_ptr().cast()) }
                }
                ScaleEncoding::Half => {
                    let bytes = &self.scales[2 * place..2 * (place + L::WIDTH)];
                    // SAFETY: as many halves as a vector has lanes stand there.
                    unsafe { lanes.load_half(bytes.as_ptr().cast()) }
                }
                ScaleEncoding::Super => {
                    let bases = &self.header[2 * (base + offset)..][..2 * L::WIDTH];
                    let factors = &self.scales[place..place + L::WIDTH];
                    // SAFETY: as many halves, and as many bytes, as a vector has lanes stand there.
                    unsafe {
                        let bases = lanes.load_half(bases.as_ptr().cast());
                        lanes.mul(bases, lanes.load_bytes(factors.as_ptr().cast()))
                    }
                }
            };
            lanes.store_up_to(target, vector);
        }
    }

    /// The weights of a row.
    pub(crate) fn decode(&self, lane: usize, output: &mut [f32; BLOCK_INPUTS]) {
        let integers = self.integers(lane);
        let groups = integers.chunks_exact(self.layout.group);
        let targets = output.chunks_exact_mut(self.layout.group);
        for (group, (integers, targets)) in groups.zip(targets).enumerate() {
            let (scale, minimum) = self.scale(lane, group);
            for (target, integer) in targets.iter_mut().zip(integers) {
                *target = scale * f32::from(*integer) + minimum;
            }
        }
    }
}

/// The bytes of one lane of a vector.
pub(super) fn lane_bytes<const N: usize>(bytes: &[u8], lane: usize) -> [u8; N] {
    std::array::from_fn(|byte| bytes[lane * N + byte])
}
