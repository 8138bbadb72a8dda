//! Files that syslog writes (`auth.log`, `secure`, `messages`, `syslog`): attempts to log in and leases.
//! Everything else is counted and left out.
//!
//! The oldest format has neither year nor zone: its times are taken for UTC, and the year is the latest that
//! lets no line be later than the file was written.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde_json::Value;
use thymus_parsers::syslog::{Account, Message, Stamp, Verdict, account, lease, message};
use thymus_schema::{
    Conn, DhcpMessage, Endpoint, EventBody, FlowId, Login, Outcome, Scope, Service, Timestamp,
    Transport,
};

use crate::input::Input;
use crate::local::Evidence;
use crate::logs::{Decoded, Decoder, LogSource, Records};
use crate::source::{Head, Lane, Sniffed, SourceCx, SourceSpec};

/// Files of syslog.
pub(crate) const SPEC: SourceSpec = SourceSpec {
    id: "syslog",
    title: "Syslog files: attempts to log in, leases",
    sniff,
    look,
    open,
};

/// Lines by which a file is known: all must be of syslog.
const SNIFF_LINES: usize = 8;
/// A line may be later than its file was written, by what zones can make of it.
const AHEAD_MAX_SECS: i64 = 86_400;

/// What is known of a message beside its words.
pub(crate) struct SyslogCx {
    /// When.
    pub(crate) ts: Timestamp,
    /// Which address the host has that wrote it.
    pub(crate) host: IpAddr,
}

/// Puts what a message says into `records`.
pub(crate) fn read(message: &Message<'_>, cx: &SyslogCx, records: &mut Records) -> Decoded {
    if let Some(account) = account(message.program, message.text) {
        records.emit(
            cx.ts,
            conn(&account, cx),
            EventBody::Login(Box::new(login(&account))),
        );
        return Decoded::Used;
    }
    if let Some(lease) = lease(message.program, message.text)
        && let Ok(mac) = lease.mac.parse()
    {
        let conn = Conn {
            flow: FlowId::default(),
            client: Endpoint::new(lease.addr, 68),
            server: Endpoint::new(cx.host, 67),
            transport: Transport::Udp,
            scope: Scope::NONE,
        };
        let dhcp = DhcpMessage {
            message: "ack".into(),
            mac,
            hostname: lease.host.into(),
            assigned: Some(lease.addr),
            ..DhcpMessage::default()
        };
        records.emit(cx.ts, Some(conn), EventBody::Dhcp(Box::new(dhcp)));
        return Decoded::Used;
    }
    records.reach(cx.ts);
    Decoded::Unused("syslog_not_used")
}

fn login(account: &Account<'_>) -> Login {
    let cut = |text: &str| -> Box<str> {
        let end = text.floor_char_boundary(256);
        let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        text.get(..end)
            .unwrap_or_default()
            .chars()
            .map(clean)
            .collect::<String>()
            .into()
    };
    let service = service(account.service);
    Login {
        service: service.map(|(service, _)| service),
        user: cut(account.user),
        domain: Box::default(),
        outcome: match account.verdict {
            Verdict::Accepted => Outcome::Success,
            Verdict::Refused => Outcome::Failure,
        },
        // What is no protocol is the way in itself: sudo, su, login.
        method: if service.is_some() {
            account.method.into()
        } else {
            cut(account.service)
        },
        client: cut(account.by),
        attempts: account.attempts,
    }
}

/// The protocol, and the port it usually has.
fn service(name: &str) -> Option<(Service, u16)> {
    Some(match name {
        "ssh" | "sshd" => (Service::Ssh, 22),
        "imap" => (Service::Imap, 143),
        "pop3" => (Service::Pop3, 110),
        "smtp" => (Service::Smtp, 25),
        "ftp" | "vsftpd" | "proftpd" | "pure-ftpd" => (Service::Ftp, 21),
        "smb" | "samba" => (Service::Smb, 445),
        "xrdp-sesman" => (Service::Rdp, 3389),
        _ => return None,
    })
}

/// Between whom, where the attempt came over the network.
fn conn(account: &Account<'_>, cx: &SyslogCx) -> Option<Conn> {
    let (addr, port) = account.from?;
    let server_port = service(account.service).map_or(0, |(_, port)| port);
    Some(Conn {
        flow: FlowId::default(),
        client: Endpoint::new(addr, port),
        server: Endpoint::new(account.at.unwrap_or(cx.host), server_port),
        transport: Transport::Tcp,
        scope: Scope::NONE,
    })
}

/// Reads lines of a file.
struct SyslogDecoder {
    /// No line is much later; moves on with the lines.
    newest: Timestamp,
}

impl Decoder for SyslogDecoder {
    fn line(&mut self, line: &[u8], records: &mut Records) -> Decoded {
        if line.trim_ascii().is_empty() {
            return Decoded::Nothing;
        }
        let Some(message) = message(line) else {
            return Decoded::Broken("line_is_not_text");
        };
        let Some(ts) = self.time(message.stamp) else {
            return Decoded::Broken("record_without_time");
        };
        self.newest = self.newest.max(ts);
        // A file does not say which address its host has, unless it calls the host by it.
        let host = message
            .host
            .parse()
            .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        read(&message, &SyslogCx { ts, host }, records)
    }

    fn keep(&self) -> Value {
        self.newest.as_nanos().into()
    }

    fn restore(&mut self, kept: &Value) {
        if let Some(nanos) = kept.as_i64() {
            self.newest = Timestamp::from_nanos(nanos);
        }
    }
}

impl SyslogDecoder {
    fn time(&self, stamp: Stamp<'_>) -> Option<Timestamp> {
        match stamp {
            Stamp::None => None,
            Stamp::Full(text) => Timestamp::parse(text),
            Stamp::Local { month, day, time } => {
                let [hour, minute, second] = time;
                let limit =
                    Timestamp::from_secs(self.newest.as_secs().saturating_add(AHEAD_MAX_SECS));
                let year = year_of(limit);
                // The day before last of February is there once in four years.
                (year - 4..=year).rev().find_map(|year| {
                    let second = second.min(59);
                    let text =
                        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z");
                    Timestamp::parse(&text).filter(|ts| *ts <= limit)
                })
            }
        }
    }
}

fn year_of(ts: Timestamp) -> i32 {
    let text = ts.to_string();
    text.split('-')
        .next()
        .and_then(|year| year.parse().ok())
        .unwrap_or(1970)
}

/// When a file was last written; the start of 1970 when that cannot be told.
fn written(path: &Path) -> Timestamp {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    let since = modified
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Timestamp::from_secs(since.map_or(0, |since| since.as_secs() as i64))
}

fn sniff(head: &Head<'_>) -> Option<Sniffed> {
    let decoder = SyslogDecoder {
        newest: written(head.path),
    };
    let mut first = None;
    let lines = head.bytes.split(|byte| *byte == b'\n');
    // The head may end in the middle of a line.
    for line in lines.filter(|line| line.len() > 16).take(SNIFF_LINES) {
        let message = message(line).filter(|message| !message.program.is_empty())?;
        let ts = decoder.time(message.stamp)?;
        first.get_or_insert(ts);
    }
    first.map(|first| Sniffed {
        format: "syslog".to_owned(),
        first: Some(first),
    })
}

/// Who tries to log in says nothing of who is local.
fn look(_input: &Input, _evidence: &mut Evidence) {}

fn open(inputs: Vec<Input>, _cx: &SourceCx) -> Vec<Lane> {
    LogSource::lanes(inputs, |input| decoder(&input.path))
}

/// Reads lines of the file at `path`.
pub(crate) fn decoder(path: &Path) -> Box<dyn Decoder> {
    Box::new(SyslogDecoder {
        newest: written(path),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_that_is_not_told_is_the_latest_that_can_be() {
        let january = Timestamp::parse("2024-01-03T00:00:00Z").unwrap();
        let mut decoder = SyslogDecoder { newest: january };
        let mut records = Records::default();
        let mut time_of = |line: &str| {
            decoder.line(line.as_bytes(), &mut records);
            records.take().next().unwrap().ts.to_string()
        };
        let line = |time: &str| {
            format!("{time} gate sshd[1]: Accepted password for a from 10.0.0.5 port 9 ssh2")
        };
        assert_eq!(time_of(&line("Dec 31 23:59:58")), "2023-12-31T23:59:58Z");
        assert_eq!(time_of(&line("Jan  2 00:00:01")), "2024-01-02T00:00:01Z");
        // The log goes on over years.
        decoder = SyslogDecoder {
            newest: Timestamp::parse("2024-12-31T23:59:58Z").unwrap(),
        };
        let mut time_of = |line: &str| {
            decoder.line(line.as_bytes(), &mut records);
            records.take().next().unwrap().ts.to_string()
        };
        assert_eq!(time_of(&line("Jan  1 00:00:03")), "2025-01-01T00:00:03Z");
        assert_eq!(time_of(&line("Feb 29 00:00:03")), "2024-02-29T00:00:03Z");
    }

    #[test]
    fn a_file_is_known_by_its_lines_and_other_text_is_not() {
        let sniffed = |text: &str| {
            let head = Head {
                path: Path::new("no such file"),
                bytes: text.as_bytes(),
            };
            sniff(&head)
        };
        let line = "2024-05-06T10:00:00Z gate sshd[1]: Server listening\n";
        assert_eq!(
            sniffed(line).unwrap().first,
            Timestamp::parse("2024-05-06T10:00:00Z")
        );
        assert_eq!(sniffed(&format!("{line}some other line of text\n")), None);
        assert_eq!(
            sniffed("2024-05-06T10:00:00Z something happened here\n"),
            None
        );
        assert_eq!(sniffed(""), None);
    }
}
