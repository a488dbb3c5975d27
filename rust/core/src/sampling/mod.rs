//! From logits to one token: penalties, filters, the draw, log-probabilities.
