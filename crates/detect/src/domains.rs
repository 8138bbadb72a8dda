//! Names as registries see them: which part of a DNS name was registered, and what lies below it.

use std::cell::RefCell;

/// The registered domain of `name` by the public suffix list; the last two labels where the list has
/// no answer; `None` for bare labels, reverse lookups and names that never leave the site.
pub(crate) fn registered(name: &str) -> Option<&str> {
    // Several detectors ask for the same event's name in turn.
    LAST.with_borrow_mut(|last| {
        if last.0 != name {
            last.0.clear();
            last.0.push_str(name);
            last.1 = look_up(name).map(str::len);
        }
        last.1.and_then(|len| name.get(name.len() - len..))
    })
}

thread_local! {
    /// The name last asked for and the length of its registered part, which is always its end.
    static LAST: RefCell<(String, Option<usize>)> = const { RefCell::new((String::new(), None)) };
}

/// As [`registered`], without memory.
pub(crate) fn look_up(name: &str) -> Option<&str> {
    if is_infrastructure(name) {
        return None;
    }
    psl::domain_str(name).or_else(|| last_two(name))
}

/// What stands before the registered domain, without the dot between; empty when nothing does.
pub(crate) fn below<'a>(name: &'a str, registered: &str) -> &'a str {
    name.strip_suffix(registered)
        .map_or("", |head| head.strip_suffix('.').unwrap_or(head))
}

/// Whether the name belongs to the plumbing: reverse lookups, service discovery, local zones.
pub(crate) fn is_infrastructure(name: &str) -> bool {
    let Some(dot) = name.bytes().rposition(|byte| byte == b'.') else {
        return true;
    };
    let last = name.get(dot + 1..).unwrap_or_default();
    matches!(
        last,
        "arpa" | "local" | "localhost" | "lan" | "internal" | "home" | "corp" | "localdomain"
    ) || (name.bytes().any(|byte| byte == b'_') && name.contains("_dns-sd._udp"))
}

/// Shannon entropy of the bytes in bits per byte.
pub(crate) fn entropy(text: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in text {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let total = text.len() as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = f64::from(*count) / total;
            -share * share.log2()
        })
        .sum()
}

fn last_two(name: &str) -> Option<&str> {
    let (head, _) = name.rsplit_once('.')?;
    let start = head.rfind('.').map_or(0, |dot| dot + 1);
    name.get(start..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registered_part_is_found() {
        assert_eq!(registered("a.b.example.co.uk"), Some("example.co.uk"));
        assert_eq!(registered("x.y.unheard-of-tld"), Some("y.unheard-of-tld"));
        assert_eq!(registered("4.3.2.1.in-addr.arpa"), None);
        assert_eq!(registered("printer"), None);
        assert_eq!(below("a.b.example.org", "example.org"), "a.b");
        assert_eq!(below("example.org", "example.org"), "");
    }

    #[test]
    fn random_text_has_more_entropy_than_a_word() {
        assert!(entropy(b"4f9c2d7ab13e68") > entropy(b"aaaabbbb") + 1.0);
        assert_eq!(entropy(b""), 0.0);
    }
}
