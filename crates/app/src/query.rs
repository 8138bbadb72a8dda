//! `thymus query`: SQL over the events of a state folder.

use std::fmt::Write as _;
use std::io::{Write, stdout};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use thymus_analyst::legible;
use thymus_schema::{LocalNetworks, Timestamp};
use thymus_store::archive::query::{functions, tables};
use thymus_store::{Archive, ArchiveReader, QueryLimits, QueryResult};

use crate::Found;
use crate::cli::QueryArgs;
use crate::scan::since;

/// Characters of one value in a text table.
const CELL_MAX: usize = 200;

/// Runs the command.
///
/// # Errors
/// When the query is wrong, takes too long, or a part could not be read.
#[expect(clippy::disallowed_methods, reason = "a query may take only so long")]
pub(crate) fn run(args: &QueryArgs) -> Result<Found> {
    if args.tables {
        return print_tables(args.json);
    }
    let (Some(sql), Some(state)) = (&args.sql, &args.state) else {
        anyhow::bail!("a query and --state are needed");
    };
    let dir = Archive::folder(state);
    ensure!(
        dir.is_dir(),
        "no events in {}: `thymus run --state` keeps them there",
        state.display()
    );
    let begun = Instant::now();
    let longest = Duration::from_secs(args.max_time);
    let limits = QueryLimits {
        rows_max: args.limit,
        from: args.from.as_deref().map(moment).transpose()?,
        to: args.to.as_deref().map(moment).transpose()?,
        now: Some(moment("0s")?),
        local: if args.local.is_empty() {
            LocalNetworks::found(Vec::new())
        } else {
            LocalNetworks::declared(args.local.clone())
        },
        stop: Arc::new(move || begun.elapsed() > longest),
        ..QueryLimits::default()
    };
    let result = ArchiveReader::new(&dir).query(sql, &limits)?;
    let text = if args.json {
        format!("{}\n", serde_json::to_string(&result)?)
    } else if args.csv {
        csv(&result)
    } else {
        table(&result)
    };
    stdout().write_all(text.as_bytes())?;
    if args.timings {
        let secs = begun.elapsed().as_secs_f64();
        eprintln!(
            "thymus: {} rows looked at in {secs:.3} s",
            result.scanned_rows
        );
    }
    if result.truncated && !args.json {
        eprintln!(
            "thymus: only the first {} rows; --limit gives more",
            args.limit
        );
    }
    for what in &result.skipped {
        eprintln!("thymus: {what}");
    }
    ensure!(
        result.skipped.is_empty(),
        "the answer is without what could not be read"
    );
    Ok(Found::Nothing)
}

pub(crate) fn moment(text: &str) -> Result<Timestamp> {
    let at = since::parse(text)?;
    let at = jiff::Timestamp::try_from(at).context("that is outside of all time")?;
    let nanos = i64::try_from(at.as_nanosecond()).context("that is outside of all time")?;
    Ok(Timestamp::from_nanos(nanos))
}

/// A value as one line of text, safe to show.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => legible(text),
        other => other.to_string(),
    }
}

fn table(result: &QueryResult) -> String {
    let cut = |text: String| match text.char_indices().nth(CELL_MAX) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    };
    let rows: Vec<Vec<String>> = result
        .rows
        .iter()
        .map(|row| row.iter().map(|value| cut(shown(value))).collect())
        .collect();
    let mut widths: Vec<usize> = result
        .columns
        .iter()
        .map(|column| legible(&column.name).chars().count())
        .collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = (String, bool)>| {
        let mut text = String::new();
        for ((cell, is_number), width) in cells.zip(&widths) {
            let gap = " ".repeat(width.saturating_sub(cell.chars().count()));
            let (left, right) = if is_number {
                (gap.as_str(), "")
            } else {
                ("", gap.as_str())
            };
            text.extend([left, &cell, right, "  "]);
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    let is_number = |at: usize| {
        result
            .columns
            .get(at)
            .is_some_and(|column| matches!(column.ty, "integer" | "real"))
    };
    let head = result.columns.iter().map(|column| legible(&column.name));
    line(&mut head.enumerate().map(|(at, cell)| (cell, is_number(at))));
    for row in rows {
        line(
            &mut row
                .into_iter()
                .enumerate()
                .map(|(at, cell)| (cell, is_number(at))),
        );
    }
    out
}

/// As RFC 4180 has it. Values are as they are, control characters too: it is for programs.
fn csv(result: &QueryResult) -> String {
    let field = |text: &str| {
        if text.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text.to_owned()
        }
    };
    let raw = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => field(text),
        other => other.to_string(),
    };
    let head: Vec<String> = result
        .columns
        .iter()
        .map(|column| field(&column.name))
        .collect();
    let mut out = format!("{}\r\n", head.join(","));
    for row in &result.rows {
        let cells: Vec<String> = row.iter().map(raw).collect();
        out.push_str(&cells.join(","));
        out.push_str("\r\n");
    }
    out
}

fn print_tables(as_json: bool) -> Result<Found> {
    let (tables, functions) = (tables(), functions());
    let mut text = String::new();
    if as_json {
        let about = |(call, about): &(_, _)| json!({ "call": call, "about": about });
        let functions: Vec<Value> = functions.iter().map(about).collect();
        writeln!(
            text,
            "{}",
            json!({ "tables": tables, "functions": functions })
        )?;
    } else {
        for table in tables {
            writeln!(text, "{}: {}", table.name, table.about)?;
            for column in table.columns {
                let ty = serde_json::to_value(column.ty)?;
                let ty = ty.as_str().unwrap_or_default();
                writeln!(text, "  {:<18} {:<8} {}", column.name, ty, column.about)?;
            }
            writeln!(text)?;
        }
        writeln!(text, "functions, beside SQLite's:")?;
        for (call, about) in functions {
            writeln!(text, "  {call:<24} {about}")?;
        }
    }
    stdout().write_all(text.as_bytes())?;
    Ok(Found::Nothing)
}

#[cfg(test)]
mod tests {
    use thymus_store::archive::query::ResultColumn;

    use super::*;

    fn answer() -> QueryResult {
        let column = |name: &str, ty| ResultColumn {
            name: name.to_owned(),
            ty,
        };
        QueryResult {
            columns: vec![column("name", "text"), column("n", "integer")],
            rows: vec![
                vec![json!("a\u{1b}[31m,\"b\""), json!(5)],
                vec![Value::Null, json!(1_000)],
            ],
            truncated: false,
            scanned_rows: 0,
            skipped: Vec::new(),
        }
    }

    #[test]
    fn names_from_the_wire_cannot_steer_a_terminal() {
        assert_eq!(
            table(&answer()),
            "name           n\na\u{fffd}[31m,\"b\"     5\n            1000\n"
        );
    }

    #[test]
    fn csv_is_read_back_as_it_was() {
        assert_eq!(
            csv(&answer()),
            "name,n\r\n\"a\u{1b}[31m,\"\"b\"\"\",5\r\n,1000\r\n"
        );
    }
}
