//! Logs that are followed while they are written, in random pieces and through every kind of rotation,
//! give what the same logs give when they are replayed whole.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use thymus_ingest::{Follow, FollowFrom, FollowOptions, Position, Replay, ReplayOptions};
use thymus_schema::{Event, Timestamp};

/// Xorshift64*.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) as usize % bound.max(1)
    }
}

/// One log: the header that each new file of it begins with, and its lines.
struct Text {
    name: &'static str,
    header: String,
    /// When each is written, in seconds, and what it says.
    lines: Vec<(i64, String)>,
}

const START: i64 = 1_714_990_000;

/// The logs of a small site over two hours: Zeek's in both formats, with certificates in a log of their
/// own, Suricata's, and a table of alerts.
fn site() -> Vec<Text> {
    let header = |path: &str, fields: &str| {
        format!("#separator \\x09\n#set_separator\t,\n#path\t{path}\n#fields\t{fields}\n")
    };
    let conn_fields = "ts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tduration";
    let mut conn = Vec::new();
    let mut ssl = Vec::new();
    let mut x509 = Vec::new();
    let mut dns = Vec::new();
    let mut eve = Vec::new();
    let mut table = Vec::new();
    for n in 0..400i64 {
        let ts = START + n * 18;
        let host = n % 7 + 2;
        let span = (n * 37) % 200;
        // Written when the connection ends.
        conn.push((
            ts + span,
            format!(
                "{ts}.{n:06}\tC{n}\t10.0.0.{host}\t{}\t192.0.2.{}\t443\ttcp\t{span}.5",
                40000 + n,
                n % 5 + 1
            ),
        ));
        if n % 4 == 0 {
            let (file, serial) = (format!("F{n}"), n % 12);
            // The handshake may be written before its certificate.
            ssl.push((ts, format!(
                "{ts}.2\tC{n}\t10.0.0.{host}\t{}\t192.0.2.{}\t443\tTLSv13\thost{serial}.example\tT\t{file}",
                40000 + n,
                n % 5 + 1
            )));
            x509.push((
                ts + n % 3,
                format!("{}.5\t{file}\tCN=host{serial}.example\tCN=ca", ts + n % 3),
            ));
        }
        dns.push((ts, format!(
            "{{\"_path\":\"dns\",\"ts\":{ts}.25,\"uid\":\"D{n}\",\"id.orig_h\":\"10.0.0.{host}\",\"id.orig_p\":5353,\"id.resp_h\":\"10.0.0.1\",\"id.resp_p\":53,\"proto\":\"udp\",\"query\":\"name{}.example\",\"qtype_name\":\"A\",\"rcode_name\":\"NOERROR\",\"answers\":[\"192.0.2.{}\"]}}",
            n % 11,
            n % 5 + 1
        )));
        let at = Timestamp::from_secs(ts);
        let pair = format!(
            "\"timestamp\":\"{at}\",\"flow_id\":{n},\"src_ip\":\"10.0.0.{host}\",\"src_port\":{},\"dest_ip\":\"10.0.0.1\",\"dest_port\":53,\"proto\":\"UDP\"",
            50000 + n
        );
        eve.push((ts, format!(
            "{{{pair},\"event_type\":\"dns\",\"dns\":{{\"type\":\"query\",\"id\":{n},\"rrname\":\"eve{n}.example\",\"rrtype\":\"A\"}}}}"
        )));
        // Each third query stays without an answer.
        if n % 3 != 0 {
            eve.push((ts + 1, format!(
                "{{{pair},\"event_type\":\"dns\",\"dns\":{{\"type\":\"answer\",\"id\":{n},\"rrname\":\"eve{n}.example\",\"rrtype\":\"A\",\"rcode\":\"NOERROR\",\"rdata\":\"192.0.2.9\"}}}}"
            )));
        }
        if n % 50 == 7 {
            table.push((ts, format!("{at},tool: odd thing {n},10.0.0.{host}")));
        }
    }
    conn.sort();
    let text = |name, header, lines| Text {
        name,
        header,
        lines,
    };
    vec![
        text("conn.log", header("conn", conn_fields), conn),
        text(
            "ssl.log",
            header(
                "ssl",
                "ts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tversion\tserver_name\testablished\tcert_chain_fuids",
            ),
            ssl,
        ),
        text(
            "x509.log",
            header("x509", "ts\tid\tcertificate.subject\tcertificate.issuer"),
            x509,
        ),
        text("dns.log", String::new(), dns),
        text("eve.json", String::new(), eve),
        text("alerts.csv", "time,name,host\n".to_owned(), table),
    ]
}

/// Events without their ids, in order of time and then of content.
fn told(events: &[Event], what: &str) -> Vec<String> {
    for pair in events.windows(2) {
        let (a, b) = (&pair[0], &pair[1]);
        assert!(
            a.ts <= b.ts,
            "{what}: {} {} before {} {}",
            a.id,
            a.ts,
            b.id,
            b.ts
        );
    }
    let mut lines: Vec<(i64, String)> = events
        .iter()
        .map(|event| {
            let text = serde_json::to_string(&(&event.conn, &event.body)).unwrap();
            (event.ts.as_nanos(), text)
        })
        .collect();
    lines.sort();
    lines
        .into_iter()
        .map(|(ts, text)| format!("{ts} {text}"))
        .collect()
}

fn replayed(texts: &[Text]) -> Vec<Event> {
    let folder = tempfile::tempdir().unwrap();
    for text in texts {
        let mut whole = text.header.clone();
        for (_, line) in &text.lines {
            writeln!(whole, "{line}").unwrap();
        }
        fs::write(folder.path().join(text.name), whole).unwrap();
    }
    let paths = [folder.path().to_path_buf()];
    let mut replay = Replay::open(&paths, ReplayOptions::default()).unwrap();
    let mut events = Vec::new();
    while replay.next_batch(&mut events).unwrap() {}
    events
}

/// How a log is put aside.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rotation {
    /// Renamed; the writer ends its line in the old file.
    Rename,
    /// Renamed and compressed.
    Gzip,
    /// Copied and cut.
    CopyTruncate,
    /// Copied, compressed and cut.
    CopyGzip,
    /// Renamed into a folder of archives by its time, as Zeek does.
    Archive,
}

const ROTATIONS: [Rotation; 5] = [
    Rotation::Rename,
    Rotation::Gzip,
    Rotation::CopyTruncate,
    Rotation::CopyGzip,
    Rotation::Archive,
];

/// Writes a log as its program does: with one descriptor, in any pieces.
struct Writer {
    folder: PathBuf,
    name: &'static str,
    header: String,
    /// What is still to be written, and how far the line at hand is.
    bytes: Vec<u8>,
    at: usize,
    /// Where lines end and when they are written, the next one last.
    due: Vec<(usize, i64)>,
    file: File,
    /// The name was taken away: the next line begins a new file.
    reopen: bool,
    rotations: usize,
}

impl Writer {
    fn new(folder: &Path, text: &Text) -> Self {
        let mut bytes = text.header.clone().into_bytes();
        let mut due = vec![(bytes.len(), START)];
        for (at, line) in &text.lines {
            writeln!(bytes, "{line}").unwrap();
            due.push((bytes.len(), *at));
        }
        due.reverse();
        Self {
            folder: folder.to_path_buf(),
            name: text.name,
            header: text.header.clone(),
            bytes,
            at: 0,
            due,
            file: open(&folder.join(text.name)),
            reopen: false,
            rotations: 0,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(self.name)
    }

    fn moved(&mut self) {
        while self.due.last().is_some_and(|(end, _)| *end <= self.at) {
            self.due.pop();
        }
    }

    fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn write(&mut self, len: usize) {
        let mut len = len;
        let now = self.due.last().unwrap().1;
        while len > 0 {
            // Not the lines of the next minutes.
            if self.due.last().is_none_or(|(_, at)| *at > now + 40) {
                return;
            }
            let starts = self.at == 0 || self.bytes[self.at - 1] == b'\n';
            if starts && self.reopen {
                self.reopen = false;
                self.file = open(&self.path());
                self.file.write_all(self.header.as_bytes()).unwrap();
            }
            let rest = &self.bytes[self.at..];
            let line = rest.iter().position(|b| *b == b'\n').unwrap() + 1;
            let piece = line.min(len);
            self.file.write_all(&rest[..piece]).unwrap();
            self.at += piece;
            self.moved();
            len -= piece;
        }
    }

    fn rotate(&mut self, rotation: Rotation, between: &mut dyn FnMut()) {
        // The header stands alone in no file that is put aside.
        if self.reopen || self.at < self.header.len() + 200 {
            return;
        }
        self.rotations += 1;
        let old = self
            .folder
            .join(format!("{}.{}", self.name, self.rotations));
        match rotation {
            Rotation::Rename => {
                fs::rename(self.path(), &old).unwrap();
                self.reopen = true;
            }
            Rotation::Gzip => {
                // logrotate compresses when the writer has let go of the file.
                self.end_line();
                fs::rename(self.path(), &old).unwrap();
                self.reopen = true;
                between();
                gzip(&old);
            }
            Rotation::CopyTruncate | Rotation::CopyGzip => {
                fs::copy(self.path(), &old).unwrap();
                between();
                self.file.set_len(0).unwrap();
                between();
                if rotation == Rotation::CopyGzip {
                    gzip(&old);
                }
            }
            Rotation::Archive => {
                let (stem, ending) = self.name.split_once('.').unwrap();
                let day = self.folder.join("2024-05-06");
                fs::create_dir_all(&day).unwrap();
                let name = format!("{stem}.{:02}:00:00.{ending}", self.rotations);
                fs::rename(self.path(), day.join(name)).unwrap();
                self.reopen = true;
            }
        }
    }

    fn end_line(&mut self) {
        while self.at > 0 && self.bytes[self.at - 1] != b'\n' {
            self.file.write_all(&self.bytes[self.at..=self.at]).unwrap();
            self.at += 1;
        }
        self.moved();
    }
}

fn open(path: &Path) -> File {
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap()
}

fn gzip(path: &Path) {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&fs::read(path).unwrap()).unwrap();
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    fs::write(PathBuf::from(name), encoder.finish().unwrap()).unwrap();
    fs::remove_file(path).unwrap();
}

/// Follows while `texts` are written; with `kills`, the follower dies now and then, and what it handed
/// out since its position was saved is forgotten with it.
fn followed(
    texts: &[Text],
    seed: u64,
    rotations: &[Rotation],
    kills: bool,
) -> (Vec<Event>, Follow) {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let saved = folder.path().join("position");
    let mut dice = Dice(seed);
    let mut writers: Vec<Writer> = texts.iter().map(|text| Writer::new(&logs, text)).collect();
    let paths = [logs.clone()];
    let mut follow = Follow::open(&paths, FollowOptions::default(), None).unwrap();
    follow.position().save(&saved).unwrap();
    let mut events: Vec<Event> = Vec::new();
    let mut kept = 0;
    // Lines are written about when they were made.
    while let Some(slowest) = slowest(&writers) {
        let writer = &mut writers[slowest];
        writer.write(1 + dice.below(400));
        let mut lookers = [dice.below(3), dice.below(3), dice.below(3)].into_iter();
        if dice.below(60) == 0 && !rotations.is_empty() {
            let rotation = rotations[dice.below(rotations.len())];
            writer.rotate(rotation, &mut || {
                if lookers.next() == Some(0) {
                    follow.poll(&mut events);
                }
            });
        }
        if dice.below(5) == 0 {
            follow.poll(&mut events);
        }
        if kills && dice.below(40) == 0 {
            follow.position().save(&saved).unwrap();
            kept = events.len();
        }
        if kills && dice.below(60) == 0 {
            events.truncate(kept);
            let (position, problem) = Position::load(&saved).unwrap().unwrap();
            assert_eq!(problem, None);
            follow = Follow::open(&paths, FollowOptions::default(), Some(position)).unwrap();
        }
    }
    follow.finish(&mut events);
    (events, follow)
}

fn slowest(writers: &[Writer]) -> Option<usize> {
    let left = writers.iter().enumerate().filter(|(_, w)| !w.is_done());
    left.min_by_key(|(_, writer)| writer.due.last().unwrap().1)
        .map(|(number, _)| number)
}

fn same(events: &[Event], wanted: &[String], what: &str) {
    let got = told(events, what);
    let missing: Vec<_> = wanted.iter().filter(|line| !got.contains(line)).collect();
    let surplus: Vec<_> = got.iter().filter(|line| !wanted.contains(line)).collect();
    assert!(
        got == wanted,
        "{what}: {} for {}; missing {:#?}; surplus {:#?}",
        got.len(),
        wanted.len(),
        &missing[..missing.len().min(4)],
        &surplus[..surplus.len().min(4)]
    );
}

#[test]
fn what_is_followed_is_what_is_replayed() {
    let texts = site();
    let wanted = told(&replayed(&texts), "replayed");
    assert!(wanted.len() > 1_200);
    for seed in 1..4 {
        let (events, follow) = followed(&texts, seed, &[], false);
        same(&events, &wanted, &format!("no rotation, seed {seed}"));
        assert_eq!(follow.counters().rotations, 0);
        let mut ids: Vec<_> = events.iter().map(|event| event.id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), events.len(), "ids are unique");
    }
    for rotation in ROTATIONS {
        for seed in 11..14 {
            let (events, follow) = followed(&texts, seed, &[rotation], false);
            same(&events, &wanted, &format!("{rotation:?}, seed {seed}"));
            let counters = follow.counters();
            assert!(counters.rotations + counters.cuts > 0, "{counters:?}");
            assert_eq!(
                (counters.bad, counters.lost_bytes, counters.lost_lines),
                (0, 0, 0),
                "{rotation:?}, seed {seed}"
            );
        }
    }
    for seed in 21..25 {
        let (events, _) = followed(&texts, seed, &ROTATIONS, false);
        same(&events, &wanted, &format!("all rotations, seed {seed}"));
    }
}

#[test]
fn a_killed_follower_goes_on_where_it_stopped() {
    let texts = site();
    let wanted = told(&replayed(&texts), "replayed");
    for seed in 31..35 {
        let (events, _) = followed(&texts, seed, &[], true);
        same(&events, &wanted, &format!("no rotation, seed {seed}"));
    }
    for seed in 41..47 {
        let (events, _) = followed(&texts, seed, &ROTATIONS, true);
        same(&events, &wanted, &format!("all rotations, seed {seed}"));
    }
}

/// A follower of one folder, and the folder.
fn alone(options: FollowOptions) -> (tempfile::TempDir, Follow) {
    let folder = tempfile::tempdir().unwrap();
    let follow = Follow::open(&[folder.path().to_path_buf()], options, None).unwrap();
    (folder, follow)
}

fn record(n: i64) -> String {
    let at = Timestamp::from_secs(START + n);
    format!(
        "{{\"timestamp\":\"{at}\",\"event_type\":\"alert\",\"src_ip\":\"10.0.0.2\",\"dest_ip\":\"10.0.0.3\",\"proto\":\"TCP\",\"alert\":{{\"signature\":\"odd {n}\"}}}}\n"
    )
}

fn append(path: &Path, text: &str) {
    open(path).write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_line_is_read_when_its_end_is_there() {
    let (folder, mut follow) = alone(FollowOptions::default());
    let path = folder.path().join("eve.json");
    let (line, next, mut out) = (record(0), record(1), Vec::new());
    let (first, rest) = line.split_at(20);
    append(&path, first);
    follow.poll(&mut out);
    assert_eq!(follow.counters().lines, 0);
    append(&path, rest);
    append(&path, next.split_at(50).0);
    follow.poll(&mut out);
    assert_eq!((follow.counters().lines, follow.counters().bad), (1, 0));
    assert_eq!(follow.held(), 1, "a window later it is handed out");
    follow.advance(Timestamp::from_secs(START + 301));
    follow.poll(&mut out);
    assert_eq!((out.len(), follow.held()), (1, 0));
}

#[test]
fn what_is_cut_without_a_copy_is_counted_as_lost() {
    let (folder, mut follow) = alone(FollowOptions::default());
    let path = folder.path().join("eve.json");
    let mut out = Vec::new();
    append(&path, &record(0));
    append(&path, record(1).split_at(30).0);
    follow.poll(&mut out);
    fs::write(&path, record(2)).unwrap();
    follow.poll(&mut out);
    follow.finish(&mut out);
    let counters = follow.counters();
    assert_eq!((counters.cuts, counters.lost_lines), (1, 1), "{counters:?}");
    assert_eq!(out.len(), 2);
    assert_eq!(follow.coverage().dropped.get("lines_lost"), Some(&1));
}

#[test]
fn files_may_come_later_and_may_be_no_logs() {
    let folder = tempfile::tempdir().unwrap();
    let (late, single) = (folder.path().join("late"), folder.path().join("one.json"));
    let paths = [late.clone(), single.clone()];
    let mut follow = Follow::open(&paths, FollowOptions::default(), None).unwrap();
    let mut out = Vec::new();
    assert!(!follow.poll(&mut out));
    assert_eq!(follow.problems().count(), 2);
    fs::create_dir_all(late.join("deeper")).unwrap();
    fs::write(late.join("deeper/notes.txt"), "dear diary\n").unwrap();
    append(&late.join("deeper/eve.json"), &record(0));
    append(&single, &record(1));
    follow.finish(&mut out);
    assert_eq!(out.len(), 2);
    let problems: Vec<_> = follow.problems().collect();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].0.ends_with("notes.txt"));
    assert!(Follow::open(&[], FollowOptions::default(), None).is_err());
}

#[test]
fn from_the_end_only_what_is_new_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("conn.log");
    let conn = &site()[0];
    let (old, new) = (&conn.lines[0].1, &conn.lines[1].1);
    fs::write(&path, format!("{}{old}\n", conn.header)).unwrap();
    let options = FollowOptions {
        from: FollowFrom::End,
        ..FollowOptions::default()
    };
    let mut follow = Follow::open(&[folder.path().to_path_buf()], options, None).unwrap();
    let mut out = Vec::new();
    follow.poll(&mut out);
    append(&path, &format!("{new}\n"));
    follow.finish(&mut out);
    assert_eq!((out.len(), follow.counters().bad), (1, 0));
}

#[test]
fn one_record_with_a_wrong_clock_disturbs_nothing() {
    let (folder, mut follow) = alone(FollowOptions::default());
    let path = folder.path().join("eve.json");
    let mut out = Vec::new();
    append(&path, &record(0));
    append(&path, &record(90_000_000));
    append(&path, &record(20));
    append(&path, &record(10));
    follow.finish(&mut out);
    let times: Vec<i64> = out.iter().map(|event| event.ts.as_secs() - START).collect();
    assert_eq!(times, [90_000_000, 0, 10, 20]);
    let dropped = follow.coverage().dropped;
    assert_eq!(dropped.get("record_far_ahead"), Some(&1));
    assert_eq!(dropped.get("late_record"), None);
}

#[test]
fn a_damaged_position_gives_way_to_the_one_before() {
    let (folder, mut follow) = alone(FollowOptions::default());
    append(&folder.path().join("eve.json"), &record(0));
    follow.poll(&mut Vec::new());
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("position");
    assert!(Position::load(&path).unwrap().is_none());
    let first = follow.position();
    first.save(&path).unwrap();
    append(&folder.path().join("eve.json"), &record(1));
    follow.poll(&mut Vec::new());
    follow.position().save(&path).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (position, problem) = Position::load(&path).unwrap().unwrap();
    assert!(position == first && problem.unwrap().contains("damaged"));
    fs::remove_file(place.path().join("position.previous")).unwrap();
    assert!(Position::load(&path).is_err());
}

#[test]
fn a_write_ends_the_wait() {
    let (folder, mut follow) = alone(FollowOptions::default());
    follow.poll(&mut Vec::new());
    if !follow.is_told_of_changes() {
        return;
    }
    append(&folder.path().join("eve.json"), &record(0));
    // Without word from the kernel this would outlast any patience.
    follow.wait(std::time::Duration::from_hours(1));
    follow.poll(&mut Vec::new());
    assert_eq!(follow.counters().lines, 1);
}

#[test]
fn memory_is_bounded_by_what_is_held() {
    let mut options = FollowOptions::default();
    options.limits.held_max = 10;
    options.limits.open_max = 1;
    options.limits.poll_bytes_max = 1;
    let (folder, mut follow) = alone(options);
    for n in 0..40 {
        let name = format!("sensor{}-eve.json", n % 4);
        append(&folder.path().join(name), &record(n));
    }
    let mut out = Vec::new();
    while follow.poll(&mut out) {
        assert!(follow.held() <= 10);
    }
    assert_eq!(follow.logs().len(), 4);
    assert!(follow.logs().iter().all(|log| log.unread_bytes == 0));
    follow.finish(&mut out);
    assert_eq!(out.len(), 40);
    assert!(follow.coverage().dropped.contains_key("window_full"));
}
