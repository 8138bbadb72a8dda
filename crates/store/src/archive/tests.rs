use std::fs;

use proptest::prelude::*;
use thymus_schema::{
    Conn, DnsAnswer, DnsTransaction, Endpoint, EventBody, EventId, FlowId, FlowRecord,
    HttpTransaction, InputId, Login, MailEnvelope, QuirkSeen, Scope, SmbOperation, Transport,
};

use super::*;

/// Small bounds, and nothing that depends on the machine's disk.
fn limits() -> ArchiveLimits {
    ArchiveLimits {
        free_min: 0,
        age_max: None,
        ..ArchiveLimits::default()
    }
}

/// A DNS query at a time.
fn dns(index: u64, ts: &str, query: &str) -> Event {
    let line = format!(
        r#"{{"id":"0000000000000001-{index}","ts":"{ts}",
            "conn":{{"flow":"00000000000000ff","client":{{"addr":"10.0.0.7","port":5000}},
                    "server":{{"addr":"10.0.0.1","port":53}},"transport":"udp"}},
            "kind":"dns","query":"{query}","qtype":1,"rcode":0,
            "answers":[{{"rtype":1,"data":"192.0.2.1","ttl":60}}]}}"#
    );
    serde_json::from_str(&line).unwrap()
}

fn quirk(index: u64, ts: &str) -> Event {
    let line = format!(
        r#"{{"id":"0000000000000001-{index}","ts":"{ts}","kind":"quirk","parser":"dns","quirk":"odd"}}"#
    );
    serde_json::from_str(&line).unwrap()
}

fn parts(dir: &Path) -> Vec<String> {
    let listing = Known::default().list(dir, |_| true).unwrap();
    listing
        .parts
        .keys()
        .map(|name| format!("{}/{}", name.day(), name.file()))
        .collect()
}

/// Every event that can be read, in the order of its id.
fn events(dir: &Path) -> Vec<Event> {
    let listing = Known::default().list(dir, |_| true).unwrap();
    let mut events = Vec::new();
    for info in listing.parts.values() {
        let Ok(part) = part::Part::open(&info.path) else {
            continue;
        };
        let Ok(Some(mut json)) = part.column("json") else {
            continue;
        };
        let batch = json
            .read(usize::try_from(info.meta.rows()).unwrap())
            .unwrap();
        let cells::Values::Text(texts) = batch.values else {
            panic!("json is text")
        };
        events.extend(
            texts
                .iter()
                .map(|t| serde_json::from_slice::<Event>(t.data()).unwrap()),
        );
    }
    events.sort_by_key(|event: &Event| event.id);
    events
}

#[test]
fn events_come_back_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = Archive::open(folder.path(), limits()).unwrap();
    let given = vec![
        dns(0, "2026-11-23T10:00:00.123456789Z", "example.org"),
        quirk(1, "2026-11-23T10:59:59.999999999Z"),
        dns(2, "2026-11-23T11:00:00Z", "b.example"),
    ];
    archive.append(1, &given).unwrap();
    archive.flush().unwrap();
    assert_eq!(
        parts(folder.path()),
        ["2026-11-23/10-000.parquet", "2026-11-23/11-000.parquet"]
    );
    assert_eq!(events(folder.path()), given);
    let status = archive.status();
    assert_eq!((status.events, status.parts, status.last_seq), (3, 2, 1));
    assert_eq!(
        status.oldest,
        Timestamp::parse("2026-11-23T10:00:00.123456Z")
    );
    assert_eq!(status.newest, Timestamp::parse("2026-11-23T11:00:00Z"));
}

#[test]
fn a_frame_fed_twice_is_kept_once() {
    let folder = tempfile::tempdir().unwrap();
    let frames: Vec<Vec<Event>> = (0..6)
        .map(|i| {
            let hour = 10 + i % 2;
            vec![dns(i, &format!("2026-11-23T{hour}:00:00Z"), "example.org")]
        })
        .collect();
    {
        let mut archive = Archive::open(folder.path(), limits()).unwrap();
        for (seq, frame) in (1..).zip(&frames[..4]) {
            archive.append(seq, frame).unwrap();
            archive.append(seq, frame).unwrap();
        }
        archive.flush().unwrap();
    }
    // As after a crash between the parts of two hours.
    fs::remove_file(folder.path().join("2026-11-23/11-000.parquet")).unwrap();
    let mut archive = Archive::open(folder.path(), limits()).unwrap();
    assert_eq!(archive.last_seq(), 0);
    for (seq, frame) in (1..).zip(&frames) {
        archive.append(seq, frame).unwrap();
    }
    archive.flush().unwrap();
    assert_eq!(events(folder.path()), frames.concat());
    assert_eq!(archive.last_seq(), 6);
}

#[test]
fn small_parts_become_one_and_count_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = Archive::open(folder.path(), limits()).unwrap();
    let mut given = Vec::new();
    for i in 0..9 {
        let both = [
            dns(
                2 * i,
                &format!("2026-11-23T10:0{i}:00Z"),
                &format!("{i}.example"),
            ),
            quirk(2 * i + 1, &format!("2026-11-23T10:0{i}:01Z")),
        ];
        archive.append(i + 1, &both).unwrap();
        archive.flush().unwrap();
        given.extend(both);
    }
    let reading = folder::lock_reader(folder.path()).unwrap();
    archive
        .tick(Timestamp::parse("2026-11-23T10:10:00Z").unwrap())
        .unwrap();
    assert!(
        folder.path().join("2026-11-23/10-000.parquet").exists(),
        "somebody reads"
    );
    assert_eq!(events(folder.path()), given);
    drop(reading);
    archive
        .tick(Timestamp::parse("2026-11-23T12:10:00Z").unwrap())
        .unwrap();
    archive
        .append(20, &[quirk(100, "2026-11-23T12:00:00Z")])
        .unwrap();
    archive.flush().unwrap();
    archive
        .tick(Timestamp::parse("2026-11-23T12:10:00Z").unwrap())
        .unwrap();
    given.push(quirk(100, "2026-11-23T12:00:00Z"));
    assert_eq!(parts(folder.path()).len(), 2);
    assert_eq!(
        fs::read_dir(folder.path().join("2026-11-23"))
            .unwrap()
            .count(),
        2
    );
    assert_eq!(events(folder.path()), given);
    assert_eq!(archive.status().events, 19);
    drop(archive);
    let again = Archive::open(folder.path(), limits()).unwrap();
    assert_eq!((again.status().events, again.last_seq()), (19, 20));
}

#[test]
fn what_waits_is_written_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = Archive::open(folder.path(), limits()).unwrap();
    archive
        .append(1, &[quirk(0, "2026-11-23T10:00:00Z")])
        .unwrap();
    let now = Timestamp::parse("2026-11-23T10:00:05Z").unwrap();
    archive.tick(now).unwrap();
    assert_eq!(archive.status().buffered, 1);
    archive.tick(now.plus(Duration::from_secs(30))).unwrap();
    assert_eq!((archive.status().buffered, archive.status().parts), (0, 1));
}

#[test]
fn the_oldest_go_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = Archive::open(folder.path(), limits()).unwrap();
    for hour in 10..20 {
        let event = quirk(hour, &format!("2026-11-23T{hour}:00:00Z"));
        archive.append(hour, &[event]).unwrap();
        archive.flush().unwrap();
    }
    let now = Timestamp::parse("2026-11-23T20:00:00Z").unwrap();
    let each = archive.status().bytes / 10;
    archive.limits.bytes_max = each * 7;
    archive.tick(now).unwrap();
    let left = archive.status().parts;
    assert!((6..=7).contains(&left), "{left}");
    assert!(archive.status().bytes <= each * 7);
    assert_eq!(
        archive.status().newest,
        Timestamp::parse("2026-11-23T19:00:00Z")
    );
    archive.limits.age_max = Some(Duration::from_hours(2));
    archive.tick(now).unwrap();
    assert_eq!(
        archive.status().oldest,
        Timestamp::parse("2026-11-23T18:00:00Z")
    );
    assert_eq!(archive.status().expired_events, 8);
    // Everything may go without a frame being taken again.
    archive.limits.bytes_max = 0;
    archive.tick(now).unwrap();
    drop(archive);
    let again = Archive::open(folder.path(), limits()).unwrap();
    assert_eq!((again.status().parts, again.last_seq()), (0, 19));
}

#[test]
fn a_damaged_part_is_named_and_the_others_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = Archive::open(folder.path(), limits()).unwrap();
    for hour in 10..13 {
        let event = dns(hour, &format!("2026-11-23T{hour}:00:00Z"), "example.org");
        archive.append(hour, &[event]).unwrap();
        archive.flush().unwrap();
    }
    drop(archive);
    let path = folder.path().join("2026-11-23/11-000.parquet");
    let whole = fs::read(&path).unwrap();
    for cut in [0, 3, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..cut]).unwrap();
        let archive = Archive::open(folder.path(), limits()).unwrap();
        let status = archive.status();
        assert_eq!(
            (status.events, status.damaged.len()),
            (2, 1),
            "cut at {cut}"
        );
        assert!(status.damaged[0].1.contains("11-000.parquet"));
        assert_eq!(archive.last_seq(), 12);
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(
        Archive::open(folder.path(), limits())
            .unwrap()
            .status()
            .events,
        3
    );
}

#[test]
fn no_damage_to_a_part_goes_unnoticed_and_none_panics() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = Archive::open(folder.path(), limits()).unwrap();
    archive
        .append(1, &[dns(0, "2026-11-23T10:00:00Z", "example.org")])
        .unwrap();
    drop(archive);
    let path = folder.path().join("2026-11-23/10-000.parquet");
    let whole = fs::read(&path).unwrap();
    let all = |path: &Path| -> Result<Vec<String>, ArchiveError> {
        let part = part::Part::open(path)?;
        let mut seen = Vec::new();
        for column in tables::PHYSICAL.iter() {
            let scan = part.column(&column.name)?;
            let mut scan = scan.ok_or_else(|| ArchiveError::damaged(path, "a column is gone"))?;
            seen.push(format!("{:?}", scan.read(1)?));
        }
        seen.push(format!("{:?}", part.meta));
        Ok(seen)
    };
    let right = all(&path).unwrap();
    let hurt = folder.path().join("hurt.parquet");
    // A prime step: every kind of place in the file is met.
    for at in (0..whole.len()).step_by(61) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        fs::write(&hurt, &bytes).unwrap();
        if let Ok(seen) = all(&hurt) {
            // Bytes that mean nothing to what is read.
            assert_eq!(seen, right, "byte {at}");
        }
    }
}

#[test]
fn two_writers_do_not_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let first = Archive::open(folder.path(), limits()).unwrap();
    assert!(matches!(
        Archive::open(folder.path(), limits()),
        Err(ArchiveError::Locked { .. })
    ));
    drop(first);
    assert!(Archive::open(folder.path(), limits()).is_ok());
}

#[test]
fn a_part_of_a_newer_version_is_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = Archive::open(folder.path(), limits()).unwrap();
    archive
        .append(1, &[quirk(0, "2026-11-23T10:00:00Z")])
        .unwrap();
    archive.flush().unwrap();
    let info = archive.parts.values().next().unwrap();
    let mut meta = part::Part::open(&info.path).unwrap().meta;
    meta.format = FORMAT + 1;
    let mut buffer = Buffer::default();
    buffer.push(&quirk(1, "2026-11-23T11:00:00Z"));
    meta.kinds = buffer.layout();
    let name = PartName {
        hour: info.name.hour + 1,
        number: 0,
    };
    write::write(folder.path(), name, &meta, &mut buffer.rows_source()).unwrap();
    drop(archive);
    let archive = Archive::open(folder.path(), limits()).unwrap();
    let status = archive.status();
    assert_eq!(status.events, 1);
    assert!(
        status.damaged[0].1.contains("newer thymus"),
        "{:?}",
        status.damaged
    );
}

#[test]
fn names_of_parts_read_as_they_are_written() {
    let name = PartName {
        hour: 498_802,
        number: 7,
    };
    assert_eq!(PartName::parse(&name.day(), &name.file()), Some(name));
    for (day, file) in [
        ("2026-11-23", "10-7.parquet"),
        ("2026-11-23", "24-000.parquet"),
        ("2026-13-23", "10-000.parquet"),
        ("2026-11-23", "10-000.parquet.new"),
    ] {
        assert_eq!(PartName::parse(day, file), None, "{day}/{file}");
    }
    assert_eq!(EventId::default().to_string(), "0000000000000000-0");
}

/// Events with whatever the wire may say.
fn any_event() -> impl Strategy<Value = Event> {
    let body = prop_oneof![
        (
            any::<String>(),
            any::<u16>(),
            any::<Option<u8>>(),
            prop::collection::vec(any::<String>(), 0..4)
        )
            .prop_map(|(query, qtype, rcode, answers)| {
                let answer = |text: String| DnsAnswer::of_text(16, text.into(), 60);
                EventBody::Dns(Box::new(DnsTransaction {
                    query: query.into(),
                    qtype,
                    rcode,
                    answers: answers.into_iter().map(answer).collect(),
                    ..DnsTransaction::default()
                }))
            }),
        (any::<String>(), any::<String>(), any::<u16>(), any::<u64>()).prop_map(
            |(host, uri, status, response_len)| {
                EventBody::Http(Box::new(HttpTransaction {
                    host: host.into(),
                    uri: uri.into(),
                    status,
                    response_len,
                    ..HttpTransaction::default()
                }))
            }
        ),
        (any::<u64>(), any::<u64>(), any::<Duration>(), any::<bool>()).prop_map(
            |(client_bytes, server_bytes, duration, last)| {
                EventBody::Flow(Box::new(FlowRecord {
                    client_bytes,
                    server_bytes,
                    duration,
                    last,
                    ..FlowRecord::default()
                }))
            }
        ),
        (any::<String>(), any::<u32>()).prop_map(|(user, attempts)| {
            let user = user.into();
            EventBody::Login(Box::new(Login {
                user,
                attempts,
                ..Login::default()
            }))
        }),
        (any::<String>(), any::<u32>()).prop_map(|(path, status)| {
            let path = path.into();
            EventBody::Smb(Box::new(SmbOperation {
                path,
                status,
                ..SmbOperation::default()
            }))
        }),
        prop::collection::vec(any::<String>(), 0..4).prop_map(|to| {
            let to = to.into_iter().map(Into::into).collect();
            EventBody::Mail(Box::new(MailEnvelope {
                to,
                ..MailEnvelope::default()
            }))
        }),
        any::<String>().prop_map(|quirk| {
            EventBody::Quirk(QuirkSeen {
                parser: "dns".into(),
                quirk: quirk.into(),
            })
        }),
    ];
    let ends = (
        any::<std::net::IpAddr>(),
        any::<u16>(),
        any::<std::net::IpAddr>(),
        any::<u16>(),
    );
    let conn = (any::<u64>(), ends, any::<u32>()).prop_map(|(flow, (a, ap, b, bp), scope)| Conn {
        flow: FlowId(flow),
        client: Endpoint::new(a, ap),
        server: Endpoint::new(b, bp),
        transport: Transport::Sctp,
        scope: Scope(scope),
    });
    // Times of all centuries that nanoseconds reach, mostly of two hours.
    let ts = prop_oneof![3 => 1_795_428_000_000_000_000..1_795_435_200_000_000_000_i64, 1 => any::<i64>()];
    (ts, prop::option::of(conn), body).prop_map(|(ts, conn, body)| Event {
        id: EventId::default(),
        ts: Timestamp::from_nanos(ts),
        conn,
        body,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn any_event_comes_back_as_it_was(given in prop::collection::vec(any_event(), 1..60), cut in 0usize..60) {
        let mut given = given;
        for (index, event) in (0..).zip(&mut given) {
            event.id = EventId { input: InputId(7), index };
        }
        let folder = tempfile::tempdir().unwrap();
        let mut archive = Archive::open(folder.path(), limits()).unwrap();
        let (first, second) = given.split_at(cut.min(given.len()));
        archive.append(1, first).unwrap();
        archive.flush().unwrap();
        archive.append(2, second).unwrap();
        archive.flush().unwrap();
        // Hours that are over are merged, so copies of copies are looked at too.
        for _ in 0..8 {
            archive.tick(Timestamp::MAX).unwrap();
        }
        prop_assert_eq!(&events(folder.path()), &given);
        let reader = archive.reader();
        let rows = reader
            .query("SELECT id, query, rcode, client_port FROM dns ORDER BY ts", &QueryLimits::default())
            .unwrap();
        prop_assert_eq!(rows.skipped, Vec::<String>::new());
        for row in rows.rows {
            let event = given.iter().find(|event| event.id.to_string() == row[0]).unwrap();
            let EventBody::Dns(dns) = &event.body else { panic!("of another kind") };
            prop_assert_eq!(row[1].as_str().unwrap_or_default(), dns.query.as_str());
            prop_assert_eq!(row[2].as_u64(), dns.rcode.map(u64::from));
            prop_assert_eq!(row[3].as_u64(), event.conn.map(|conn| u64::from(conn.client.port)));
        }
    }
}

#[test]
fn columns_that_were_made_to_harm_stop_at_the_part() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = Archive::open(folder.path(), limits()).unwrap();
    let given: Vec<Event> = (0..300)
        .map(|i| {
            let name = format!("{}.example", i * 7_919 % 101);
            if i % 5 == 0 {
                quirk(i, "2026-11-23T10:00:01Z")
            } else {
                dns(i, "2026-11-23T10:00:00Z", &name)
            }
        })
        .collect();
    archive.append(1, &given).unwrap();
    drop(archive);
    let whole = fs::read(folder.path().join("2026-11-23/10-000.parquet")).unwrap();
    let footer = whole.len() - 8;
    let columns_end =
        footer - u32::from_le_bytes(whole[footer..footer + 4].try_into().unwrap()) as usize;
    let hurt = folder.path().join("hurt.parquet");
    let columns = [
        "ts",
        "id",
        "json",
        "client_addr",
        "client_port",
        "dns_query",
        "dns_rcode",
        "quirk_quirk",
    ];
    let (mut seed, mut refused, mut read) = (1u64, 0, 0);
    for _ in 0..300 {
        let mut bytes = whole.clone();
        for _ in 0..4 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let at = 4 + (seed >> 33) as usize % (columns_end - 4);
            bytes[at] = (seed >> 25) as u8;
        }
        fs::write(&hurt, &bytes).unwrap();
        let Ok(part) = part::Part::open(&hurt) else {
            continue;
        };
        for name in columns {
            let scan = part.column_unverified(name);
            let rows =
                scan.and_then(|scan| scan.map(|mut scan| scan.read(given.len())).transpose());
            match rows {
                Ok(_) => read += 1,
                Err(error) => {
                    assert!(error.to_string().contains("hurt.parquet"), "{error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(
        refused > 100 && read > 100,
        "{refused} refused, {read} read"
    );
}
