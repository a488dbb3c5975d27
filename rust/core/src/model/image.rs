//! Packed weights from a start before: mapped where there is an image of this model, kept where that is wanted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ruvllm_formats::{FormatError, ImageMark, ImageWriter, ModelFiles, PackedImage};
use ruvllm_kernels::{PackedBefore, PackedMatrix, SharedBytes, ThreadPool, WeightSource};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Result;

/// Of a model's name in that of its image: file systems end names somewhere.
const LONGEST_NAME: usize = 50;
/// Which way of packing this is. An image of another one is not looked into: whoever changes what a packed matrix is
/// made of, or in which order its rows stand, counts on.
const PACKING: u32 = 2;
/// Bytes that a thread checks at a time.
const CHECKED_BYTES: usize = 1 << 20;
/// Pieces that threads check before somebody is told how far they are.
const TOLD_PIECES: usize = 64;

/// Where images lie, and whether one is to be made.
#[derive(Debug, Clone)]
pub struct Images {
    /// A folder of them.
    pub folder: PathBuf,
    /// Makes one where there is none, or none that is whole.
    pub keep: bool,
}

impl Images {
    /// Those of a folder.
    pub fn new(folder: PathBuf, keep: bool) -> Self {
        Self { folder, keep }
    }
}

/// What became of an image while a model was loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageUse {
    /// The image that the weights are mapped from, or that was made of them.
    pub path: Option<PathBuf>,
    /// Bytes of weights that are mapped.
    pub mapped_bytes: u64,
    /// Why an image that is there was not used, or none was made.
    pub problem: Option<String>,
}

/// An image at work.
#[derive(Debug, Default)]
pub(super) struct ImageWork {
    reader: Option<PackedImage>,
    writer: Option<ImageWriter>,
    mark: Option<ImageMark>,
    outcome: ImageUse,
}

impl ImageWork {
    /// Looks for the image of a model, and begins one where there is none and one is wanted.
    pub(super) fn begin(
        images: Option<&Images>,
        files: &ModelFiles,
        pool: &ThreadPool,
        progress: &mut dyn FnMut(u64, u64) -> Result<()>,
    ) -> Result<Self> {
        let Some(images) = images else {
            return Ok(Self::default());
        };
        let fingerprint = files.fingerprint();
        let mark = ImageMark {
            fingerprint,
            packing: PACKING,
        };
        let path = path_of(&images.folder, files, fingerprint);
        let mut work = Self {
            mark: Some(mark),
            ..Self::default()
        };
        match PackedImage::open(&path) {
            Ok(Some(image)) if image.mark() != mark => {
                work.outcome.problem = Some("it was packed by another version".to_owned());
            }
            Ok(Some(image)) if is_whole(&image, pool, progress)? => {
                work.outcome.path = Some(path.clone());
                work.reader = Some(image);
            }
            Ok(Some(_)) => {
                let problem = "its bytes are not those that were written";
                work.outcome.problem = Some(problem.to_owned());
            }
            Ok(None) => {}
            Err(error) => work.outcome.problem = Some(error.to_string()),
        }
        if images.keep && work.reader.is_none() {
            let names: Vec<_> = files
                .tensors()
                .flat_map(|info| pieces_of(&info.name))
                .collect();
            match ImageWriter::create(&path, names.iter().map(String::as_str)) {
                Ok(writer) => {
                    work.writer = Some(writer);
                    work.outcome.path = Some(path);
                }
                Err(error) => work.give_up(&error),
            }
        }
        Ok(work)
    }

    /// A matrix that stands in the image.
    pub(super) fn matrix(
        &mut self,
        name: &str,
        part: usize,
        source: &WeightSource<'_>,
    ) -> Option<PackedMatrix> {
        let image = self.reader.as_ref()?;
        let piece = |kind| -> Option<SharedBytes> {
            Some(Arc::new(image.piece(&piece_name(name, part, kind))?))
        };
        let matrix = PackedMatrix::packed_before(PackedBefore {
            block_type: source.block_type,
            rows: source.rows,
            columns: source.columns,
            values: piece(VALUES)?,
            scales: piece(SCALES).unwrap_or_else(|| Arc::new([])),
        })?;
        self.outcome.mapped_bytes += matrix.bytes() as u64;
        Some(matrix)
    }

    /// Writes a matrix to the image that is being made.
    pub(super) fn add(&mut self, name: &str, part: usize, matrix: &PackedMatrix) {
        let Some(writer) = &mut self.writer else {
            return;
        };
        for (kind, bytes) in [(VALUES, matrix.values()), (SCALES, matrix.scales())] {
            if bytes.is_empty() {
                continue;
            }
            if let Err(error) = writer.add(&piece_name(name, part, kind), bytes) {
                return self.give_up(&error);
            }
        }
    }

    /// Whether tensors are read from the model's own files.
    pub(super) fn reads_files(&self) -> bool {
        self.reader.is_none()
    }

    /// Ends the image that is being made; says what became of all this.
    pub(super) fn end(mut self, pool: &ThreadPool) -> ImageUse {
        if let (Some(writer), Some(mark)) = (self.writer.take(), self.mark)
            && let Err(error) = writer.finish(mark, &|bytes| check_of(bytes, pool))
        {
            self.give_up(&error);
        }
        self.outcome
    }

    /// A model is loaded all the same where its image cannot be written.
    fn give_up(&mut self, error: &FormatError) {
        self.writer = None;
        self.outcome.path = None;
        self.outcome.problem = Some(error.to_string());
    }
}

const VALUES: &str = "values";
const SCALES: &str = "scales";
/// Matrices that one tensor of a file may become.
const MOST_PARTS: usize = 2;

fn piece_name(tensor: &str, part: usize, kind: &str) -> String {
    format!("{tensor}/{part}/{kind}")
}

fn pieces_of(tensor: &str) -> impl Iterator<Item = String> {
    (0..MOST_PARTS)
        .flat_map(move |part| [VALUES, SCALES].map(|kind| piece_name(tensor, part, kind)))
}

/// The image of a model: people find it by the model's name, and a start by its fingerprint.
fn path_of(folder: &Path, files: &ModelFiles, fingerprint: u128) -> PathBuf {
    let first = files.paths().first().map(PathBuf::as_path);
    let name = match first
        .and_then(Path::file_stem)
        .map(|stem| stem.to_string_lossy())
    {
        // That of a folder says more than that of the file in it.
        Some(stem) if stem.starts_with("model") => {
            let folder = first.and_then(Path::parent).and_then(Path::file_name);
            folder.map_or(stem, |name| name.to_string_lossy())
        }
        stem => stem.unwrap_or_default(),
    };
    let name: String = name.chars().take(LONGEST_NAME).collect();
    folder.join(format!("{name}-{fingerprint:032x}.image"))
}

/// Whether all bytes are those that were written; threads look at the pieces side by side.
fn is_whole(
    image: &PackedImage,
    pool: &ThreadPool,
    progress: &mut dyn FnMut(u64, u64) -> Result<()>,
) -> Result<bool> {
    let (data, mut seen) = (image.data(), 0);
    let mut checks = Vec::new();
    for some in data.chunks(TOLD_PIECES * CHECKED_BYTES) {
        checks.extend(checks_of(some, pool));
        seen += some.len() as u64;
        progress(seen, data.len() as u64)?;
    }
    Ok(check_of_checks(&checks) == image.check())
}

fn check_of(data: &[u8], pool: &ThreadPool) -> u64 {
    check_of_checks(&checks_of(data, pool))
}

fn checks_of(data: &[u8], pool: &ThreadPool) -> Vec<u64> {
    let pieces: Vec<_> = data.chunks(CHECKED_BYTES).collect();
    let checks: Vec<_> = pieces.iter().map(|_| AtomicU64::new(0)).collect();
    pool.run(pieces.len(), &|index| {
        checks[index].store(xxh3_64(pieces[index]), Ordering::Relaxed);
    });
    checks.into_iter().map(AtomicU64::into_inner).collect()
}

fn check_of_checks(checks: &[u64]) -> u64 {
    let bytes: Vec<_> = checks
        .iter()
        .flat_map(|check| check.to_le_bytes())
        .collect();
    xxh3_64(&bytes)
}
