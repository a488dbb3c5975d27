//! How long a grammar takes to say which tokens may come next, along answers that models gave.
//!
//! `cargo bench -p ruvllm-core --bench masks -- MODEL.gguf ANSWERS`, a line each of JSON: `schema`, and the `tokens`
//! of an answer to it. `python -m benches.structured` writes them and calls this.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program that measures time and prints it"
)]

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use ruvllm_core::grammar::{GrammarSource, Grammars, Start};
use ruvllm_core::ids::TokenId;
use ruvllm_core::model;
use ruvllm_core::sampling::Allowed;
use ruvllm_core::text::Tokenizer;
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let files: Vec<&String> = arguments
        .iter()
        .filter(|one| !one.starts_with("--"))
        .collect();
    let [path, answers] = files[..] else {
        // As `cargo bench` runs everything, without arguments.
        println!("masks: needs MODEL.gguf and a file of answers");
        return Ok(());
    };
    let files = model::open(Path::new(path))?;
    let metadata = files.metadata().ok_or("a GGUF file is needed")?;
    let tokenizer = Arc::new(Tokenizer::from_metadata(metadata)?);
    let grammars = Grammars::new(
        tokenizer.vocabulary(),
        tokenizer.end_of_generation().to_vec(),
        Some(&tokenizer),
    );
    let mut micros = Vec::new();
    let mut forced = 0;
    for line in fs::read_to_string(answers)?.lines() {
        let line: Value = serde_json::from_str(line)?;
        let tokens: Vec<TokenId> = serde_json::from_value(line["tokens"].clone())?;
        let grammar = grammars.grammar(GrammarSource::JsonSchema(line["schema"].to_string()))?;
        let mut constraint = grammar.begin(&Start::default());
        for token in tokens {
            if constraint.forced()?.is_empty() {
                let begin = Instant::now();
                constraint.mask()?;
                micros.push(1e6 * begin.elapsed().as_secs_f64());
            } else {
                forced += 1;
            }
            if constraint.accept(token)? {
                break;
            }
        }
    }
    if micros.is_empty() {
        return Err("no answer had a token to choose".into());
    }
    micros.sort_by(f64::total_cmp);
    let share = |of_all: f64| micros[((micros.len() - 1) as f64 * of_all) as usize];
    let figures = json!({
        "masks": micros.len(),
        "forced": forced,
        "average_us": micros.iter().sum::<f64>() / micros.len() as f64,
        "p50_us": share(0.5),
        "p99_us": share(0.99),
    });
    println!("{figures}");
    Ok(())
}
