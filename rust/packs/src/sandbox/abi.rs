//! The call between host and kernel: tensors laid out in the kernel's memory, and their descriptor.
//!
//! A kernel owns its memory and exports it; the host uses what lies behind the heap base that
//! `kernel_info` tells. Everything is copied in and out, so a kernel never sees the host's bytes.

use std::ops::Range;

use crate::error::KernelError;

/// The version of the page that describes all this: rust/packs/kernels/README.md.
pub const ABI_VERSION: u32 = 1;
/// Every address is a multiple of it.
pub(crate) const ALIGNMENT: usize = 16;
/// Bytes of the descriptor: ten words.
const DESCRIPTOR_BYTES: usize = 40;
/// Bytes on each side of an output that a kernel must leave alone.
const GUARD_BYTES: usize = 64;
const GUARD: u8 = 0xA5;

/// The names that every kernel exports; [`crate::verify::manifest::DEFAULT_ENTRY`] may be named otherwise.
pub(crate) const MEMORY: &str = "memory";
pub(crate) const INFO: &str = "kernel_info";

/// What `kernel_info` writes: eight words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KernelInfo {
    /// Bytes of the kernel's parameters.
    pub(crate) params_bytes: usize,
    /// Where the host's part of the memory begins.
    pub(crate) heap_base: usize,
    /// Whether the output may be input A.
    pub(crate) works_in_place: bool,
    /// Whether the output is also an input.
    pub(crate) reads_output: bool,
}

impl KernelInfo {
    pub(crate) const BYTES: usize = 32;

    /// Reads the words, and checks those that the host relies on.
    pub(crate) fn parse(bytes: &[u8], memory_bytes: usize) -> Result<Self, String> {
        let words: Vec<u32> = bytes
            .chunks_exact(4)
            .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
            .collect();
        let [
            version,
            info_bytes,
            params_bytes,
            alignment,
            heap_base,
            flags,
            ..,
        ] = words[..]
        else {
            return Err("kernel_info is too short".to_owned());
        };
        if version != ABI_VERSION || info_bytes as usize != Self::BYTES {
            return Err(format!(
                "its ABI has version {version}, this host's {ABI_VERSION}"
            ));
        }
        if alignment as usize != ALIGNMENT {
            return Err(format!(
                "it asks for an alignment of {alignment}, the ABI has {ALIGNMENT}"
            ));
        }
        if heap_base as usize > memory_bytes || params_bytes > 4096 {
            return Err(
                "its heap begins outside of its memory, or its parameters are too long".to_owned(),
            );
        }
        Ok(Self {
            params_bytes: params_bytes as usize,
            heap_base: (heap_base as usize).next_multiple_of(ALIGNMENT),
            works_in_place: flags & 1 != 0,
            reads_output: flags & 2 != 0,
        })
    }
}

/// A tensor, as numbers or as the bytes of a format of its own.
#[derive(Debug, Clone, Copy)]
pub enum Plane<'a> {
    /// f32.
    Floats(&'a [f32]),
    /// The bits of f16.
    Halves(&'a [u16]),
    /// Anything else.
    Bytes(&'a [u8]),
}

impl Plane<'_> {
    fn bytes(self) -> usize {
        match self {
            Self::Floats(values) => values.len() * 4,
            Self::Halves(bits) => bits.len() * 2,
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    fn write(self, target: &mut [u8]) {
        match self {
            Self::Floats(values) => {
                for (value, target) in values.iter().zip(target.chunks_exact_mut(4)) {
                    target.copy_from_slice(&value.to_le_bytes());
                }
            }
            Self::Halves(bits) => {
                for (bits, target) in bits.iter().zip(target.chunks_exact_mut(2)) {
                    target.copy_from_slice(&bits.to_le_bytes());
                }
            }
            Self::Bytes(bytes) => target.copy_from_slice(bytes),
        }
    }
}

/// Where a result goes. It is written only when the call succeeded.
#[derive(Debug)]
pub enum PlaneMut<'a> {
    /// f32; the call fails where one is NaN or infinite.
    Floats(&'a mut [f32]),
    /// Anything else.
    Bytes(&'a mut [u8]),
}

impl PlaneMut<'_> {
    fn as_plane(&self) -> Plane<'_> {
        match self {
            Self::Floats(values) => Plane::Floats(values),
            Self::Bytes(bytes) => Plane::Bytes(bytes),
        }
    }

    fn read(&mut self, source: &[u8]) -> Result<(), KernelError> {
        match self {
            Self::Floats(values) => {
                if !all_finite(source) {
                    return Err(KernelError::NotFinite);
                }
                for (value, source) in values.iter_mut().zip(source.chunks_exact(4)) {
                    *value = f32::from_le_bytes([source[0], source[1], source[2], source[3]]);
                }
            }
            Self::Bytes(bytes) => bytes.copy_from_slice(source),
        }
        Ok(())
    }
}

/// Whether no f32 of these is NaN or infinite: all bits of its exponent set.
fn all_finite(bytes: &[u8]) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    let is_special = |word: &[u8]| {
        let bits = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        u32::from(bits & EXPONENT == EXPONENT)
    };
    bytes
        .chunks_exact(4)
        .map(is_special)
        .fold(0, std::ops::BitOr::bitor)
        == 0
}

/// The tensors of a call. Several planes of an input stand one behind the other.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Input A; `None`: what the output holds.
    pub a: Option<Plane<'a>>,
    /// Input B, which may have no planes.
    pub b: &'a [Plane<'a>],
    /// Bytes for the kernel to work in.
    pub scratch_bytes: usize,
    /// The parameters, as the page of the ABI lays them out.
    pub params: &'a [u8],
}

/// How many bytes the planes of a call have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaneSizes {
    /// Input A.
    pub a: usize,
    /// Input B; several planes stand one behind the other.
    pub b: usize,
    /// The result.
    pub output: usize,
    /// What the kernel works in.
    pub scratch: usize,
}

/// Where the parts of a call stand in the memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    params: usize,
    params_bytes: usize,
    a: usize,
    b: usize,
    scratch: usize,
    output: usize,
    sizes: PlaneSizes,
    in_place: bool,
    /// Behind the last byte that belongs to the call.
    pub(crate) end: usize,
}

impl Layout {
    /// Places a call behind the heap base; `limit` is the largest memory that the kernel may have.
    pub(crate) fn new(
        info: &KernelInfo,
        inputs: &Inputs<'_>,
        output: &PlaneMut<'_>,
        limit: usize,
    ) -> Result<Self, KernelError> {
        let output = output.as_plane().bytes();
        let sizes = PlaneSizes {
            a: inputs.a.map_or(output, Plane::bytes),
            b: inputs.b.iter().map(|plane| plane.bytes()).sum(),
            output,
            scratch: inputs.scratch_bytes,
        };
        Self::of(info, sizes, inputs.params.len(), limit)
    }

    /// The same for planes of these sizes.
    pub(crate) fn of(
        info: &KernelInfo,
        sizes: PlaneSizes,
        params_bytes: usize,
        limit: usize,
    ) -> Result<Self, KernelError> {
        let in_place = info.works_in_place && !info.reads_output && sizes.a == sizes.output;
        let mut end = info.heap_base + DESCRIPTOR_BYTES.next_multiple_of(ALIGNMENT);
        let mut take = |bytes: usize| {
            let begin = end;
            let bytes = bytes.checked_next_multiple_of(ALIGNMENT);
            end = end.saturating_add(bytes.unwrap_or(usize::MAX));
            begin
        };
        let params = take(params_bytes);
        let b = take(sizes.b);
        let scratch = take(sizes.scratch);
        let a = if in_place { 0 } else { take(sizes.a) };
        take(GUARD_BYTES);
        let output = take(sizes.output);
        take(GUARD_BYTES);
        if end > limit {
            return Err(KernelError::TooLarge {
                bytes: end as u64,
                limit: limit as u64,
            });
        }
        Ok(Self {
            params,
            params_bytes,
            a: if in_place { output } else { a },
            b,
            scratch,
            output,
            sizes,
            in_place,
            end,
        })
    }

    /// Offsets and sizes as the descriptor has them; a plane that is not there has two zeros.
    fn words(&self) -> [[usize; 2]; 5] {
        let range = |begin: usize, bytes: usize| if bytes == 0 { [0, 0] } else { [begin, bytes] };
        [
            range(self.a, self.sizes.a),
            range(self.b, self.sizes.b),
            range(self.output, self.sizes.output),
            range(self.scratch, self.sizes.scratch),
            range(self.params, self.params_bytes),
        ]
    }

    /// Where input A stands; it may be where the output does.
    pub(crate) fn a(&self) -> Range<usize> {
        self.a..self.a + self.sizes.a
    }

    /// Where input B stands.
    pub(crate) fn b(&self) -> Range<usize> {
        self.b..self.b + self.sizes.b
    }

    /// Where the result stands.
    pub(crate) fn output(&self) -> Range<usize> {
        self.output..self.output + self.sizes.output
    }

    /// Writes what a call needs beside its planes, which lie in the memory already.
    pub(crate) fn write_frame(&self, (info, memory): (&KernelInfo, &mut [u8]), params: &[u8]) {
        let words = self.words();
        let descriptor = &mut memory[info.heap_base..info.heap_base + DESCRIPTOR_BYTES];
        for (place, word) in descriptor.chunks_exact_mut(4).zip(words.as_flattened()) {
            place.copy_from_slice(&(*word as u32).to_le_bytes());
        }
        memory[self.params..self.params + self.params_bytes].copy_from_slice(params);
        let output = self.output();
        memory[output.start - GUARD_BYTES..output.start].fill(GUARD);
        memory[output.end..self.end].fill(GUARD);
    }

    /// Whether the kernel left alone what stands around its output.
    pub(crate) fn check_guards(&self, memory: &[u8]) -> Result<(), KernelError> {
        let output = self.output();
        let before = &memory[output.start - GUARD_BYTES..output.start];
        let behind = &memory[output.end..self.end];
        if before.iter().chain(behind).any(|byte| *byte != GUARD) {
            return Err(KernelError::OutputOverrun);
        }
        Ok(())
    }

    /// Writes everything that the kernel reads, and zeros between and behind, as far as `dirty` tells
    /// that an earlier call left bytes: the kernel finds nothing there of another call.
    pub(crate) fn write(
        &self,
        (info, memory): (&KernelInfo, &mut [u8]),
        inputs: &Inputs<'_>,
        output: &PlaneMut<'_>,
        dirty: usize,
    ) {
        let a = inputs.a.unwrap_or(output.as_plane());
        let words = self.words();
        let mut writer = Writer {
            memory,
            end: info.heap_base,
        };
        for word in words.as_flattened() {
            writer.put(Plane::Bytes(&(*word as u32).to_le_bytes()));
        }
        writer.fill(self.params, 0);
        writer.put(Plane::Bytes(inputs.params));
        writer.fill(self.b, 0);
        inputs.b.iter().for_each(|plane| writer.put(*plane));
        // What comes next zeros the scratch as well.
        if self.in_place {
            writer.fill(self.output - GUARD_BYTES, 0);
        } else {
            writer.fill(self.a, 0);
            writer.put(a);
            writer.fill(self.output - GUARD_BYTES, 0);
        }
        writer.fill(self.output, GUARD);
        if self.in_place {
            writer.put(a);
        } else if info.reads_output {
            writer.put(output.as_plane());
        } else {
            writer.fill(self.output().end, 0);
        }
        writer.fill(self.end, GUARD);
        writer.fill(dirty, 0);
    }

    /// Takes the result out, if the kernel left alone what stands around it.
    pub(crate) fn read(&self, memory: &[u8], output: &mut PlaneMut<'_>) -> Result<(), KernelError> {
        self.check_guards(memory)?;
        output.read(&memory[self.output()])
    }
}

/// Fills a memory from some place on.
struct Writer<'a> {
    memory: &'a mut [u8],
    end: usize,
}

impl Writer<'_> {
    fn put(&mut self, plane: Plane<'_>) {
        let end = self.end + plane.bytes();
        plane.write(&mut self.memory[self.end..end]);
        self.end = end;
    }

    /// Fills up to `end`, if that is not behind it.
    fn fill(&mut self, end: usize, byte: u8) {
        if end > self.end {
            self.memory[self.end..end].fill(byte);
            self.end = end;
        }
    }
}
