//! Small neural networks with model cards: they know tensors, not security.

#![forbid(unsafe_code)]
