//! Model specs from config.json and GGUF metadata, built in memory.

mod config;
mod configs;
mod files;
mod gguf;
mod refusals;
