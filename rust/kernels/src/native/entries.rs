//! The functions that enter an instruction set.

/// The float operations of one instruction set: each generic algorithm inside a function that has
/// the features, which a value of its [`Lanes`](crate::simd::Lanes) proves. Sets that differ in their integer products
/// alone share them.
macro_rules! native_entries {
    ($entries:ident, $lanes:ty, $features:literal) => {
        mod $entries {
            use super::*;
            use crate::Activation;
            use crate::attention::join::{self, Gathered};
            use crate::attention::{KvDataMut, KvLayout, KvRows, KvRun, store};
            use crate::lora::{LoraNumbers, Meeting, RowDelta, rows};
            use crate::matmul::{
                FloatProduct, FloatRows, OutputRows, OutputTile, QuantizedRowMut, TileRange,
                WordRowMut, dense, float_product, transposed, turn_over,
            };
            use crate::ops::{activation, backward, norm, quantize, rope, softmax, vector};
            use crate::weights::{PackedMatrix, decoded};

            #[target_feature(enable = $features)]
            pub(super) fn rms_norm(
                lanes: $lanes,
                input: &[f32],
                weight: &[f32],
                epsilon: f32,
                output: &mut [f32],
            ) {
                norm::rms_norm(lanes, input, weight, epsilon, output);
            }
            #[target_feature(enable = $features)]
            pub(super) fn add(lanes: $lanes, input: &[f32], accumulator: &mut [f32]) {
                norm::add(lanes, input, accumulator);
            }
            #[target_feature(enable = $features)]
            pub(super) fn add_scaled(
                lanes: $lanes,
                factor: f32,
                input: &[f32],
                accumulator: &mut [f32],
            ) {
                vector::add_scaled(lanes, factor, input, accumulator);
            }
            #[target_feature(enable = $features)]
            pub(super) fn dot(lanes: $lanes, first: &[f32], second: &[f32]) -> f32 {
                vector::dot(lanes, first, second)
            }
            #[target_feature(enable = $features)]
            pub(super) fn rotate(
                lanes: $lanes,
                heads: &mut [f32],
                head_dim: usize,
                cosines: &[f32],
                sines: &[f32],
            ) {
                for head in heads.chunks_exact_mut(head_dim) {
                    rope::rotate(lanes, head, cosines, sines);
                }
            }
            #[target_feature(enable = $features)]
            pub(super) fn gate(
                lanes: $lanes,
                kind: Activation,
                gate: &[f32],
                up: &[f32],
                output: &mut [f32],
            ) {
                activation::gate(lanes, kind, gate, up, output);
            }
            #[target_feature(enable = $features)]
            pub(super) fn soft_cap(lanes: $lanes, values: &mut [f32], cap: f32) {
                activation::soft_cap(lanes, values, cap);
            }
            #[target_feature(enable = $features)]
            pub(super) fn softmax(lanes: $lanes, input: &[f32], output: &mut [f32]) {
                softmax::softmax(lanes, input, output);
            }
            #[target_feature(enable = $features)]
            pub(super) fn log_softmax(
                lanes: $lanes,
                input: &[f32],
                logs: &mut [f32],
                shares: &mut [f32],
            ) {
                softmax::log_softmax(lanes, input, logs, shares);
            }
            #[target_feature(enable = $features)]
            pub(super) fn block_maxima(lanes: $lanes, values: &[f32], maxima: &mut [f32]) {
                softmax::block_maxima(lanes, values, maxima);
            }
            #[target_feature(enable = $features)]
            pub(super) fn decode_rows(
                lanes: $lanes,
                matrix: &PackedMatrix,
                rows: &[u32],
                output: &mut [f32],
            ) {
                decoded::decode_rows(lanes, matrix, rows, output);
            }
            #[target_feature(enable = $features)]
            pub(super) fn weight_sums(
                lanes: $lanes,
                values: &[f32],
                scale: (f32, f32),
                sums: &mut [f32],
            ) {
                softmax::weight_sums(lanes, values, scale, sums);
            }
            #[target_feature(enable = $features)]
            pub(super) fn quantize(lanes: $lanes, input: &[f32], row: &mut QuantizedRowMut<'_>) {
                quantize::quantize(lanes, input, row);
            }
            #[target_feature(enable = $features)]
            pub(super) fn quantize_words(lanes: $lanes, input: &[f32], row: &mut WordRowMut<'_>) {
                quantize::quantize_words(lanes, input, row);
            }
            /// # Safety
            ///
            /// `check_product` passed.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn multiply_float(
                lanes: $lanes,
                matrix: &PackedMatrix,
                rows: FloatRows<'_>,
                range: &TileRange,
                output: &mut OutputTile<'_>,
            ) {
                // SAFETY: the caller checked the product.
                unsafe { dense::multiply(lanes, matrix, rows, range, output) }
            }
            /// # Safety
            ///
            /// `transposed::check` passed.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn multiply_transposed(
                lanes: $lanes,
                matrix: &PackedMatrix,
                rows: OutputRows<'_>,
                blocks: &std::ops::Range<usize>,
                output: &mut OutputTile<'_>,
            ) {
                // SAFETY: what the caller promises.
                unsafe { transposed::add(lanes, matrix, rows, blocks, output) }
            }
            #[target_feature(enable = $features)]
            pub(super) fn turn_over(
                lanes: $lanes,
                matrix: &PackedMatrix,
                block: usize,
                panel: &mut PackedMatrix,
            ) {
                turn_over::turn_over(lanes, matrix, block, panel);
            }
            /// # Safety
            ///
            /// The product was checked.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn add_product(
                lanes: $lanes,
                product: &FloatProduct<'_>,
                output: &mut OutputTile<'_>,
            ) {
                // SAFETY: what the caller promises.
                unsafe { float_product::add(lanes, product, output) }
            }
            #[target_feature(enable = $features)]
            pub(super) fn rms_norm_backward(
                lanes: $lanes,
                norm: (&[f32], &[f32], f32),
                output_gradient: &[f32],
                gradient: &mut [f32],
            ) {
                backward::rms_norm(lanes, norm, output_gradient, gradient);
            }
            #[target_feature(enable = $features)]
            pub(super) fn gate_backward(
                lanes: $lanes,
                kind: Activation,
                output_gradient: &[f32],
                halves: (&mut [f32], &mut [f32]),
            ) {
                backward::gate(lanes, kind, output_gradient, halves);
            }
            #[target_feature(enable = $features)]
            pub(super) fn finish(lanes: $lanes, layout: KvLayout, gathered: &mut Gathered<'_>) {
                join::finish(lanes, layout, gathered);
            }
            #[target_feature(enable = $features)]
            pub(super) fn join_parts(lanes: $lanes, parts: &[f32], gathered: &mut Gathered<'_>) {
                join::join_parts(lanes, parts, gathered);
            }
            #[target_feature(enable = $features)]
            pub(super) fn lora_reduce(
                lanes: $lanes,
                a: LoraNumbers<'_>,
                x: FloatRows<'_>,
                (reduced, stride): (&mut [f32], usize),
            ) {
                match a {
                    LoraNumbers::F32(a) => rows::reduce(lanes, a, x, reduced, stride),
                    LoraNumbers::F16(a) => rows::reduce(lanes, a, x, reduced, stride),
                }
            }
            /// # Safety
            ///
            /// `Meeting::check` passed.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn lora_expand(
                lanes: $lanes,
                delta: &RowDelta<'_>,
                meeting: &Meeting,
                tile: &mut OutputTile<'_>,
            ) {
                // SAFETY: what the caller promises.
                unsafe {
                    match delta.b {
                        LoraNumbers::F32(b) => rows::expand(lanes, b, delta, meeting, tile),
                        LoraNumbers::F16(b) => rows::expand(lanes, b, delta, meeting, tile),
                    }
                }
            }
            /// # Safety
            ///
            /// `KvRun::check` passed.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn store_run(
                lanes: $lanes,
                layout: KvLayout,
                rows: KvRows<'_>,
                run: KvRun,
                piece: &mut KvDataMut<'_>,
            ) {
                // SAFETY: the caller checked the run.
                unsafe { store::store_run(lanes, layout, rows, run, piece) }
            }
        }
    };
}
pub(crate) use native_entries;

/// Attention on one instruction set, which a value of its [`Pairs`](crate::simd::pairs::Pairs) proves.
macro_rules! attention_entries {
    ($entries:ident, $pairs:ty, $features:literal) => {
        mod $entries {
            use std::ops::Range;

            use super::*;
            use crate::attention::arithmetic::{Arithmetic, Floats, Integers};
            use crate::attention::eighths::Eighths;
            use crate::attention::flash::{self, Entries, Target};
            use crate::attention::join::Gathered;
            use crate::attention::packing::Halves;
            use crate::attention::scratch::Scratch;
            use crate::attention::setting::Setting;
            use crate::attention::tile;
            use crate::attention::walk::Walk;
            use crate::attention::{KvData, KvFormat};
            use crate::simd::pairs::Pairs;

            type Words = Integers<$pairs, i16, i16>;
            type Bytes = Integers<$pairs, i8, i8>;
            type BytesAndHalves = Integers<$pairs, i8, Halves>;
            type AllHalves = Integers<$pairs, Halves, Halves>;
            type AllEighths = Integers<$pairs, Eighths, Eighths>;

            pub(super) fn gather(
                pairs: $pairs,
                work: (Setting<'_>, Range<usize>),
                target: Target<'_, '_>,
            ) {
                match work.0.kv.data {
                    KvData::F32(data) => {
                        flash::gather(Floats(pairs.lanes()), data, work, target, &entries())
                    }
                    KvData::I16(data) => {
                        flash::gather(Words::new(pairs), data, work, target, &entries())
                    }
                    KvData::I8(data) => match work.0.kv.layout.format {
                        KvFormat::K8V4 => {
                            let arithmetic = BytesAndHalves::new(pairs);
                            flash::gather(arithmetic, data, work, target, &entries())
                        }
                        KvFormat::Q4 => {
                            flash::gather(AllHalves::new(pairs), data, work, target, &entries())
                        }
                        KvFormat::Q3 => {
                            flash::gather(AllEighths::new(pairs), data, work, target, &entries())
                        }
                        KvFormat::F32 | KvFormat::I16 | KvFormat::I8 => {
                            flash::gather(Bytes::new(pairs), data, work, target, &entries())
                        }
                    },
                }
            }
            fn entries<A: Arithmetic>() -> Entries<A> {
                Entries {
                    prepare: prepare::<A>,
                    tiles: [
                        tile::<A, 1>,
                        tile::<A, 2>,
                        tile::<A, 3>,
                        tile::<A, 4>,
                        tile::<A, 5>,
                        tile::<A, 6>,
                    ],
                }
            }
            /// # Safety
            ///
            /// As of what it enters.
            #[target_feature(enable = $features)]
            unsafe fn prepare<A: Arithmetic>(
                arithmetic: A,
                setting: Setting<'_>,
                scratch: &Scratch,
            ) {
                // SAFETY: what the caller promises.
                unsafe { scratch.prepare(arithmetic, setting) }
            }
            /// # Safety
            ///
            /// As of the tile itself.
            #[target_feature(enable = $features)]
            unsafe fn tile<A: Arithmetic, const ROWS: usize>(
                walk: &mut Walk<'_, '_, A>,
                first_row: usize,
                scratch: &Scratch,
                gathered: &mut Gathered<'_>,
            ) {
                // SAFETY: what the caller promises.
                unsafe { tile::tile::<A, ROWS>(walk, first_row, scratch, gathered) }
            }
        }
    };
}
pub(crate) use attention_entries;
