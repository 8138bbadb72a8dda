//! `thymus list` and `thymus explain`: what the registries know.

use anyhow::{Result, bail};

use crate::Found;
use crate::cli::{ExplainArgs, ListArgs};

pub(crate) fn list(_args: &ListArgs) -> Result<Found> {
    Ok(Found::Nothing)
}

pub(crate) fn explain(_args: &ExplainArgs) -> Result<Found> {
    bail!("nothing")
}
