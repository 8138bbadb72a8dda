//! `cargo xtask ci`: the whole of CI, on a laptop and on a server alike.

fn main() {}
