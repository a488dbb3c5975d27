//! Types of tensor elements, with the sizes of their blocks.

macro_rules! tensor_types {
    ($($variant:ident $number:literal $name:literal $elements:literal $bytes:literal)*) => {
        /// The type of a tensor's elements, as GGUF numbers it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "each is the format of that name")]
        pub enum TensorType { $($variant),* }

        impl TensorType {
            /// The type of that GGUF number.
            pub fn from_number(number: u32) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }

            /// Its GGUF number.
            pub fn number(self) -> u32 {
                match self { $(Self::$variant => $number),* }
            }

            /// The type of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }

            /// The name that GGUF tools print.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// Elements of a block.
            pub fn block_elements(self) -> usize {
                match self { $(Self::$variant => $elements),* }
            }

            /// Bytes of a block.
            pub fn block_bytes(self) -> usize {
                match self { $(Self::$variant => $bytes),* }
            }
        }
    };
}

tensor_types! {
    F32 0 "F32" 1 4
    F16 1 "F16" 1 2
    Q4_0 2 "Q4_0" 32 18
    Q4_1 3 "Q4_1" 32 20
    Q5_0 6 "Q5_0" 32 22
    Q5_1 7 "Q5_1" 32 24
    Q8_0 8 "Q8_0" 32 34
    Q8_1 9 "Q8_1" 32 40
    Q2K 10 "Q2_K" 256 84
    Q3K 11 "Q3_K" 256 110
    Q4K 12 "Q4_K" 256 144
    Q5K 13 "Q5_K" 256 176
    Q6K 14 "Q6_K" 256 210
    Q8K 15 "Q8_K" 256 292
    Iq2Xxs 16 "IQ2_XXS" 256 66
    Iq2Xs 17 "IQ2_XS" 256 74
    Iq3Xxs 18 "IQ3_XXS" 256 98
    Iq1S 19 "IQ1_S" 256 50
    Iq4Nl 20 "IQ4_NL" 32 18
    Iq3S 21 "IQ3_S" 256 110
    Iq2S 22 "IQ2_S" 256 82
    Iq4Xs 23 "IQ4_XS" 256 136
    I8 24 "I8" 1 1
    I16 25 "I16" 1 2
    I32 26 "I32" 1 4
    I64 27 "I64" 1 8
    F64 28 "F64" 1 8
    Iq1M 29 "IQ1_M" 256 56
    Bf16 30 "BF16" 1 2
    Tq1_0 34 "TQ1_0" 256 54
    Tq2_0 35 "TQ2_0" 256 66
    Mxfp4 39 "MXFP4" 32 17
    U8 1000 "U8" 1 1
    U16 1001 "U16" 1 2
    U32 1002 "U32" 1 4
    U64 1003 "U64" 1 8
    Bool 1004 "BOOL" 1 1
    F8E4M3 1005 "F8_E4M3" 1 1
    F8E5M2 1006 "F8_E5M2" 1 1
}

impl TensorType {
    /// The type of a safetensors `dtype`.
    pub fn from_safetensors(name: &str) -> Option<Self> {
        Some(match name {
            "F64" => Self::F64,
            "F32" => Self::F32,
            "F16" => Self::F16,
            "BF16" => Self::Bf16,
            "I64" => Self::I64,
            "I32" => Self::I32,
            "I16" => Self::I16,
            "I8" => Self::I8,
            "U64" => Self::U64,
            "U32" => Self::U32,
            "U16" => Self::U16,
            "U8" => Self::U8,
            "BOOL" => Self::Bool,
            "F8_E4M3" => Self::F8E4M3,
            "F8_E5M2" => Self::F8E5M2,
            _ => return None,
        })
    }

    /// Whether little-endian floats of this type are all numbers; what is no float is.
    pub fn is_finite(self, bytes: &[u8]) -> bool {
        // All are looked at, since that goes in vectors.
        match self {
            Self::F16 => all_of(bytes, |two| u16::from_le_bytes(two) & 0x7c00 != 0x7c00),
            Self::Bf16 => all_of(bytes, |two| u16::from_le_bytes(two) & 0x7f80 != 0x7f80),
            Self::F32 => all_of(bytes, |four| f32::from_le_bytes(four).is_finite()),
            Self::F64 => all_of(bytes, |eight| f64::from_le_bytes(eight).is_finite()),
            _ => true,
        }
    }

    /// Whether a GGUF file may number it: the types from 1000 on are safetensors' own.
    pub(crate) fn is_gguf(number: u32) -> bool {
        number < 1000
    }
}

fn all_of<const SIZE: usize>(bytes: &[u8], is_so: impl Fn([u8; SIZE]) -> bool) -> bool {
    let (numbers, _) = bytes.as_chunks();
    numbers
        .iter()
        .fold(true, |all, number| all & is_so(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One value is broken, at several places.
    fn check<const SIZE: usize>(kind: TensorType, number: [u8; SIZE], broken: [[u8; SIZE]; 2]) {
        for place in [0, 1, 70] {
            let mut numbers = [number; 71];
            assert!(kind.is_finite(numbers.as_flattened()), "{kind:?}");
            for none in broken {
                numbers[place] = none;
                assert!(
                    !kind.is_finite(numbers.as_flattened()),
                    "{kind:?}: {none:?} at {place}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_number_is_found_anywhere() {
        check(TensorType::F16, [0xff, 0x7b], [[0, 0x7c], [1, 0xfc]]);
        check(TensorType::Bf16, [0x7f, 0x7f], [[0x80, 0x7f], [0xc0, 0xff]]);
        let broken = [f32::NAN, f32::NEG_INFINITY].map(f32::to_le_bytes);
        check(TensorType::F32, f32::MAX.to_le_bytes(), broken);
        let broken = [f64::NAN, f64::INFINITY].map(f64::to_le_bytes);
        check(TensorType::F64, f64::MIN.to_le_bytes(), broken);
        assert!(TensorType::I32.is_finite(&[0xff; 8]));
    }
}
