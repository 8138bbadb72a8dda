use super::*;

fn victim<'v>(kind: Kind, bytes: &'v [u8], benign: &'v [Vec<u8>]) -> Victim<'v> {
    Victim {
        bytes,
        kind,
        benign,
        upx: None,
    }
}

fn changed(name: &str, victim: &Victim<'_>) -> Option<Vec<u8>> {
    let attack = ATTACKS.iter().find(|attack| attack.name == name).unwrap();
    let again = (attack.change)(victim, &mut Dice::new(1, &[7; 32]));
    let other = (attack.change)(victim, &mut Dice::new(1, &[7; 32]));
    assert_eq!(again, other, "chance is the same each time");
    again
}

/// An ELF file of 64 bits with a table of one section, which holds its own name.
fn elf() -> Vec<u8> {
    let mut out = b"\x7fELF\x02\x01\x01".to_vec();
    out.resize(64, 0);
    out.extend_from_slice(b"\0.text\0\0");
    let mut header = [0; 64];
    (header[0], header[4], header[24], header[32]) = (1, 3, 64, 8);
    out.extend_from_slice(&header);
    (out[40], out[58], out[60], out[62]) = (72, 64, 1, 0);
    out
}

#[test]
fn what_is_added_leaves_the_file_in_place() {
    let benign = [b"harmless words".to_vec()];
    let bytes = elf();
    let victim = victim(Kind::Elf, &bytes, &benign);
    let longer = changed("1 KiB of a benign file behind", &victim).unwrap();
    assert_eq!(longer.len(), bytes.len() + 1024);
    assert!(longer.starts_with(&bytes));
    let longer = changed("section of benign text added", &victim).unwrap();
    assert_eq!(longer[60], 2, "a section more");
    assert_eq!(longer[64..136], bytes[64..136]);
    assert!(memchr::memmem::find(&longer, b"harmless words").is_some());
    assert_eq!(changed("benign bytes in front", &victim), None);
}

#[test]
fn sections_are_renamed_or_taken_away_and_nothing_else() {
    let bytes = elf();
    let victim = victim(Kind::Elf, &bytes, &[]);
    let renamed = changed("sections renamed", &victim).unwrap();
    assert_eq!((renamed[65], renamed[70]), (b'.', 0));
    assert_ne!(renamed[66..70], *b"text");
    assert_eq!(
        (&renamed[..66], &renamed[70..]),
        (&bytes[..66], &bytes[70..])
    );
    let stripped = changed("table of sections taken away", &victim).unwrap();
    assert_eq!((stripped[40], stripped[60]), (0, 0));
    assert_eq!(stripped[64..], bytes[64..]);
}

#[test]
fn headers_of_windows_programs_keep_what_windows_reads() {
    let mut bytes = b"MZ".to_vec();
    bytes.resize(0x200, 0);
    bytes[60] = 0x80;
    bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
    (bytes[0x80 + 20], bytes[0x80 + 60]) = (0x60, 16);
    let benign = [b"harmless words".to_vec()];
    let victim = victim(Kind::Pe, &bytes, &benign);
    let rewritten = changed("DOS header rewritten", &victim).unwrap();
    assert_eq!(rewritten[..2], *b"MZ");
    assert_eq!(rewritten[60..64], bytes[60..64]);
    assert_eq!(rewritten[0x80..], bytes[0x80..]);
    assert_ne!(rewritten[2..60], bytes[2..60]);
    let longer = changed("section of benign text added", &victim).unwrap();
    assert_eq!(longer[0x86], 1, "a section more");
}

#[test]
fn names_of_variables_change_everywhere_alike() {
    let php = b"<?php $code = $_POST['x']; eval($code); $this->run($code);";
    let out = changed("variables renamed", &victim(Kind::Php, php, &[])).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(!out.contains("$code") && out.contains("$_POST['x']") && out.contains("$this->"));
    let name = out.get(7..15).unwrap();
    assert_eq!(out.matches(name).count(), 3, "{out}");
    let python = b"key = 1\nprint(key, self.key, keys)\n";
    let out = changed("variables renamed", &victim(Kind::Python, python, &[])).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(out.ends_with(", self.key, keys)\n"), "{out}");
    assert_eq!(out.matches(out.get(..8).unwrap()).count(), 2, "{out}");
}

#[test]
fn scripts_grow_by_spaces_and_comments_outside_of_long_strings() {
    let text = [&b"a = '''\nlong\n'''\n"[..], &b"b = 1\n".repeat(30)].concat();
    let benign = [b"harmless */ ?> words".to_vec()];
    let victim = victim(Kind::Python, &text, &benign);
    let spaced = changed("blank lines and spaces", &victim).unwrap();
    assert!(memchr::memmem::find(&spaced, b"'''\nlong\n'''").is_some());
    let commented = changed("comments", &victim).unwrap();
    let kept: Vec<&[u8]> = commented
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| !line.starts_with(b"# "))
        .collect();
    assert_eq!(kept.concat(), text);
    assert!(memchr::memmem::find(&commented, b"*/").is_none());
}

#[test]
fn wrapped_scripts_hold_the_script() {
    let wrapped = changed(
        "wrapped in Base64 and eval",
        &victim(Kind::Python, b"print(1)\n", &[]),
    );
    let expected = b"import base64\nexec(base64.b64decode('cHJpbnQoMSkK'))\n";
    assert_eq!(wrapped.unwrap(), expected);
}

#[test]
fn a_file_is_still_found_only_when_it_is_found_each_time() {
    let mut row = Row::default();
    row.count(
        Outcome::Malicious,
        &[Outcome::Malicious, Outcome::Suspicious],
    );
    row.count(Outcome::Suspicious, &[Outcome::Clean, Outcome::Malicious]);
    row.count(Outcome::Clean, &[Outcome::Malicious]);
    row.count(Outcome::Malicious, &[]);
    let expected = Row {
        tried: 3,
        found: 2,
        still_found: 1,
        malicious: 1,
        still_malicious: 0,
    };
    assert_eq!(row, expected);
    let mut rows = vec![Row::default(); ATTACKS.len()];
    rows[0] = row;
    let table = table(Kind::Elf, 4, &rows);
    assert!(table.ends_with("| 1 KiB of a benign file behind | 3 | 2 | 1 | 1 | 1 | 0 |\n"));
}
