//! One product on all threads: cut into chunks of tiles, each of which an implementation multiplies.

use std::ops::Range;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::add_deltas::{add_deltas, numbers_for};
use super::cut::{Chunk, Cut, PAIR};
use super::output::OutputTile;
use super::product::{Activations, Epilogue, FEW_TOKENS, Product};
use super::rows::TileRange;
use super::words::takes_words;
use crate::Activation;
use crate::kernels::Kernels;
use crate::read_ahead::{ReadAhead, ask_all, lines_in, lines_of};
use crate::threads::ThreadPool;
use crate::weights::{Elements, PackedMatrix, TILE_ROWS};

/// Bytes of activations that pass by a tile before the next step of tokens does: more than the weights of a few tiles,
/// since weights are unpacked anew for each step.
const ACTIVATION_BYTES: usize = 2 << 20;
/// Floats of each half of a gated product that stay there too.
const GATED_FLOATS: usize = 8 << 10;
/// Tokens come in multiples of what the kernels take at once.
const TOKEN_GROUP: usize = 12;

/// The output, shared by threads that write disjoint columns.
pub(super) struct SharedOutput {
    pointer: AtomicPtr<f32>,
    width: usize,
    adds: bool,
}

impl SharedOutput {
    /// All of `output`, of rows that wide; with `adds` results are added to what is there.
    pub(super) fn new(output: &mut [f32], width: usize, adds: bool) -> Self {
        Self {
            pointer: AtomicPtr::new(output.as_mut_ptr()),
            width,
            adds,
        }
    }

    /// Some columns of some rows.
    ///
    /// # Safety
    ///
    /// They lie inside the output, and no other thread touches them meanwhile.
    pub(super) unsafe fn tile(
        &self,
        rows: &Range<usize>,
        columns: &Range<usize>,
    ) -> OutputTile<'_> {
        // SAFETY: the rectangle lies inside the output, and is this caller's alone.
        unsafe {
            let first = self.pointer.load(Ordering::Relaxed);
            let pointer = first.add(rows.start * self.width + columns.start);
            OutputTile::from_raw(pointer, (rows.len(), columns.len()), self.width, self.adds)
        }
    }
}

/// Computes a product into `output`, `[tokens, width]`, in one parallel region.
///
/// # Panics
///
/// Where the lengths do not fit.
pub fn multiply(
    kernels: &dyn Kernels,
    pool: &ThreadPool,
    product: &Product<'_>,
    output: &mut [f32],
) {
    product.check(output);
    let tokens = product.activations.tokens();
    let cut = Cut::new(product, pool.threads());
    let adds = product.epilogue == Epilogue::Add;
    let shared = SharedOutput::new(output, product.width(), adds);
    let ahead = if tokens <= FEW_TOKENS {
        product.ahead
    } else {
        &[]
    };
    let chunks = cut.chunks();
    pool.run_before(ahead, chunks, &|index| {
        let Some(chunk) = cut.chunk(index) else {
            return;
        };
        let steps = Steps::new(product, chunk.tiles.len());
        let pieces = chunk.tiles.len().div_ceil(steps.tiles);
        for first in (0..tokens).step_by(steps.tokens) {
            for (piece, tile) in chunk.tiles.clone().step_by(steps.tiles).enumerate() {
                let mut range = TileRange {
                    tiles: tile..chunk.tiles.end.min(tile + steps.tiles),
                    tokens: first..tokens.min(first + steps.tokens),
                    ahead: Vec::new(),
                };
                let share = Share {
                    index: index * pieces + piece,
                    of: chunks * pieces,
                    is_first_pass: first == 0,
                };
                let rows = range.rows(&chunk.matrices[0]);
                let columns = chunk.column + rows.start..chunk.column + rows.end;
                // SAFETY: chunks cover disjoint rows of the matrices, so disjoint columns; the
                // output's length was checked above.
                let mut target = unsafe { shared.tile(&range.tokens, &columns) };
                if let Epilogue::Gate(activation) = product.epilogue {
                    let with = (kernels, activation);
                    gate_chunk(with, &chunk, (product, share), range, &mut target);
                } else {
                    let place = (&range.tokens.clone(), &columns);
                    range.ahead = share.read_ahead(product, place);
                    multiply_range(kernels, &chunk.matrices[0], (product, &range), &mut target);
                    add_deltas(kernels, product.deltas, place, &mut target);
                    if let Some(bias) = product.bias {
                        add_bias(kernels, &bias[columns.clone()], &mut target);
                    }
                }
            }
        }
    });
}

fn add_bias(kernels: &dyn Kernels, bias: &[f32], output: &mut OutputTile<'_>) {
    for row in 0..output.rows() {
        kernels.add(bias, output.row_mut(row));
    }
}

/// Which part of a product something is, of how many that threads begin with in this order.
#[derive(Clone, Copy)]
struct Share {
    index: usize,
    of: usize,
    /// Whether its weights pass by for the first time.
    is_first_pass: bool,
}

impl Share {
    /// Half of it.
    fn half(self, second: bool) -> Self {
        Self {
            index: 2 * self.index + usize::from(second),
            of: 2 * self.of,
            ..self
        }
    }

    /// What is asked of memory while it is computed: what is added to it, and its share of what comes soon.
    fn read_ahead(
        self,
        product: &Product<'_>,
        place: (&Range<usize>, &Range<usize>),
    ) -> Vec<ReadAhead> {
        let mut ahead: Vec<_> = numbers_for(product.deltas, place).collect();
        if self.is_first_pass {
            let lines = lines_in(product.meanwhile);
            let until = |part| lines * part / self.of;
            ahead.extend(lines_of(
                product.meanwhile,
                until(self.index)..until(self.index + 1),
            ));
        }
        ahead
    }
}

fn multiply_range(
    kernels: &dyn Kernels,
    matrix: &PackedMatrix,
    (product, range): (&Product<'_>, &TileRange),
    output: &mut OutputTile<'_>,
) {
    match product.activations {
        Activations::Float(rows) => {
            ask_all(&range.ahead);
            kernels.multiply_float(matrix, rows, range, output);
        }
        Activations::Quantized(rows) => kernels.multiply_quantized(matrix, rows, range, output),
        Activations::Words(rows) => {
            ask_all(&range.ahead);
            kernels.multiply_words(matrix, rows, range, output);
        }
    }
}

/// Both halves of a few tiles, small enough to be still in the cache when they are joined.
fn gate_chunk(
    (kernels, activation): (&dyn Kernels, Activation),
    chunk: &Chunk<'_>,
    (product, share): (&Product<'_>, Share),
    mut range: TileRange,
    output: &mut OutputTile<'_>,
) {
    let columns = output.columns();
    let mut halves = vec![0.0; 2 * range.tokens.len() * columns];
    let (gate, up) = halves.split_at_mut(range.tokens.len() * columns);
    let mut outputs = range.rows(&chunk.matrices[0]);
    let tokens = range.tokens.clone();
    for (is_up, half) in [(false, &mut *gate), (true, &mut *up)] {
        let matrix = &chunk.matrices[usize::from(is_up)];
        let mut half = OutputTile::new(half, columns);
        let place = (&tokens, &outputs);
        range.ahead = share.half(is_up).read_ahead(product, place);
        multiply_range(kernels, matrix, (product, &range), &mut half);
        add_deltas(kernels, product.deltas, place, &mut half);
        outputs = outputs.start + matrix.rows()..outputs.end + matrix.rows();
    }
    kernels.gate_rows(activation, gate, up, output);
}

/// In what steps a chunk is computed: what of tokens and tiles stays in a core's cache.
struct Steps {
    tokens: usize,
    tiles: usize,
}

impl Steps {
    /// Of a chunk of so many tiles. Many tokens meet few tiles rather than few tokens many: what a kernel makes of
    /// weights before they meet tokens it makes once a step.
    fn new(product: &Product<'_>, tiles: usize) -> Self {
        let present = product.activations.tokens().max(1);
        let bytes = product.activations.row_bytes().max(1);
        let mut most = (ACTIVATION_BYTES / bytes).clamp(1, 4096);
        let mut tiles = tiles.max(1);
        if let Epilogue::Gate(_) = product.epilogue {
            let fitting = GATED_FLOATS / (TILE_ROWS * most.min(present)) / PAIR * PAIR;
            tiles = tiles.min(fitting.max(PAIR));
            most = most.min(GATED_FLOATS / (TILE_ROWS * tiles)).max(1);
        }
        // Steps of one size, for in a short last one weights would be unpacked for few.
        let tokens = present.div_ceil(present.div_ceil(most));
        Self {
            tokens: tokens.next_multiple_of(TOKEN_GROUP),
            tiles,
        }
    }
}

/// In which precision rows meet matrices best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowPrecision {
    /// f32.
    Float,
    /// 8 bits: see [`QuantizedRows`](super::QuantizedRows).
    Bytes,
    /// 14 bits: see [`WordRows`](super::WordRows).
    Words,
}

impl RowPrecision {
    /// The fastest that all the matrices take and that costs no more than their own rounding.
    pub fn fastest(kernels: &dyn Kernels, matrices: &[PackedMatrix]) -> Self {
        let quantized = |matrix: &PackedMatrix| matches!(matrix.elements(), Elements::Quantized(_));
        if matrices.iter().all(quantized) {
            Self::Bytes
        } else if kernels.has_word_products() && matrices.iter().all(takes_words) {
            Self::Words
        } else {
            Self::Float
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::words::WordRows;
    use super::*;

    fn steps(epilogue: Epilogue, (tokens, columns): (usize, usize), tiles: usize) -> [usize; 2] {
        let mut rows = WordRows::default();
        rows.reset(tokens, columns);
        let product = Product {
            matrices: &[],
            activations: Activations::Words(&rows),
            epilogue,
            deltas: &[],
            bias: None,
            ahead: &[],
            meanwhile: &[],
        };
        let steps = Steps::new(&product, tiles);
        [steps.tokens, steps.tiles]
    }

    #[test]
    fn a_prompt_passes_by_each_tile_at_once() {
        let gate = Epilogue::Gate(Activation::Silu);
        // Both halves of what is gated stay in the cache: of fewer tiles rather than of fewer tokens.
        assert_eq!(steps(gate, (128, 2048), 32), [132, 4]);
        assert_eq!(steps(gate, (1, 2048), 512), [12, 512]);
        assert_eq!(steps(Epilogue::Replace, (128, 8192), 8), [132, 8]);
        assert_eq!(steps(Epilogue::Add, (0, 2048), 8), [12, 8]);
    }

    #[test]
    fn longer_prompts_pass_by_in_steps_of_one_size() {
        let gate = Epilogue::Gate(Activation::GeluTanh);
        assert_eq!(steps(gate, (512, 2048), 32), [264, PAIR]);
        assert_eq!(steps(gate, (300, 2048), 32), [156, PAIR]);
        assert_eq!(steps(Epilogue::Replace, (140, 8192), 8), [72, 8]);
    }
}
