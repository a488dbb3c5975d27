//! A cache that a softmax in f64 can read, in one format or in tiers of two.

use ruvllm_kernels::{
    AttentionShape, BLOCK_TOKENS, KvData, KvDataMut, KvFormat, KvLayout, KvSlot, KvStorage, KvView,
    store_kv,
};

use crate::support::{Numbers, turned};

/// Two layers of keys and values of one sequence, with NaN wherever nothing is stored.
pub(crate) struct Cache {
    pub(crate) storage: KvStorage,
    pub(crate) layout: KvLayout,
    pub(crate) block_table: Vec<u32>,
}

impl Cache {
    pub(crate) fn filled(layout: KvLayout, tokens: usize, numbers: &mut Numbers) -> Self {
        let blocks = tokens.div_ceil(BLOCK_TOKENS);
        let mut cache = Self {
            storage: KvStorage::zeroed(layout, blocks + 2).unwrap(),
            layout,
            // Backwards, so that no two blocks follow each other in the pool.
            block_table: (0..blocks as u32)
                .map(|block| blocks as u32 + 1 - block)
                .collect(),
        };
        match cache.storage.data_mut() {
            KvDataMut::F32(data) => data.fill(f32::NAN),
            // Two such words, or four such bytes, or one where scales have one, are a scale that is no number.
            KvDataMut::I16(data) => data.fill(-1),
            KvDataMut::I8(data) => data.fill(-1),
        }
        let width = layout.kv_heads * layout.head_dim;
        for position in 0..tokens {
            let (keys, values) = (numbers.row(width), numbers.row(width));
            let slot = KvSlot {
                block: cache.block_table[position / BLOCK_TOKENS],
                position: position % BLOCK_TOKENS,
                layer: 1,
            };
            store_kv(layout, &mut cache.storage.data_mut(), slot, &keys, &values);
        }
        cache
    }

    pub(crate) fn view(&self) -> KvView<'_> {
        self.storage.view()
    }

    fn number(&self, offset: usize) -> f64 {
        match self.view().data {
            KvData::F32(data) => f64::from(data[offset]),
            KvData::I16(data) => f64::from(data[offset]),
            KvData::I8(data) => f64::from(data[offset]),
        }
    }

    /// The scale of a key, or of a value, which stand sixteen further on.
    fn scale(&self, block: u32, kv_head: usize, index: usize) -> f64 {
        match self.view().data {
            KvData::F32(_) => 1.0,
            KvData::I16(data) => {
                let place = self.layout.scale_offset(block, 1, kv_head) + 2 * index;
                let [low, high] = [data[place], data[place + 1]].map(|word| u32::from(word as u16));
                f64::from(f32::from_bits(low | high << 16))
            }
            // Six bits of exponent, of which 40 is that of 1, and two of mantissa.
            KvData::I8(data) if self.layout.format == KvFormat::Q3 => {
                let code = data[self.layout.scale_offset(block, 1, kv_head) + index] as u8;
                let power = 2f64.powi(i32::from(code / 4) - 40);
                match code {
                    0 => 0.0,
                    255 => f64::NAN,
                    _ => power * (1.0 + f64::from(code % 4) / 4.0),
                }
            }
            KvData::I8(data) => {
                let place = self.layout.scale_offset(block, 1, kv_head) + 4 * index;
                let bytes = std::array::from_fn(|byte| data[place + byte] as u8);
                f64::from(f32::from_ne_bytes(bytes))
            }
        }
    }

    /// A number of a key, where those of the block begin: numbers that are multiplied together stand side by side.
    fn key(&self, begin: usize, token: usize, dimension: usize) -> f64 {
        match self.layout.format {
            KvFormat::F32 => self.number(begin + dimension * 16 + token),
            KvFormat::I16 | KvFormat::I8 | KvFormat::K8V4 => {
                self.number(begin + dimension / 2 * 32 + token * 2 + dimension % 2)
            }
            KvFormat::Q4 => self.half(begin + dimension / 2 * 16 + token, dimension % 2),
            KvFormat::Q3 => self.level(begin + dimension / 16 * 96, token, dimension % 16),
        }
    }

    /// A number of a value, where those of the block begin: rows, and in them what fills them up.
    fn value(&self, begin: usize, token: usize, dimension: usize) -> f64 {
        let padded = self.layout.head_dim.div_ceil(16) * 16;
        let beside = token / 2 * 2 * padded + dimension * 2 + token % 2;
        match self.layout.format {
            KvFormat::F32 => self.number(begin + token * padded + dimension),
            KvFormat::I16 | KvFormat::I8 => self.number(begin + beside),
            KvFormat::K8V4 | KvFormat::Q4 => {
                self.half(begin + token / 2 * padded + dimension, token % 2)
            }
            KvFormat::Q3 => self.level(begin + dimension / 16 * 96, dimension % 16, token),
        }
    }

    /// A half of a byte is a number of -8..=7 and stands for an odd one.
    fn half(&self, place: usize, which: usize) -> f64 {
        let byte = (self.number(place) as i8) as u8;
        let half = f64::from(if which == 0 { byte & 0xF } else { byte >> 4 });
        2.0 * (if half < 8.0 { half } else { half - 16.0 }) + 1.0
    }

    /// Of sixteen rows and columns that begin there: each column has a word of 32 bits, two for each row, and further on one of
    /// 16 bits, in both those of even rows, then of odd ones.
    fn level(&self, begin: usize, column: usize, row: usize) -> f64 {
        let byte = |place: usize| (self.number(begin + place) as i8) as u8;
        let word = u32::from_le_bytes(std::array::from_fn(|index| byte(4 * column + index)));
        let third = u16::from_le_bytes([byte(64 + 2 * column), byte(65 + 2 * column)]);
        let code = (word >> (row / 2 * 2 + row % 2 * 16)) % 4
            + 4 * u32::from((third >> (row / 2 + row % 2 * 8)) % 2);
        [-127.0, -79.0, -45.0, -14.0, 14.0, 45.0, 79.0, 127.0][code as usize]
    }

    /// A query or a result as the format turns it.
    fn turned(&self, numbers: Vec<f64>) -> Vec<f64> {
        match self.layout.format {
            KvFormat::F32 | KvFormat::I16 => numbers,
            KvFormat::I8 | KvFormat::K8V4 | KvFormat::Q4 | KvFormat::Q3 => turned(&numbers),
        }
    }

    fn place(&self, position: usize) -> (u32, usize) {
        let block = self.block_table[position / BLOCK_TOKENS];
        (block, position % BLOCK_TOKENS)
    }

    /// A query, turned as the format wants it, times the key of a position.
    fn score(&self, query: &[f64], (position, kv_head): (usize, usize)) -> f64 {
        let (block, token) = self.place(position);
        let begin = self.layout.key_offset(block, 1, kv_head);
        let products = query.iter().enumerate();
        let sum: f64 = products
            .map(|(dimension, value)| value * self.key(begin, token, dimension))
            .sum();
        sum * self.scale(block, kv_head, token)
    }

    /// Adds the value of a position.
    fn add_value(&self, sums: &mut [f64], weight: f64, (position, kv_head): (usize, usize)) {
        let (block, token) = self.place(position);
        let begin = self.layout.value_offset(block, 1, kv_head);
        let weight = weight * self.scale(block, kv_head, BLOCK_TOKENS + token);
        for (dimension, sum) in sums.iter_mut().enumerate() {
            *sum += weight * self.value(begin, token, dimension);
        }
    }
}

/// A cache, and one of other numbers for the last tokens, as many as its beginning says.
pub(crate) struct Tiers {
    pub(crate) store: Cache,
    pub(crate) tail: Option<(usize, Cache)>,
}

impl Tiers {
    /// Which cache has a position, for a query at another one.
    fn at(&self, position: usize, query: usize) -> &Cache {
        match &self.tail {
            Some((tokens, tail)) if position + tokens > query => tail,
            _ => &self.store,
        }
    }

    /// Each cache, and the shape as its queries see it.
    pub(crate) fn each(&self, shape: AttentionShape) -> Vec<(&Cache, AttentionShape)> {
        let Some((tokens, tail)) = &self.tail else {
            return vec![(&self.store, shape)];
        };
        let window = Some(shape.window.map_or(*tokens, |window| window.min(*tokens)));
        let near = AttentionShape { window, ..shape };
        let behind = *tokens;
        vec![
            (&self.store, AttentionShape { behind, ..shape }),
            (tail, near),
        ]
    }

    /// The attention of one query of head `head` at `position`, by the textbook, with what is added to its products with the
    /// keys of each block.
    pub(crate) fn expected(
        &self,
        shape: &AttentionShape,
        query: &[f32],
        (position, head): (usize, usize),
        of_block: &dyn Fn(usize) -> f64,
    ) -> Vec<f32> {
        let kv_head = head / (shape.num_heads / self.store.layout.kv_heads);
        let first = shape
            .window
            .map_or(0, |window| (position + 1).saturating_sub(window));
        let query: Vec<f64> = query.iter().copied().map(f64::from).collect();
        let caches = self.each(*shape);
        let turned: Vec<_> = caches
            .iter()
            .map(|(cache, _)| cache.turned(query.clone()))
            .collect();
        let index = |seen: usize| {
            let own = self.at(seen, position);
            caches
                .iter()
                .position(|(cache, _)| std::ptr::eq(*cache, own))
                .unwrap()
        };
        let scores = (first..=position).map(|seen| {
            let (own, query) = (self.at(seen, position), &turned[index(seen)]);
            let product = own.score(query, (seen, kv_head)) + of_block(seen / BLOCK_TOKENS);
            let score = product * f64::from(shape.scale);
            shape.soft_cap.map_or(score, |cap| {
                f64::from(cap) * (score / f64::from(cap)).tanh()
            })
        });
        let scores: Vec<f64> = scores.collect();
        let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = scores.iter().map(|score| (score - highest).exp()).sum();
        let mut output = vec![0.0; query.len()];
        for (index_of, (cache, _)) in caches.iter().enumerate() {
            let mut sums = vec![0.0; query.len()];
            for (seen, score) in (first..=position).zip(&scores) {
                if index(seen) == index_of {
                    cache.add_value(&mut sums, (score - highest).exp() / total, (seen, kv_head));
                }
            }
            for (sum, own) in output.iter_mut().zip(cache.turned(sums)) {
                *sum += own;
            }
        }
        output.into_iter().map(|sum| sum as f32).collect()
    }
}
