//! A packed image: what a model's weights became when they were packed, in a file that the next start maps.
//!
//! It is a safetensors file whose tensors are plain bytes, each beginning on a cache line; the last is
//! [`SEAL`]: what the image was made of, and a check of all bytes before it.

mod reader;
mod writer;

pub use reader::{ImagePiece, PackedImage};
pub use writer::ImageWriter;

/// The tensor that says what the rest is.
const SEAL: &str = "image";
/// Tensors begin at multiples of this, as vector loads want it.
const LINE_BYTES: usize = 64;
/// The first tensor begins at a multiple of this.
const PAGE_BYTES: usize = 4096;

/// What an image was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageMark {
    /// Which model.
    pub fingerprint: u128,
    /// Which way of packing.
    pub packing: u32,
}

/// The bytes of a seal: a mark and a check.
const SEAL_BYTES: usize = 64;

fn seal(mark: ImageMark, check: u64) -> [u8; SEAL_BYTES] {
    let mut bytes = [0; SEAL_BYTES];
    bytes[..16].copy_from_slice(&mark.fingerprint.to_le_bytes());
    bytes[16..20].copy_from_slice(&mark.packing.to_le_bytes());
    bytes[24..32].copy_from_slice(&check.to_le_bytes());
    bytes
}

fn unsealed(bytes: &[u8]) -> Option<(ImageMark, u64)> {
    let bytes: &[u8; SEAL_BYTES] = bytes.try_into().ok()?;
    let mark = ImageMark {
        fingerprint: u128::from_le_bytes(*bytes.first_chunk()?),
        packing: u32::from_le_bytes(*bytes[16..].first_chunk()?),
    };
    Some((mark, u64::from_le_bytes(*bytes[24..].first_chunk()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FormatError;

    const MARK: ImageMark = ImageMark {
        fingerprint: 0x0123_4567_89ab_cdef_0011_2233_4455_6677,
        packing: 7,
    };

    /// Not the check of a start: the file only keeps it.
    fn sum(bytes: &[u8]) -> u64 {
        bytes.iter().map(|byte| u64::from(*byte)).sum()
    }

    fn pieces() -> Vec<(&'static str, Vec<u8>)> {
        vec![
            ("b/0/values", vec![1; 64]),
            ("a \"quoted\" name/0/values", (0..200).collect()),
            ("ä/1/scales", vec![3; 5 << 20]),
        ]
    }

    fn written(folder: &std::path::Path) -> std::path::PathBuf {
        let path = folder.join("deep").join("model.image");
        let pieces = pieces();
        let names = pieces.iter().map(|(name, _)| *name);
        let mut writer = ImageWriter::create(&path, names).unwrap();
        for (name, bytes) in &pieces {
            writer.add(name, bytes).unwrap();
        }
        assert!(!path.exists(), "before it is whole it has another name");
        writer.finish(MARK, &sum).unwrap();
        path
    }

    #[test]
    fn what_was_written_is_mapped_on_cache_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path());
        let left: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1);
        let image = PackedImage::open(&path).unwrap().unwrap();
        assert_eq!((image.mark(), image.check()), (MARK, sum(image.data())));
        let mut total = 0;
        for (name, bytes) in pieces() {
            let piece = image.piece(name).unwrap();
            let found = piece.as_ref();
            assert_eq!(found.as_ptr() as usize % LINE_BYTES, 0);
            assert_eq!(found.len(), bytes.len().next_multiple_of(LINE_BYTES));
            assert_eq!(&found[..bytes.len()], bytes);
            total += found.len();
        }
        assert_eq!(image.data().len(), total);
        assert!(image.piece("c").is_none());
        // A piece holds the mapping.
        let piece = image.piece("b/0/values").unwrap();
        drop((image, folder));
        assert_eq!(piece.as_ref(), [1; 64]);
    }

    #[test]
    fn an_image_of_nothing_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("empty.image");
        ImageWriter::create(&path, [])
            .unwrap()
            .finish(MARK, &sum)
            .unwrap();
        let image = PackedImage::open(&path).unwrap().unwrap();
        assert_eq!((image.mark(), image.data()), (MARK, &[][..]));
    }

    #[test]
    fn who_gives_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.image");
        let mut writer = ImageWriter::create(&path, ["a"]).unwrap();
        writer.add("a", &[1; 100]).unwrap();
        drop(writer);
        // More than was said does not fit.
        let mut writer = ImageWriter::create(&path, []).unwrap();
        for index in 0..100 {
            writer.add(&format!("piece {index}"), &[1]).unwrap();
        }
        assert!(writer.finish(MARK, &sum).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_is_no_image_is_an_error_and_none_is_none() {
        let folder = tempfile::tempdir().unwrap();
        assert!(
            PackedImage::open(&folder.path().join("none.image"))
                .unwrap()
                .is_none()
        );
        let whole = std::fs::read(written(folder.path())).unwrap();
        let header = u64::from_le_bytes(*whole.first_chunk().unwrap()) as usize;
        let text = String::from_utf8(whole[8..8 + header].to_vec()).unwrap();
        let with_header = |text: &str| {
            let mut bytes = whole.clone();
            bytes[8..8 + header].copy_from_slice(text.as_bytes());
            bytes
        };
        let cases: [(&str, Vec<u8>); 6] = [
            ("empty", Vec::new()),
            ("cut", whole[..whole.len() - 1].to_vec()),
            ("cut in its header", whole[..100].to_vec()),
            ("longer", [whole.as_slice(), &[0]].concat()),
            (
                "without a seal",
                with_header(&text.replace("\"image\"", "\"imagf\"")),
            ),
            (
                "of another shape",
                with_header(&text.replace("[64]", "[65]")),
            ),
        ];
        for (name, bytes) in cases {
            let path = folder.path().join("broken.image");
            std::fs::write(&path, bytes).unwrap();
            assert!(PackedImage::open(&path).is_err(), "{name}");
        }
        let refused = PackedImage::open(folder.path());
        assert!(matches!(refused, Err(FormatError::NotAModel { .. })));
    }
}
