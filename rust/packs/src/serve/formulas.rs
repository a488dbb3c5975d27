//! What the kernels compute, from their binary interface's page, in plain loops over f64: the oracle for those that the
//! forward pass does not call, and so for which there is no native kernel. Not fast, and called by nobody else.

/// How positions and heads stand in a rotary embedding's input, and what of a head turns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rotation {
    pub(crate) batch: usize,
    pub(crate) sequence: usize,
    pub(crate) heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) rotary_dims: usize,
    /// Pairs are neighbours, and not a head's two halves.
    pub(crate) is_adjacent: bool,
}

impl Rotation {
    pub(crate) fn elements(&self) -> usize {
        self.batch * self.sequence * self.heads * self.head_dim
    }

    /// Cosines, and as many sines.
    pub(crate) fn angles(&self) -> usize {
        self.sequence * self.rotary_dims / 2
    }

    /// The two dimensions of a pair.
    fn pair(&self, index: usize) -> (usize, usize) {
        if self.is_adjacent {
            (2 * index, 2 * index + 1)
        } else {
            (index, index + self.rotary_dims / 2)
        }
    }
}

pub(crate) fn rope(shape: &Rotation, x: &[f64], cosines: &[f64], sines: &[f64]) -> Vec<f64> {
    let (mut y, half) = (x.to_vec(), shape.rotary_dims / 2);
    for (number, head) in y.chunks_exact_mut(shape.head_dim).enumerate() {
        let position = number / shape.heads % shape.sequence;
        for index in 0..half {
            let (first, second) = shape.pair(index);
            let (cosine, sine) = (
                cosines[position * half + index],
                sines[position * half + index],
            );
            let (x, y) = (head[first], head[second]);
            head[first] = x * cosine - y * sine;
            head[second] = y * cosine + x * sine;
        }
    }
    y
}

pub(crate) fn rms_norm(x: &[f64], weight: &[f64], (epsilon, offset): (f64, f64)) -> Vec<f64> {
    let norm = |row: &[f64]| {
        let squares: f64 = row.iter().map(|value| value * value).sum();
        let factor = (squares / row.len() as f64 + epsilon).sqrt();
        let scaled = row.iter().zip(weight);
        let scaled = scaled.map(|(value, weight)| value / factor * (weight + offset));
        scaled.collect::<Vec<_>>()
    };
    x.chunks_exact(weight.len()).flat_map(norm).collect()
}

/// SiLU or the tanh form of GELU of the gate, times `up`.
pub(crate) fn gate(is_gelu: bool, gate: &[f64], up: &[f64]) -> Vec<f64> {
    let active = |x: f64| {
        if is_gelu {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        } else {
            x / (1.0 + (-x).exp())
        }
    };
    gate.iter().zip(up).map(|(x, up)| active(*x) * up).collect()
}

/// The dimensions of a low-rank adapter, and what its product is multiplied with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Adapter {
    pub(crate) inputs: usize,
    pub(crate) rank: usize,
    pub(crate) outputs: usize,
    pub(crate) scale: f64,
}

/// `y + scale * (x A^T) B^T`, and beside each value the sum of the magnitudes of all that is added up, which is what
/// rounding is relative to.
pub(crate) fn lora(
    shape: &Adapter,
    x: &[f64],
    (a, b): (&[f64], &[f64]),
    y: &[f64],
) -> Vec<(f64, f64)> {
    let mut found = Vec::new();
    for (x, y) in x
        .chunks_exact(shape.inputs)
        .zip(y.chunks_exact(shape.outputs))
    {
        for (y, b) in y.iter().zip(b.chunks_exact(shape.rank)) {
            let (mut value, mut magnitude) = (*y, y.abs());
            for (a, b) in a.chunks_exact(shape.inputs).zip(b) {
                for (x, a) in x.iter().zip(a) {
                    value += shape.scale * x * a * b;
                    magnitude += (shape.scale * x * a * b).abs();
                }
            }
            found.push((value, magnitude));
        }
    }
    found
}

/// Values of a group of keys or values, and of a block of bytes.
pub(crate) const GROUP: usize = 32;

/// Keys or values in groups.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Groups {
    pub(crate) tokens: usize,
    pub(crate) channels: usize,
    /// A group is one channel of up to 32 tokens, and not one token's 32 channels.
    pub(crate) is_along_tokens: bool,
    pub(crate) bits: usize,
}

impl Groups {
    pub(crate) fn group_bytes(&self) -> usize {
        4 + GROUP * self.bits / 8
    }

    /// The codes of a group are 0 to this.
    pub(crate) fn levels(&self) -> f64 {
        ((1 << self.bits) - 1) as f64
    }

    /// For every group which values of `[tokens, channels]` it holds.
    pub(crate) fn members(&self) -> Vec<Vec<usize>> {
        let mut found = Vec::new();
        if self.is_along_tokens {
            for first in (0..self.tokens).step_by(GROUP) {
                let tokens = first..self.tokens.min(first + GROUP);
                let of = |channel| tokens.clone().map(move |token| (token, channel)).collect();
                found.extend((0..self.channels).map(of));
            }
        } else {
            for token in 0..self.tokens {
                for first in (0..self.channels).step_by(GROUP) {
                    let channels = first..self.channels.min(first + GROUP);
                    found.push(channels.map(|channel| (token, channel)).collect::<Vec<_>>());
                }
            }
        }
        let place = |(token, channel)| token * self.channels + channel;
        let places = |group: Vec<_>| group.into_iter().map(place).collect();
        found.into_iter().map(places).collect()
    }

    /// The code of a value in a group's bytes.
    fn code(&self, group: &[u8], index: usize) -> u8 {
        match (self.bits, index < GROUP / 2) {
            (8, _) => group[4 + index],
            (_, true) => group[4 + index] & 15,
            (_, false) => group[4 + index - GROUP / 2] >> 4,
        }
    }

    /// The values `[tokens, channels]`, and behind them the codes of places that no value has.
    pub(crate) fn unpack(&self, bytes: &[u8]) -> Vec<f64> {
        let (mut values, mut unused) = (vec![f64::NAN; self.tokens * self.channels], Vec::new());
        let groups = bytes.chunks_exact(self.group_bytes());
        for (group, members) in groups.zip(self.members()) {
            let [step, minimum] = [0, 2].map(|at| half(group[at], group[at + 1]));
            for (index, place) in members.iter().enumerate() {
                values[*place] = step * f64::from(self.code(group, index)) + minimum;
            }
            let rest = members.len()..GROUP;
            unused.extend(rest.map(|index| f64::from(self.code(group, index))));
        }
        values.extend(unused);
        values
    }
}

/// The number of a half's two bytes.
pub(crate) fn half(low: u8, high: u8) -> f64 {
    let bits = u16::from_le_bytes([low, high]);
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    }
}

#[cfg(test)]
mod tests {
    use super::{Groups, half};
    use ruvllm_kernels::quant::{BlockType, decode};

    #[test]
    fn all_halves() {
        for bits in 0..=u16::MAX {
            let ([low, high], mut expected) = (bits.to_le_bytes(), [0.0f32]);
            decode(BlockType::F16, &[low, high], &mut expected).unwrap();
            let (found, expected) = (half(low, high), f64::from(expected[0]));
            assert!(
                found == expected || found.is_nan() && expected.is_nan(),
                "{bits:#x}"
            );
        }
    }

    /// GGML's block, by the decoder of models' weights.
    #[test]
    fn groups_of_4_bits_are_q4_1() {
        let shape = Groups {
            tokens: 3,
            channels: 64,
            is_along_tokens: false,
            bits: 4,
        };
        let bytes: Vec<u8> = (0..120).map(|index| (index * 37 % 120) as u8).collect();
        let mut expected = [0.0; 192];
        decode(BlockType::Q4_1, &bytes, &mut expected).unwrap();
        for (found, expected) in shape.unpack(&bytes).iter().zip(expected) {
            assert!((found - f64::from(expected)).abs() <= 1e-6 * found.abs());
        }
    }

    #[test]
    fn members_are_all_values_once() {
        for (tokens, channels, is_along_tokens, groups) in
            [(3, 40, false, 6), (35, 6, true, 12), (64, 2, true, 4)]
        {
            let shape = Groups {
                tokens,
                channels,
                is_along_tokens,
                bits: 8,
            };
            let members = shape.members();
            assert_eq!(members.len(), groups);
            let mut all = members.concat();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..tokens * channels));
        }
    }
}
