//! The program `thymus`: parse, run, say what went wrong, exit. Everything else is in the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    thymus_app::main()
}
