//! Packed weights kept in a file: mapped where they are those of this model, packed anew where they are not.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]
#![allow(
    dead_code,
    reason = "models are loaded here otherwise than in other tests"
)]
#![allow(clippy::disallowed_methods, reason = "files are damaged here")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ruvllm_core::error::Error;
use ruvllm_core::model::{ActivationPrecision, ImageUse, Images, LoadOptions, Model, load, open};
use ruvllm_core::sequence::Task;
use ruvllm_formats::{ImageMark, ImageWriter, PackedImage};
use ruvllm_kernels::ThreadPool;
use support::{fixture, run_all};

const MODEL: &str = "gguf/llama-gqa.gguf";

fn loaded(path: &Path, images: Option<Images>) -> Arc<Model> {
    let files = open(path).unwrap();
    let options = LoadOptions {
        kernels: ruvllm_kernels::best(),
        pool: Arc::new(ThreadPool::new(2)),
        precision: ActivationPrecision::Auto,
        images,
    };
    Arc::new(load(&files, &options, &mut |_, _| Ok(())).unwrap())
}

fn kept(path: &Path, folder: &Path) -> ImageUse {
    let model = loaded(path, Some(Images::new(folder.to_owned(), true)));
    model.description().image.clone()
}

fn used(path: &Path, folder: &Path) -> (Arc<Model>, ImageUse) {
    let model = loaded(path, Some(Images::new(folder.to_owned(), false)));
    let image = model.description().image.clone();
    (model, image)
}

fn tokens(model: &Arc<Model>) -> Vec<u32> {
    let mut engine = support::engine(model, 8);
    let task = Task::Generate(support::greedy(12));
    let id = engine.add(support::request(&[1, 5, 9, 13], task)).unwrap();
    run_all(&mut engine, 16)[&id].tokens.clone()
}

#[test]
fn a_later_start_maps_what_one_has_packed() {
    let models = [
        "gguf/llama-gqa.gguf",
        "gguf/qwen2-bias-tied.gguf",
        "models/phi3-fused",
        "models/gemma3-dual-rope",
    ];
    for name in models {
        let (path, folder) = (fixture(name), tempfile::tempdir().unwrap());
        let plain = loaded(&path, None);
        assert_eq!(plain.description().image, ImageUse::default());
        let (_, nothing) = used(&path, folder.path());
        assert_eq!(
            nothing,
            ImageUse::default(),
            "{name}: there is none, and none was wanted"
        );

        let made = kept(&path, folder.path());
        assert!(
            made.path.as_ref().unwrap().is_file() && made.mapped_bytes == 0,
            "{made:?}"
        );
        let (mapped, image) = used(&path, folder.path());
        assert_eq!((&image.path, &image.problem), (&made.path, &None));
        assert_eq!(
            image.mapped_bytes,
            plain.description().weight_bytes,
            "{name}: all of it"
        );
        assert_eq!(tokens(&mapped), tokens(&plain), "{name}");
        assert_eq!(
            kept(&path, folder.path()),
            image,
            "one that is there is not made again"
        );
    }
}

/// Whoever makes these others, by packing weights otherwise or in another order, counts on `PACKING` in
/// `rust/core/src/model/image.rs`, or what was packed before is taken for what it is not.
#[test]
fn images_are_those_that_were_made_before() {
    let folder = tempfile::tempdir().unwrap();
    let checks = [
        (MODEL, 0x1d2f_03b5_1bff_37b7),
        ("models/phi3-fused", 0x888f_7312_4450_b4e4),
    ];
    for (name, check) in checks {
        let image = kept(&fixture(name), folder.path()).path.unwrap();
        let image = PackedImage::open(&image).unwrap().unwrap();
        assert_eq!(image.mark().packing, 2);
        assert_eq!(image.check(), check, "{name}");
    }
}

#[test]
fn people_find_it_by_the_models_name() {
    let folder = tempfile::tempdir().unwrap();
    for (name, beginning) in [(MODEL, "llama-gqa-"), ("models/phi3-fused", "phi3-fused-")] {
        let made = kept(&fixture(name), folder.path()).path.unwrap();
        let stem = made.file_stem().unwrap().to_str().unwrap();
        assert!(stem.starts_with(beginning), "{stem}");
        assert_eq!(made.extension().unwrap(), "image");
    }
}

/// Names are as long as file systems have them; that of the image must still be one.
#[test]
fn a_long_name_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let long = folder.path().join(format!("{}.gguf", "ä".repeat(120)));
    std::fs::copy(fixture(MODEL), &long).unwrap();
    let made = kept(&long, folder.path());
    assert!(made.path.unwrap().is_file() && made.problem.is_none());
}

/// An image of the model, changed; what a start then says, and what one says that makes it anew.
fn after(change: impl Fn(&Path)) -> (String, PathBuf) {
    let (path, folder) = (fixture(MODEL), tempfile::tempdir().unwrap());
    let image = kept(&path, folder.path()).path.unwrap();
    change(&image);
    let (model, found) = used(&path, folder.path());
    assert_eq!((found.mapped_bytes, found.path), (0, None));
    assert_eq!(tokens(&model), tokens(&loaded(&path, None)));
    let again = kept(&path, folder.path());
    assert_eq!((again.path.as_ref(), again.mapped_bytes), (Some(&image), 0));
    let (_, mended) = used(&path, folder.path());
    assert!(
        mended.mapped_bytes > 0 && mended.problem.is_none(),
        "{mended:?}"
    );
    (found.problem.unwrap(), image)
}

#[test]
fn one_that_is_damaged_is_not_believed() {
    let (problem, _) = after(|image| {
        let mut bytes = std::fs::read(image).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(image, bytes).unwrap();
    });
    assert_eq!(problem, "its bytes are not those that were written");
    let (problem, _) = after(|image| {
        let bytes = std::fs::read(image).unwrap();
        std::fs::write(image, &bytes[..bytes.len() / 2]).unwrap();
    });
    assert!(problem.contains("outside"), "{problem}");
}

#[test]
fn another_way_of_packing_is_not_looked_into() {
    let (problem, _) = after(|image| {
        let mark = PackedImage::open(image).unwrap().unwrap().mark();
        let other = ImageMark {
            packing: mark.packing + 1,
            ..mark
        };
        let writer = ImageWriter::create(image, []).unwrap();
        writer.finish(other, &|_| 0).unwrap();
    });
    assert_eq!(problem, "it was packed by another version");
}

/// A copy is the same model; one whose weights were changed in place is another.
#[test]
fn it_is_the_models_bytes_that_count() {
    let folder = tempfile::tempdir().unwrap();
    let made = kept(&fixture(MODEL), folder.path());
    let copy = folder.path().join("llama-gqa.gguf");
    let bytes = std::fs::read(fixture(MODEL)).unwrap();
    std::fs::write(&copy, &bytes).unwrap();
    assert_eq!(used(&copy, folder.path()).1.path, made.path);
    let changed = folder.path().join("changed").join("llama-gqa.gguf");
    std::fs::create_dir(changed.parent().unwrap()).unwrap();
    let mut other = bytes.clone();
    *other.last_mut().unwrap() ^= 1;
    std::fs::write(&changed, other).unwrap();
    assert_eq!(used(&changed, folder.path()).1, ImageUse::default());
}

#[test]
fn where_none_can_be_written_the_model_is_loaded_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a file");
    std::fs::write(&file, "in the way").unwrap();
    let image = kept(&fixture(MODEL), &file);
    assert!(image.path.is_none() && image.problem.unwrap().contains("cannot make"));
}

/// Whoever waits may stop while an image is looked at, too.
#[test]
fn looking_at_it_can_be_stopped() {
    let (path, folder) = (fixture(MODEL), tempfile::tempdir().unwrap());
    kept(&path, folder.path());
    let files = open(&path).unwrap();
    let options = LoadOptions {
        kernels: ruvllm_kernels::best(),
        pool: Arc::new(ThreadPool::new(1)),
        precision: ActivationPrecision::Auto,
        images: Some(Images::new(folder.path().to_owned(), false)),
    };
    let stopped = load(&files, &options, &mut |_, _| {
        Err(Error::Config("stop".to_owned()))
    });
    assert!(stopped.is_err());
}
