//! Text and token ids: vocabularies out of GGUF metadata, detokenizing, stop strings.
