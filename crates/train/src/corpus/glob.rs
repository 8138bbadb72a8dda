//! Globs over paths: `*` is any run of characters but `/`, `**` any run, `?` one character. Case
//! counts. No classes, no alternatives: the manifest needs none.

/// Whether the whole of `text` fits `pattern`.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    matches(pattern.as_bytes(), text.as_bytes())
}

/// Whether `path` is wanted: fits one of `include` (or that is empty) and none of `exclude`.
pub(crate) fn wanted(include: &[String], exclude: &[String], path: &str) -> bool {
    let is_in = |globs: &[String]| globs.iter().any(|glob| fits(glob, path));
    (include.is_empty() || is_in(include)) && !is_in(exclude)
}

/// Patterns come from our own manifest, paths are short: plain backtracking is enough.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', b'*', b'/', rest @ ..] => {
            matches(rest, text)
                || (0..text.len())
                    .filter(|at| text.get(*at) == Some(&b'/'))
                    .any(|at| matches(rest, text.get(at + 1..).unwrap_or_default()))
        }
        [b'*', b'*', rest @ ..] => {
            (0..=text.len()).any(|at| matches(rest, text.get(at..).unwrap_or_default()))
        }
        [b'*', rest @ ..] => {
            let run = text.iter().position(|c| *c == b'/').unwrap_or(text.len());
            (0..=run).any(|at| matches(rest, text.get(at..).unwrap_or_default()))
        }
        [b'?', rest @ ..] => match text {
            [first, after @ ..] if *first != b'/' => matches(rest, after),
            _ => false,
        },
        [wanted, rest @ ..] => match text {
            [first, after @ ..] if first == wanted => matches(rest, after),
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stop_at_slashes_and_double_stars_do_not() {
        for (pattern, text, fit) in [
            ("*.js", "a.js", true),
            ("*.js", "a/b.js", false),
            ("**/*.js", "a/b.js", true),
            ("**/*.js", "b.js", true),
            ("2016/**", "2016/20160101/x.js", true),
            ("2016/**", "2017/x.js", false),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("**", "", true),
        ] {
            assert_eq!(fits(pattern, text), fit, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_excluded_stays_out() {
        let include = ["x/**".to_owned()];
        let exclude = ["x/y/*".to_owned()];
        assert!(wanted(&include, &exclude, "x/z"));
        assert!(!wanted(&include, &exclude, "x/y/z"));
        assert!(!wanted(&include, &[], "q"));
        assert!(wanted(&[], &[], "q"));
    }
}
