//! `thymus bench`.

use anyhow::Result;

use crate::Found;
use crate::cli::BenchArgs;

pub(crate) fn run(_args: &BenchArgs) -> Result<Found> {
    Ok(Found::Nothing)
}
