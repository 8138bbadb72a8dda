//! Behaviour of the engine as a whole.
