//! The index: one line for each distinct file, tab-separated, ordered by SHA-256. It holds digests, labels
//! and where the file is to be read again; never its bytes.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::kind::Kind;
use super::manifest::{Label, Role};

const HEAD: &str = "sha256\tsize\ttype\ttyped_by\tlabel\trole\tcluster\tmixed\tfamily\tsource\tentropy\tfacts\tlocator";

/// One distinct file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// SHA-256, hexadecimal.
    pub(crate) sha256: String,
    /// Bytes.
    pub(crate) size: u64,
    /// Type.
    pub(crate) kind: Kind,
    /// How the type was found.
    pub(crate) typed_by: String,
    /// Label.
    pub(crate) label: Label,
    /// Side of the split.
    pub(crate) role: Role,
    /// First 16 digits of the smallest SHA-256 in its near-duplicate cluster.
    pub(crate) cluster: String,
    /// Whether the cluster has files of both labels.
    pub(crate) is_mixed: bool,
    /// Family, or `-`.
    pub(crate) family: String,
    /// Source of the manifest.
    pub(crate) source: String,
    /// Bits a byte, in thousandths.
    pub(crate) entropy_milli: u32,
    /// Facts read off the headers.
    pub(crate) facts: String,
    /// Git blob or package, then members joined by `!`.
    pub(crate) locator: String,
}

/// Text without what would break a line of the index.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// The index as text.
pub(crate) fn render(rows: &[Row]) -> Result<String> {
    let mut out = format!("{HEAD}\n");
    for row in rows {
        let Row {
            sha256,
            size,
            kind,
            typed_by,
            label,
            role,
            cluster,
            ..
        } = row;
        let mixed = u8::from(row.is_mixed);
        let (kind, label, role) = (kind.as_str(), label.as_str(), role.as_str());
        write!(
            out,
            "{sha256}\t{size}\t{kind}\t{typed_by}\t{label}\t{role}\t{cluster}\t{mixed}\t"
        )?;
        let Row {
            family,
            source,
            entropy_milli,
            facts,
            locator,
            ..
        } = row;
        writeln!(
            out,
            "{family}\t{source}\t{entropy_milli}\t{facts}\t{locator}"
        )?;
    }
    Ok(out)
}

/// Reads an index.
pub(crate) fn read(path: &Path) -> Result<Vec<Row>> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    parse(&text).with_context(|| format!("read index {}", path.display()))
}

fn parse(text: &str) -> Result<Vec<Row>> {
    let mut lines = text.lines();
    if lines.next() != Some(HEAD) {
        bail!("the first line is not that of an index");
    }
    lines
        .enumerate()
        .map(|(number, line)| row(line).with_context(|| format!("line {}", number + 2)))
        .collect()
}

fn row(line: &str) -> Result<Row> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [
        sha256,
        size,
        kind,
        typed_by,
        label,
        role,
        cluster,
        mixed,
        family,
        source,
        entropy,
        facts,
        locator,
    ] = fields.as_slice()
    else {
        bail!("{} fields", fields.len());
    };
    let own = |text: &str| text.to_owned();
    Ok(Row {
        sha256: own(sha256),
        size: size.parse().context("size")?,
        kind: Kind::parse(kind).context("type")?,
        typed_by: own(typed_by),
        label: Label::parse(label).context("label")?,
        role: Role::parse(role).context("role")?,
        cluster: own(cluster),
        is_mixed: *mixed == "1",
        family: own(family),
        source: own(source),
        entropy_milli: entropy.parse().context("entropy")?,
        facts: own(facts),
        locator: own(locator),
    })
}

#[cfg(test)]
pub(crate) fn sample(sha256: &str, kind: Kind, label: Label, role: Role) -> Row {
    Row {
        sha256: sha256.to_owned(),
        size: 5,
        kind,
        typed_by: "magic".to_owned(),
        label,
        role,
        cluster: sha256.get(..16).unwrap_or(sha256).to_owned(),
        is_mixed: false,
        family: "-".to_owned(),
        source: "s".to_owned(),
        entropy_milli: 4_100,
        facts: "-".to_owned(),
        locator: "x!y".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let rows = vec![
            sample("00", Kind::Elf, Label::Malicious, Role::Train),
            sample("01", Kind::Php, Label::Benign, Role::Test),
        ];
        assert_eq!(parse(&render(&rows).unwrap()).unwrap(), rows);
    }

    #[test]
    fn a_name_cannot_break_a_line() {
        assert_eq!(clean("a\tb\nc\u{1b}[1m"), "a?b?c?[1m");
    }

    #[test]
    fn a_damaged_line_is_told() {
        let text = render(&[sample("00", Kind::Elf, Label::Benign, Role::Tune)]).unwrap();
        let error = parse(&text.replace("elf", "fle")).unwrap_err();
        assert!(format!("{error:#}").contains("line 2: type"));
    }
}
