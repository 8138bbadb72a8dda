use super::*;

const HEADER: &[&str] = &[
    r"#separator \x09",
    "#set_separator\t,",
    "#empty_field\t(empty)",
    "#unset_field\t-",
    "#path\thttp",
    "#fields\tts\tuid\tid.orig_h\tid.orig_p\turi\tmethod\tresp_mime_types\tlocal_orig\tduration",
];

fn reader() -> ZeekTsv {
    let mut tsv = ZeekTsv::default();
    for line in HEADER {
        assert!(matches!(tsv.line(line.as_bytes()), ZeekLine::Directive));
    }
    tsv
}

#[test]
fn a_record_is_read_by_field_name() {
    let mut tsv = reader();
    let line = b"1.5\tC1\t10.0.0.7\t80\t/a\\x09b\\\\c\t-\ttext/html,a\\x2cb\tT\t0.000001";
    let ZeekLine::Row(row) = tsv.line(line) else {
        panic!("not a row")
    };
    assert_eq!(row.nanos(ZeekField::Ts), Some(1_500_000_000));
    assert_eq!(row.nanos(ZeekField::Duration), Some(1_000));
    assert_eq!(
        row.addr(ZeekField::OrigH),
        Some("10.0.0.7".parse().unwrap())
    );
    assert_eq!(row.u16(ZeekField::OrigP), Some(80));
    assert_eq!(row.text(ZeekField::Uri), "/a\tb\\c");
    assert!(!row.has(ZeekField::Method));
    assert_eq!(row.list(ZeekField::RespMimeTypes), ["text/html", "a,b"]);
    assert_eq!(row.bool(ZeekField::LocalOrig), Some(true));
    assert!(!row.has(ZeekField::ConnState), "no such column");
    assert_eq!(tsv.path(), "http");
}

#[test]
fn a_record_that_does_not_fit_the_header_is_a_misfit() {
    let mut tsv = reader();
    assert!(matches!(tsv.line(b"1.5\tC1"), ZeekLine::Misfit));
    assert!(matches!(
        ZeekTsv::default().line(b"1.5\tC1"),
        ZeekLine::Misfit
    ));
}

#[test]
fn a_second_header_takes_over() {
    let mut tsv = reader();
    tsv.line(b"#path\tweird");
    tsv.line(b"#fields\tname\tts");
    let ZeekLine::Row(row) = tsv.line(b"odd\t-1.25") else {
        panic!("not a row")
    };
    assert_eq!(row.text(ZeekField::Name), "odd");
    assert_eq!(row.nanos(ZeekField::Ts), Some(-1_250_000_000));
}

#[test]
fn all_shapes_of_json_mean_the_same() {
    let mut json = ZeekJson::default();
    for (line, path) in [
        (
            r#"{"_path":"conn","ts":1.5,"id.orig_h":"10.0.0.7","id.orig_p":7}"#,
            "conn",
        ),
        (
            r#"{"@stream":"conn","ts":1.5,"id_orig_h":"10.0.0.7","id_orig_p":7}"#,
            "conn",
        ),
        (r#"{"ts":1.5,"id":{"orig_h":"10.0.0.7","orig_p":7}}"#, ""),
        (r#"{"id.orig_p":7,"ts":1.5,"id.orig_h":"10.0.0.7"}"#, ""),
    ] {
        let object = json.line(line.as_bytes()).unwrap();
        assert_eq!(object.path(), path);
        let row = object.row();
        assert_eq!(row.nanos(ZeekField::Ts), Some(1_500_000_000), "{line}");
        assert_eq!(
            row.addr(ZeekField::OrigH),
            Some("10.0.0.7".parse().unwrap()),
            "{line}"
        );
        assert_eq!(row.u64(ZeekField::OrigP), Some(7), "{line}");
    }
    assert!(json.line(b"[1]").is_none());
    assert!(json.line(b"{\"ts\":").is_none());
}

#[test]
fn times_are_exact() {
    let mut tsv = ZeekTsv::default();
    tsv.line(b"#fields\tts");
    for (text, nanos) in [
        ("1588205198.899710", Some(1_588_205_198_899_710_000)),
        ("1588205198", Some(1_588_205_198_000_000_000)),
        ("1.1234567899999", None),
        ("99999999999999999999", None),
        ("1e9", None),
        ("", None),
    ] {
        let line = if text.is_empty() { "-" } else { text };
        let ZeekLine::Row(row) = tsv.line(line.as_bytes()) else {
            panic!("not a row")
        };
        let got = row.nanos(ZeekField::Ts);
        if text == "1.1234567899999" {
            assert_eq!(got, Some(1_123_456_789));
        } else {
            assert_eq!(got, nanos, "{text}");
        }
    }
}
