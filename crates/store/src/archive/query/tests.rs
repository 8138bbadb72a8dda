use std::fs;

use serde_json::json;
use thymus_schema::Event;

use super::*;
use crate::archive::{Archive, ArchiveLimits};

fn event(index: u64, ts: &str, rest: &str) -> Event {
    let line = format!(
        r#"{{"id":"0000000000000001-{index}","ts":"{ts}",
            "conn":{{"flow":"00000000000000ff","client":{{"addr":"10.0.0.{}","port":{}}},
                    "server":{{"addr":"192.0.2.1","port":53}},"transport":"udp"}},{rest}}}"#,
        index % 3 + 1,
        5000 + index
    );
    serde_json::from_str(&line).unwrap()
}

/// Queries by three clients in two hours, and a flow.
fn archive(dir: &Path) -> Archive {
    let limits = ArchiveLimits {
        free_min: 0,
        age_max: None,
        ..ArchiveLimits::default()
    };
    let mut archive = Archive::open(dir, limits).unwrap();
    let mut events = Vec::new();
    for i in 0..60 {
        let ts = format!("2026-11-23T1{}:{i:02}:00.5Z", i / 30);
        let body = format!(
            r#""kind":"dns","query":"h{}.example","qtype":1,"rcode":{}"#,
            i % 5,
            i % 2 * 3
        );
        events.push(event(i, &ts, &body));
    }
    let flow = r#""kind":"flow","start":"2026-11-23T10:00:00Z","duration":{"secs":2,"nanos":500000000},
        "client_bytes":100,"server_bytes":9000000000,"state":"SF","service":"http""#;
    events.push(event(60, "2026-11-23T10:30:00Z", flow));
    archive.append(1, &events).unwrap();
    archive.flush().unwrap();
    archive
}

fn ask(archive: &mut Archive, sql: &str) -> Vec<Vec<Value>> {
    let result = archive.query(sql, &QueryLimits::default());
    result.unwrap_or_else(|error| panic!("{sql}: {error}")).rows
}

fn complaint(archive: &mut Archive, sql: &str) -> String {
    archive
        .query(sql, &QueryLimits::default())
        .unwrap_err()
        .to_string()
}

#[test]
fn sql_sees_what_events_say() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = archive(folder.path());
    let ask = |sql: &str| ask(&mut archive, sql);
    let mut ask = ask;
    assert_eq!(ask("SELECT count(*) FROM dns"), [[json!(60)]]);
    assert_eq!(
        ask("SELECT count(*), min(kind), max(kind) FROM events"),
        [[json!(61), json!("dns"), json!("flow")]]
    );
    assert_eq!(
        ask(
            "SELECT client_addr, count(*) AS n FROM dns WHERE rcode = 3 GROUP BY 1 ORDER BY n DESC, 1"
        ),
        [
            [json!("10.0.0.1"), json!(10)],
            [json!("10.0.0.2"), json!(10)],
            [json!("10.0.0.3"), json!(10)]
        ]
    );
    assert_eq!(
        ask("SELECT ts, start, duration, server_bytes, service, flow, vlan FROM flows"),
        [[
            json!("2026-11-23T10:30:00.000000Z"),
            json!("2026-11-23T10:00:00.000000Z"),
            json!(2.5),
            json!(9_000_000_000_i64),
            json!("http"),
            json!("00000000000000ff"),
            Value::Null
        ]]
    );
    assert_eq!(
        ask("SELECT json ->> '$.query' FROM dns WHERE id = '0000000000000001-7'"),
        [[json!("h2.example")]]
    );
    assert_eq!(
        ask("SELECT count(*) FROM dns WHERE query IN ('h1.example', 'h2.example')"),
        [[json!(24)]]
    );
    assert_eq!(
        ask("SELECT count(*) FROM events WHERE kind = 'flow'"),
        [[json!(1)]]
    );
    assert_eq!(
        ask("SELECT count(*) FROM dns WHERE client_port = '5003'"),
        [[json!(1)]],
        "converted"
    );
    assert_eq!(
        ask("SELECT count(*) FROM dns WHERE query = 'H1.EXAMPLE' COLLATE NOCASE"),
        [[json!(12)]]
    );
}

#[test]
fn times_are_compared_as_times() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = archive(folder.path());
    for (condition, expected) in [
        ("ts >= '2026-11-23T10:05:00.5Z'", 55),
        ("ts > '2026-11-23T10:05:00.5Z'", 54),
        ("ts <= '2026-11-23T10:05:00.5Z'", 6),
        ("ts < '2026-11-23 10:05:00.5'", 5),
        ("ts = '2026-11-23T10:05:00.500000Z'", 1),
        ("ts BETWEEN '2026-11-23 10:10' AND '2026-11-23 10:20'", 10),
        (
            "ts < '2026-11-23 10:05:00.5' OR ts >= '2026-11-23T11:59:00Z'",
            6,
        ),
        ("ts >= '2026-11-23T11'", 30),
        ("ts >= '2026-11-24'", 0),
        ("ts >= ago('30m')", 30),
        ("epoch(ts) = epoch", 60),
        ("ts = NULL", 0),
    ] {
        let sql = format!("SELECT count(*) FROM dns WHERE {condition}");
        assert_eq!(ask(&mut archive, &sql), [[json!(expected)]], "{condition}");
    }
    let said = complaint(&mut archive, "SELECT 1 FROM dns WHERE ts > 'yesterday'");
    assert!(said.contains("is no time"), "{said}");
    let limits = QueryLimits {
        from: Timestamp::parse("2026-11-23T10:10:00Z"),
        to: Timestamp::parse("2026-11-23T11:35:00.5Z"),
        ..QueryLimits::default()
    };
    let result = archive.query("SELECT count(*) FROM dns", &limits).unwrap();
    assert_eq!(result.rows, [[json!(25)]]);
}

#[test]
fn rows_come_by_their_time_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let limits = ArchiveLimits {
        free_min: 0,
        age_max: None,
        ..ArchiveLimits::default()
    };
    let mut archive = Archive::open(folder.path(), limits).unwrap();
    // Out of order, in several parts of three hours, of two kinds.
    for seq in 0..6_u64 {
        let frame = (0..1_000).map(|i| {
            let at = (seq * 1_000 + i) * 7_919 % 6_000;
            let ts = Timestamp::parse("2026-11-23T10:00:00Z").unwrap();
            let ts = ts
                .plus(std::time::Duration::from_millis(at * 1_700))
                .to_string();
            let body = if at % 3 == 0 {
                r#""kind":"quirk""#
            } else {
                r#""kind":"dns","query":"a""#
            };
            event(at, &ts, body)
        });
        archive.append(seq + 1, &frame.collect::<Vec<_>>()).unwrap();
        archive.flush().unwrap();
    }
    let reader = archive.reader();
    let column = |sql: &str| -> Vec<Value> {
        let result = reader.query(sql, &QueryLimits::default()).unwrap();
        result.rows.into_iter().map(|row| row[0].clone()).collect()
    };
    for (table, condition) in [
        ("events", "1"),
        ("dns", "ts >= '2026-11-23T11:10'"),
        ("dns", "client_port = 5007 + 1"),
    ] {
        // The + takes the order away from the table.
        let by_sqlite = column(&format!(
            "SELECT id FROM {table} WHERE {condition} ORDER BY +ts"
        ));
        let by_us = column(&format!(
            "SELECT id FROM {table} WHERE {condition} ORDER BY ts"
        ));
        assert_eq!(by_us, by_sqlite, "{table} {condition}");
        let mut falling = column(&format!(
            "SELECT id FROM {table} WHERE {condition} ORDER BY ts DESC"
        ));
        falling.reverse();
        assert_eq!(falling, by_sqlite, "{table} {condition}");
    }
    let latest = "SELECT id FROM events ORDER BY ts DESC LIMIT 3";
    let result = reader.query(latest, &QueryLimits::default()).unwrap();
    assert_eq!(result.rows.len(), 3);
    assert!(
        result.scanned_rows < 3_000,
        "only the last hour: {}",
        result.scanned_rows
    );
}

#[test]
fn tables_are_joined_without_reading_one_for_every_row_of_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = archive(folder.path());
    let sql = "SELECT count(*), count(DISTINCT a.id) FROM dns AS a JOIN dns AS b \
               ON a.query = b.query AND a.client_port <> b.client_port WHERE b.rcode = 3";
    let result = archive.query(sql, &QueryLimits::default()).unwrap();
    // Each of five names was asked for 12 times, 6 of them without success.
    assert_eq!(result.rows, [[json!(5 * 6 * 11), json!(60)]]);
    assert!(
        result.scanned_rows <= 5 * 60,
        "{} rows",
        result.scanned_rows
    );
    // Too large for memory: slower, and the same.
    let small = QueryLimits {
        memory_max: 1_000,
        ..QueryLimits::default()
    };
    let slow = archive.query(sql, &small).unwrap();
    assert_eq!(slow.rows, result.rows);
    assert!(slow.scanned_rows > result.scanned_rows);
    let more = "SELECT count(*) FROM dns AS a, dns AS b, dns AS c WHERE b.client_port = a.client_port \
                AND c.client_port = b.client_port + a.qtype - b.qtype";
    assert_eq!(ask(&mut archive, more), [[json!(60)]]);
    let far =
        "SELECT count(*) FROM dns AS a, dns AS b, dns AS c WHERE a.flow = b.flow AND c.id = b.id";
    let error = archive.query(far, &small).unwrap_err().to_string();
    assert!(error.contains("narrow the time"), "{error}");
    let numbers = "SELECT count(*) FROM flows AS f JOIN dns AS d ON d.client_port = f.client_port - 60 + d.qtype - 1";
    assert_eq!(ask(&mut archive, numbers), [[json!(1)]]);
    let in_list = "SELECT count(*) FROM dns WHERE query IN (SELECT query FROM dns) AND client_port IN (5000, 5001)";
    assert_eq!(ask(&mut archive, in_list), [[json!(2)]]);
}

#[test]
fn the_functions_do_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = archive(folder.path());
    for (expression, expected) in [
        ("cidr('10.1.2.3', '10.0.0.0/8')", json!(1)),
        ("cidr('11.1.2.3', '10.0.0.0/8')", json!(0)),
        ("cidr('2001:db8::1', '2001:db8::/32')", json!(1)),
        ("cidr(NULL, '10.0.0.0/8')", Value::Null),
        ("ip_is_local('192.168.1.1')", json!(1)),
        ("ip_is_local('192.0.2.1')", json!(0)),
        (
            "time_bucket('5m', '2026-11-23T10:07:59Z')",
            json!("2026-11-23T10:05:00.000000Z"),
        ),
        ("entropy('aabb')", json!(1.0)),
        ("now()", json!("2026-11-23T11:59:00.500000Z")),
    ] {
        assert_eq!(
            ask(&mut archive, &format!("SELECT {expression}")),
            [[expected]],
            "{expression}"
        );
    }
    assert_eq!(
        ask(
            &mut archive,
            "SELECT percentile(client_port, 90), median(client_port) FROM dns"
        ),
        [[json!(5053.1), json!(5029.5)]]
    );
    let said = complaint(&mut archive, "SELECT cidr('10.0.0.1', 'ten')");
    assert!(said.contains("is no network"), "{said}");
}

#[test]
fn what_is_wrong_is_said_with_what_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = archive(folder.path());
    for (sql, said) in [
        ("SELECT * FROM flow", "did you mean flows?"),
        ("SELECT sever_addr FROM flows", "did you mean server_addr?"),
        ("SELECT \"querry\" FROM dns", "did you mean query?"),
        ("SELECT medain(1)", "did you mean median?"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("", "write a SELECT"),
        ("SELECT FROM", "syntax error"),
    ] {
        let complaint = complaint(&mut archive, sql);
        assert!(complaint.contains(said), "{sql}: {complaint}");
    }
}

#[test]
fn nothing_can_be_written_or_reached() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = archive(folder.path());
    let file = folder.path().join("made.db");
    for sql in [
        "CREATE TABLE x(y)",
        "INSERT INTO dns(query) VALUES ('x')",
        "DELETE FROM dns",
        "DROP TABLE dns",
        "PRAGMA temp_store = MEMORY",
        "SELECT load_extension('x')",
        "VACUUM",
        "BEGIN",
        &format!("ATTACH '{}' AS x", file.display()),
        &format!("VACUUM INTO '{}'", file.display()),
    ] {
        assert!(
            archive.query(sql, &QueryLimits::default()).is_err(),
            "{sql}"
        );
    }
    assert!(!file.exists());
}

#[test]
fn a_query_keeps_to_its_limits() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = archive(folder.path());
    let few = QueryLimits {
        rows_max: 7,
        ..QueryLimits::default()
    };
    let result = archive.query("SELECT id FROM dns", &few).unwrap();
    assert_eq!((result.rows.len(), result.truncated), (7, true));
    let exact = QueryLimits {
        rows_max: 61,
        ..QueryLimits::default()
    };
    assert!(
        !archive
            .query("SELECT id FROM events", &exact)
            .unwrap()
            .truncated
    );
    let asked = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&asked);
    let soon = QueryLimits {
        stop: Arc::new(move || counting.fetch_add(1, Ordering::Relaxed) > 50),
        ..QueryLimits::default()
    };
    let endless =
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";
    assert!(matches!(
        archive.query(endless, &soon),
        Err(QueryError::Stopped)
    ));
    let small = QueryLimits {
        answer_bytes_max: 1_000,
        ..QueryLimits::default()
    };
    assert!(matches!(
        archive.query("SELECT json FROM dns", &small),
        Err(QueryError::TooLarge { .. })
    ));
    let huge = complaint(&mut archive, "SELECT length(zeroblob(100000000))");
    assert!(huge.contains("too big"), "{huge}");
}

#[test]
fn a_damaged_part_is_named_beside_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(folder.path());
    let reader = archive.reader();
    let path = folder.path().join("2026-11-23/11-000.parquet");
    let mut bytes = fs::read(&path).unwrap();
    // In the columns, so that only who reads them notices.
    for byte in &mut bytes[100..2_000] {
        *byte ^= 0x55;
    }
    fs::write(&path, &bytes).unwrap();
    let result = reader
        .query("SELECT count(json) FROM dns", &QueryLimits::default())
        .unwrap();
    assert_eq!(result.rows, [[json!(30)]]);
    assert_eq!(result.skipped.len(), 1, "{:?}", result.skipped);
    assert!(
        result.skipped[0].contains("11-000.parquet"),
        "{:?}",
        result.skipped
    );
}

#[test]
fn help_names_every_table_and_column() {
    let tables = tables();
    let dns = tables.iter().find(|table| table.name == "dns").unwrap();
    let names: Vec<&str> = dns.columns.iter().map(|column| column.name).collect();
    assert_eq!(names[..3], ["id", "ts", "epoch"]);
    assert_eq!(names.last(), Some(&"json"));
    assert!(
        tables.iter().all(|table| table.columns.len() < 63),
        "a bit each in col_used"
    );
    assert!(functions().is_sorted());
}
