//! Unix archives (ar(5)): System V and BSD long names; Debian packages (deb(5)) are such archives.

use super::Opening;
use crate::{FileType, Reason};

const HEADER: usize = 60;
const BROKEN: Reason = Reason::Broken(FileType::Ar);

/// Hands out the members; symbol tables are none.
pub(super) fn open(bytes: &[u8], opening: &mut Opening<'_, '_>) -> Result<(), Reason> {
    let mut rest = bytes.get(8..).ok_or(BROKEN)?;
    let mut long_names: &[u8] = &[];
    while !rest.is_empty() {
        opening.go_on()?;
        let header = rest.get(..HEADER).ok_or(BROKEN)?;
        let field = |from: usize, to: usize| {
            String::from_utf8_lossy(header.get(from..to).unwrap_or_default())
                .trim_end()
                .to_owned()
        };
        let size: usize = field(48, 58).parse().map_err(|_| BROKEN)?;
        let after = rest.get(HEADER..).unwrap_or_default();
        let body = after.get(..size).ok_or(BROKEN)?;
        let name = field(0, 16);
        if name == "//" {
            long_names = body;
        } else if name != "/" && name != "/SYM64/" && name != "__.SYMDEF" {
            let (name, body) = full_name(&name, body, long_names);
            opening.lend(&name, body, None);
        }
        rest = after.get(size + size % 2..).unwrap_or_default();
    }
    Ok(())
}

/// The name in full: `/OFFSET` points into the name table, `#1/LENGTH` says how much of the body is it.
fn full_name<'b>(name: &str, body: &'b [u8], long_names: &[u8]) -> (String, &'b [u8]) {
    if let Some(length) = name
        .strip_prefix("#1/")
        .and_then(|n| n.parse::<usize>().ok())
        && let Some((name, body)) = body.split_at_checked(length)
    {
        let name = String::from_utf8_lossy(name);
        return (name.trim_end_matches('\0').to_owned(), body);
    }
    if let Some(offset) = name.strip_prefix('/').and_then(|n| n.parse::<usize>().ok())
        && let Some(names) = long_names.get(offset..)
    {
        let name = names
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        let name = String::from_utf8_lossy(name);
        return (name.trim_end_matches('/').to_owned(), body);
    }
    (name.trim_end_matches('/').to_owned(), body)
}
