//! Block formats: how weights are stored, decoded and seen as integers.
