//! Layers, one frame each.
