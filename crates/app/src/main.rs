//! The program `thymus`: parse, run, say what went wrong, exit. Everything else is in the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// Events are many small allocations made in one thread and freed in another, which the system's
/// allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    thymus_app::main()
}
