//! A corpus of broken models: each gives a typed error that says what is wrong, at once and in
//! little memory. The rows stand in `support/*_cases.rs`, the tests of honest and of randomly
//! changed files stand in `support/honest.rs` and `support/properties.rs`.
#![allow(
    unsafe_code,
    reason = "counting what is allocated needs a global allocator, which is an unsafe trait"
)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "this is a test: `-- --nocapture` shows time, memory and message of every row"
)]

mod support;

use std::time::{Duration, Instant};

use ruvllm_formats::ModelFiles;
use support::allocator::{Counting, peak_of};
use support::{Case, folder_cases, gguf_cases, safetensors_cases};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LONGEST: Duration = Duration::from_secs(1);
const MOST_MEMORY: usize = 100_000_000;
/// Nothing of a file is quoted at length; the caller's path is not counted.
const LONGEST_MESSAGE: usize = 600;

/// What is wrong with the outcome of a case.
fn complaint(case: &Case) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = (case.build)(folder.path());
    let begin = Instant::now();
    let (outcome, peak) = peak_of(|| {
        ModelFiles::open(&path)
            .map(drop)
            .map_err(|error| error.to_string())
    });
    let elapsed = begin.elapsed();
    let kilobytes = peak / 1000;
    println!(
        "{:50} {elapsed:>10.1?} {kilobytes:>7} kB  {outcome:?}",
        case.name
    );
    let message = match outcome {
        Ok(()) => return Some("it was opened".to_owned()),
        // The path is the caller's own.
        Err(message) => message.replace(&*path.to_string_lossy(), "PATH"),
    };
    if let Some(word) = case.words.iter().find(|word| !message.contains(**word)) {
        return Some(format!("'{word}' is missing in: {message}"));
    }
    if message.len() > LONGEST_MESSAGE || message.contains(char::is_control) {
        return Some(format!("the message is long or not printable: {message:?}"));
    }
    if elapsed > LONGEST || peak > MOST_MEMORY {
        return Some(format!("it took {elapsed:?} and {} MB", peak / 1_000_000));
    }
    None
}

fn check(tables: &[&[Case]], at_least: usize) {
    let cases = tables.concat();
    let complaints: Vec<String> = cases
        .iter()
        .filter_map(|case| Some(format!("{}: {}", case.name, complaint(case)?)))
        .collect();
    let failed = complaints.len();
    assert!(
        failed == 0,
        "{failed} of {}:\n{}",
        cases.len(),
        complaints.join("\n")
    );
    assert!(cases.len() >= at_least, "{} cases", cases.len());
}

#[test]
fn broken_gguf_files_are_refused() {
    check(gguf_cases::CASES, 90);
}

#[test]
fn broken_safetensors_files_are_refused() {
    check(safetensors_cases::CASES, 60);
}

#[test]
fn broken_folders_are_refused() {
    check(folder_cases::CASES, 70);
}

#[test]
fn names_of_cases_differ() {
    let tables = [
        gguf_cases::CASES,
        safetensors_cases::CASES,
        folder_cases::CASES,
    ];
    let cases = tables.concat().concat();
    let mut names: Vec<&str> = cases.iter().map(|case| case.name).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn the_counting_allocator_counts() {
    let (kept, peak) = peak_of(|| {
        drop(vec![1u8; 3000]);
        vec![1u8; 1000]
    });
    assert_eq!((kept.len(), peak), (1000, 3000));
}
