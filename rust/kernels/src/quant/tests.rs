//! Properties that hold for every format, and blocks worked out by hand.
//!
//! Comparisons with golden files are in `tests/golden_blocks.rs`.

use proptest::prelude::*;

use super::*;

/// The constants of a format, as the packer relies on them.
struct Constants;

impl BlockVisitor for Constants {
    type Output = (BlockType, usize, usize, ScaleEncoding, u32, bool);

    fn visit<F: BlockFormat>(self) -> Self::Output {
        let num_groups = F::ELEMENTS / F::GROUP;
        (
            F::BLOCK_TYPE,
            F::ELEMENTS,
            num_groups,
            F::ENCODING,
            F::BITS,
            F::HAS_MINIMUM,
        )
    }
}

#[test]
fn each_type_leads_to_its_own_format() {
    for block_type in BlockType::ALL {
        let Some((own, elements, num_groups, encoding, bits, _)) = block_type.visit(Constants)
        else {
            assert!(!block_type.is_quantized());
            continue;
        };
        assert_eq!(own, block_type);
        assert_eq!(elements == 256, encoding == ScaleEncoding::Super);
        assert_eq!(num_groups == 1, encoding != ScaleEncoding::Super);
        assert!(matches!(bits, 4 | 5 | 6 | 8));
    }
}

#[test]
fn names_lead_back_and_others_to_nothing() {
    for block_type in BlockType::ALL {
        assert_eq!(BlockType::from_name(block_type.name()), Some(block_type));
    }
    for name in ["", "q4_0", "Q4K", "Q8_1", "IQ4_NL "] {
        assert_eq!(BlockType::from_name(name), None, "{name:?}");
    }
    assert_eq!(format!("{:>6}", BlockType::Q4K), "  Q4_K");
}

/// Elements and bytes of a block, as the GGUF documents list them.
#[test]
fn block_sizes() {
    let sizes = BlockType::ALL.map(|each| (each.block_elements(), each.block_bytes()));
    let floats = [(1, 4), (1, 2), (1, 2)];
    let simple = [(32, 18), (32, 20), (32, 22), (32, 24), (32, 34)];
    let super_blocks = [(256, 84), (256, 110), (256, 144), (256, 176), (256, 210)];
    let codebooks = [(32, 18), (256, 136), (32, 17), (256, 110)];
    let ternary = [(256, 54), (256, 66)];
    let expected = [&floats[..], &simple, &super_blocks, &codebooks, &ternary].concat();
    assert_eq!(sizes.as_slice(), expected);
}

#[test]
fn wrong_lengths_are_refused() {
    let mut output = [0.0; 256];
    assert_eq!(
        decode(BlockType::Q4K, &[0; 143], &mut output),
        Err(QuantError::PartialBlockBytes {
            block_type: BlockType::Q4K,
            num_bytes: 143,
            block_bytes: 144
        })
    );
    assert_eq!(
        decode(BlockType::Q4_0, &[0; 18], &mut output[..31]),
        Err(QuantError::PartialBlockElements {
            block_type: BlockType::Q4_0,
            num_elements: 31,
            block_elements: 32
        })
    );
    let error = decode(BlockType::Q4_0, &[0; 36], &mut output[..32]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "36 bytes of Q4_0 are 2 blocks with 64 values, but the buffer of values holds 32"
    );
    let error = encode(BlockType::Q8_0, &output[..32], &mut [0; 68]).unwrap_err();
    assert!(matches!(error, QuantError::LengthMismatch { .. }));
    assert_eq!(decode(BlockType::Q6K, &[], &mut []), Ok(()));
}

#[test]
fn formats_without_encoder_are_refused_by_name() {
    let error = encode(BlockType::Mxfp4, &[0.0; 32], &mut [0; 17]).unwrap_err();
    assert!(error.to_string().starts_with("no encoder for MXFP4"));
}

/// Base 1, minimum base 0.5; group 5 has scale 0x2A and minimum 0x15, all others zero.
#[test]
fn q4_k_by_hand() {
    let mut block = [0_u8; 144];
    block[..4].copy_from_slice(&[0x00, 0x3C, 0x00, 0x38]);
    block[4 + 1] = 0x80; // upper bits of scale 5: 0x2A = 0b10_1010
    block[4 + 5] = 0x40; // upper bits of minimum 5: 0x15 = 0b01_0101
    block[4 + 9] = 0x5A; // lower bits of both
    block[16 + 64 + 3] = 0x70; // elements 128 + 3 (0) and 160 + 3 (7)
    let mut output = [f32::NAN; 256];
    decode(BlockType::Q4K, &block, &mut output).unwrap();
    for (index, &value) in output.iter().enumerate() {
        let expected = match index {
            163 => 42.0 * 7.0 - 10.5,
            160..192 => -10.5,
            _ => 0.0,
        };
        assert_eq!(value, expected, "element {index}");
    }
}

/// Base 2; group 6 has scale 0x25 - 32 = 5, the others -32; element 100 is 7 - 4, the others -4.
#[test]
fn q3_k_by_hand() {
    let mut block = [0_u8; 110];
    block[109] = 0x40;
    block[96 + 6] = 0x05; // lower bits of scales 6 and 14
    block[96 + 8 + 2] = 0x02 << 2; // upper bits of scales 2, 6, 10, 14
    block[4] = 1 << 3; // third bit of element 32 * 3 + 4
    block[32 + 4] = 3 << 6; // its lower bits
    let mut output = [f32::NAN; 256];
    decode(BlockType::Q3K, &block, &mut output).unwrap();
    for (index, &value) in output.iter().enumerate() {
        let expected = match index {
            100 => 2.0 * 5.0 * 3.0,
            96..112 => 2.0 * 5.0 * -4.0,
            _ => 2.0 * -32.0 * -4.0,
        };
        assert_eq!(value, expected, "element {index}");
    }
}

#[test]
fn mxfp4_scales_from_subnormal_to_overflow() {
    let cases = [
        (0, 2.0_f32.powi(-128)),
        (1, 2.0_f32.powi(-127)),
        (2, f32::MIN_POSITIVE),
        (128, 1.0),
        (255, 2.0_f32.powi(127)),
    ];
    for (exponent, half_unit) in cases {
        let mut block = [0_u8; 17];
        block[0] = exponent;
        block[1] = 0x71; // elements 0 (0.5) and 16 (6)
        let mut output = [f32::NAN; 32];
        decode(BlockType::Mxfp4, &block, &mut output).unwrap();
        let expected = (half_unit, half_unit * 12.0);
        assert_eq!((output[0], output[16]), expected, "exponent {exponent}");
    }
}

/// Encoders whose blocks decode to within `1 / steps` of the range of the values.
const ENCODERS: [(BlockType, f32); 5] = [
    (BlockType::Q4_0, 8.0),
    (BlockType::Q4_1, 15.0),
    (BlockType::Q5_0, 16.0),
    (BlockType::Q5_1, 31.0),
    (BlockType::Q8_0, 127.0),
];

proptest! {
    #[test]
    fn encoded_values_come_back_within_a_step(values in prop::array::uniform32(-100.0_f32..100.0)) {
        let mut low = f32::INFINITY;
        let mut high = f32::NEG_INFINITY;
        for value in values {
            low = low.min(value);
            high = high.max(value);
        }
        for (block_type, steps) in ENCODERS {
            let mut block = vec![0; block_type.block_bytes()];
            let mut output = [0.0; 32];
            encode(block_type, &values, &mut block).unwrap();
            decode(block_type, &block, &mut output).unwrap();
            // One step, and what rounding to f16 moves.
            let largest = high.abs().max(low.abs());
            let tolerance = (high - low).max(largest) / steps + largest / 512.0;
            for (value, output) in values.iter().zip(output) {
                prop_assert!((value - output).abs() <= tolerance, "{block_type}: {value} became {output}");
            }
        }
    }

    #[test]
    fn floats_come_back(values in prop::collection::vec(any::<f32>(), 0..200)) {
        let mut bytes = vec![0; 4 * values.len()];
        let mut output = vec![0.0; values.len()];
        encode(BlockType::F32, &values, &mut bytes).unwrap();
        decode(BlockType::F32, &bytes, &mut output).unwrap();
        for block_type in [BlockType::F16, BlockType::Bf16] {
            let bytes = &mut bytes[..2 * values.len()];
            encode(block_type, &values, bytes).unwrap();
            decode(block_type, bytes, &mut output).unwrap();
            let rounded = output.clone();
            encode(block_type, &rounded, bytes).unwrap();
            decode(block_type, bytes, &mut output).unwrap();
            prop_assert_eq!(&rounded, &output);
        }
    }

    #[test]
    fn integers_fit_their_bits_and_zero_is_among_them(bytes in prop::collection::vec(any::<u8>(), 210)) {
        for block_type in BlockType::ALL {
            block_type.visit(CheckIntegers(&bytes));
        }
    }
}

/// Unpacks one block of arbitrary bytes; the buffers begin with values that must be overwritten.
struct CheckIntegers<'a>(&'a [u8]);

impl BlockVisitor for CheckIntegers<'_> {
    type Output = ();

    fn visit<F: BlockFormat>(self) {
        let mut quants = vec![0xFF; F::ELEMENTS];
        let mut again = vec![0; F::ELEMENTS];
        let mut scales = BlockScales::default();
        F::unpack(&self.0[..F::BYTES], &mut quants, &mut scales);
        F::unpack(&self.0[..F::BYTES], &mut again, &mut scales);
        assert_eq!(quants, again, "{}", F::BLOCK_TYPE);
        let fits = |quant: u8| match F::CODEBOOK {
            Some(codebook) => F::BITS == 4 && codebook.entries().contains(&quant),
            None => u32::from(quant) < 1 << F::BITS,
        };
        assert!(F::CODEBOOK.is_some() || fits(F::ZERO));
        assert!(quants.iter().all(|&quant| fits(quant)));
        assert!(scales.sub_minimum.iter().all(|&minimum| minimum >= 0));
        assert!(F::HAS_MINIMUM || scales.base_minimum == 0.0);
    }
}
