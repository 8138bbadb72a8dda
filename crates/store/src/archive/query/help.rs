//! What a query may name, and what was probably meant by what it may not.

use std::sync::Arc;

use serde::Serialize;

use super::functions::FUNCTIONS;
use super::scan::{SqlColumn, columns};
use crate::archive::tables::{ColumnType, TABLES};

/// A table, as help shows it.
#[derive(Clone, Debug, Serialize)]
pub struct TableHelp {
    /// Its name.
    pub name: &'static str,
    /// What one row is.
    pub about: &'static str,
    /// Its columns, in order.
    pub columns: Vec<ColumnHelp>,
}

/// A column, as help shows it.
#[derive(Clone, Debug, Serialize)]
pub struct ColumnHelp {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    #[serde(rename = "type")]
    pub ty: ColumnType,
    /// What it means.
    pub about: &'static str,
}

/// Every table with its columns.
pub fn tables() -> Vec<TableHelp> {
    let column = |column: SqlColumn| ColumnHelp {
        name: column.name,
        ty: column.ty,
        about: column.about,
    };
    let table = |table: &'static _| {
        let known: &'static crate::archive::tables::Table = table;
        TableHelp {
            name: known.name,
            about: known.about,
            columns: columns(known).into_iter().map(column).collect(),
        }
    };
    TABLES.iter().map(table).collect()
}

/// Every function of ours: how it is called and what it gives.
pub fn functions() -> &'static [(&'static str, &'static str)] {
    FUNCTIONS
}

/// What was probably meant, as a sentence; empty when nothing is near.
pub(super) fn hint(message: &str, sql: &str) -> String {
    let after = |start: &str| message.strip_prefix(start).map(str::trim);
    if let Some(name) = after("no such table:") {
        let names = || TABLES.iter().map(|table| table.name);
        let all: Vec<&str> = names().collect();
        return format!("{}tables: {}", meant(name, names()), all.join(", "));
    }
    if let Some(name) = after("no such column:") {
        // `t.name` names a column of an alias.
        let name = name
            .split_whitespace()
            .next()
            .unwrap_or(name)
            .trim_matches('"');
        let name = name.rsplit('.').next().unwrap_or(name);
        let used: Vec<_> = TABLES
            .iter()
            .filter(|table| names_word(sql, table.name))
            .collect();
        let of = |table: &&'static _| columns(table).into_iter().map(|column| column.name);
        let mut known: Vec<&str> = used.iter().flat_map(of).collect();
        known.sort_unstable();
        known.dedup();
        let all = known.join(", ");
        return format!("{}columns: {all}", meant(name, known.iter().copied()));
    }
    if let Some(name) = after("no such function:") {
        let names = FUNCTIONS
            .iter()
            .filter_map(|(call, _)| call.split('(').next());
        let all: Vec<&str> = FUNCTIONS.iter().map(|(call, _)| *call).collect();
        return format!(
            "{}functions beside SQLite's: {}",
            meant(name, names),
            all.join(", ")
        );
    }
    if message.contains("not authorized") || message.contains("prohibited") {
        return "only SELECT over the event tables is possible".to_owned();
    }
    String::new()
}

fn meant<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let name = name.to_ascii_lowercase();
    let near = known.map(|known| (strsim::jaro_winkler(&name, known), known));
    let best = near
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(score, _)| *score > 0.7);
    best.map(|(_, known)| format!("did you mean {known}? "))
        .unwrap_or_default()
}

/// Whether `word` stands in `sql` as a word of its own.
fn names_word(sql: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    sql.split(|c: char| !is_name(c))
        .any(|token| token.eq_ignore_ascii_case(word))
}

/// What a closure that stops a query looks like.
pub type Stop = Arc<dyn Fn() -> bool + Send + Sync>;
