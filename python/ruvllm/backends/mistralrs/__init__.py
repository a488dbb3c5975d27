"""mistral.rs (the package `mistralrs`) as an engine; imported when somebody names it, and the package then.

It loads, batches and samples; tokens, templates, texts, stop sequences and queues are those in front of every
engine. docs/backends.md says what it can.
"""
