//! Zeek's logs. Each log has one mapping in [`LOGS`]; logs without one are counted and left out.
//!
//! Certificates stand in a log of their own: see [`certificates`].

mod certificates;
mod conn;
mod discovery;
mod industrial;
mod login;
mod notes;
mod tls;
mod transfer;
mod web;
mod windows;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use thymus_parsers::zeek::{ZeekField as F, ZeekJson, ZeekLine, ZeekRow, ZeekTsv};
use thymus_schema::{Conn, Endpoint, FlowId, LocalNetworks, Scope, Timestamp, Transport};

use crate::input::Input;
use crate::local::Evidence;
use crate::logs::lines::{Line, Lines};
use crate::logs::{Decoded, Decoder, LogSource, Records};
use crate::source::{Head, Lane, Sniffed, SourceCx, SourceSpec};
pub(crate) use certificates::Certificates;

/// Zeek's logs.
pub(crate) const SPEC: SourceSpec = SourceSpec {
    id: "zeek",
    title: "Zeek logs, tab-separated or JSON, rotated and compressed",
    sniff,
    look,
    open,
};

/// Makes events of one record.
type Mapping = fn(&ZeekRow<'_>, &mut ZeekCx<'_>) -> Decoded;

/// The logs that are read, in alphabetical order.
const LOGS: &[(&str, Mapping)] = &[
    ("conn", conn::conn),
    ("dce_rpc", windows::dce_rpc),
    ("dhcp", discovery::dhcp),
    ("dnp3", industrial::dnp3),
    ("dns", discovery::dns),
    ("files", transfer::files),
    ("ftp", transfer::ftp),
    ("http", web::http),
    ("kerberos", windows::kerberos),
    ("ldap", login::ldap),
    ("ldap_search", login::ldap_search),
    ("modbus", industrial::modbus),
    ("mqtt_connect", login::mqtt_connect),
    ("mqtt_publish", transfer::mqtt_publish),
    ("mysql", login::mysql),
    ("notice", notes::notice),
    ("ntlm", windows::ntlm),
    ("ntp", discovery::ntp),
    ("postgresql", login::postgresql),
    ("quic", tls::quic),
    ("rdp", login::rdp),
    ("smb_cmd", windows::smb_cmd),
    ("smb_files", windows::smb_files),
    ("smb_mapping", windows::smb_mapping),
    ("smtp", transfer::smtp),
    ("snmp", discovery::snmp),
    ("socks", login::socks),
    ("ssh", login::ssh),
    ("ssl", tls::ssl),
    ("tunnel", notes::tunnel),
    ("weird", notes::weird),
    ("x509", tls::x509),
];

/// Records of the first logs that are looked at to find the local networks.
const LOOK_RECORDS_MAX: usize = 20_000;

/// Most bytes kept of a header.
const HEADER_BYTES_MAX: usize = 64 * 1024;

/// What a mapping may know and where it puts its events.
pub(crate) struct ZeekCx<'a> {
    pub(crate) local: &'a LocalNetworks,
    certificates: &'a Mutex<Certificates>,
    pub(crate) records: &'a mut Records,
}

impl ZeekCx<'_> {
    /// Emits an event at the record's own time.
    fn emit(&mut self, row: &ZeekRow<'_>, body: thymus_schema::EventBody) -> Decoded {
        self.emit_after(row, Duration::ZERO, body)
    }

    /// Emits an event some time after the record's own time.
    fn emit_after(
        &mut self,
        row: &ZeekRow<'_>,
        after: Duration,
        body: thymus_schema::EventBody,
    ) -> Decoded {
        self.emit_between(row, conn_of(row), after, body)
    }

    /// The same for a record that names its parties in its own way.
    fn emit_between(
        &mut self,
        row: &ZeekRow<'_>,
        conn: Option<Conn>,
        after: Duration,
        body: thymus_schema::EventBody,
    ) -> Decoded {
        let Some(ts) = time(row, F::Ts) else {
            return Decoded::Broken("record_without_time");
        };
        self.records.emit(ts.plus(after), conn, body);
        Decoded::Used
    }
}

/// A time field, in seconds since the epoch or as RFC 3339 text.
fn time(row: &ZeekRow<'_>, field: F) -> Option<Timestamp> {
    if let Some(nanos) = row.nanos(field) {
        return Some(Timestamp::from_nanos(nanos));
    }
    Timestamp::parse(&row.text(field))
}

/// An interval field.
fn span(row: &ZeekRow<'_>, field: F) -> Duration {
    let nanos = row.nanos(field).and_then(|nanos| u64::try_from(nanos).ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// A text field.
fn text(row: &ZeekRow<'_>, field: F) -> Box<str> {
    row.text(field).into()
}

/// Between whom the record is; `None` where the log names no conversation.
fn conn_of(row: &ZeekRow<'_>) -> Option<Conn> {
    let client = endpoint(row.addr(F::OrigH)?, row.u16(F::OrigP));
    let server = endpoint(row.addr(F::RespH)?, row.u16(F::RespP));
    let transport = match row.raw(F::Proto) {
        Some(b"udp") => Transport::Udp,
        Some(b"icmp") => Transport::Icmp,
        Some(b"sctp") => Transport::Sctp,
        Some(b"tcp") | None => Transport::Tcp,
        Some(_) => Transport::Other,
    };
    // Only the connection log can name VLANs, and a device must be one entity over all logs.
    let scope = Scope::NONE;
    Some(Conn {
        flow: flow_of(row),
        client,
        server,
        transport,
        scope,
    })
}

/// The conversation of a DHCP exchange: newer versions name no ports, and the client only where it has
/// an address.
fn dhcp_conn_of(row: &ZeekRow<'_>) -> Option<Conn> {
    conn_of(row).or_else(|| {
        Some(Conn {
            flow: FlowId::default(),
            client: endpoint(row.addr(F::ClientAddr)?, Some(68)),
            server: endpoint(row.addr(F::ServerAddr)?, Some(67)),
            transport: Transport::Udp,
            scope: Scope::NONE,
        })
    })
}

fn endpoint(addr: IpAddr, port: Option<u16>) -> Endpoint {
    Endpoint::new(addr, port.unwrap_or(0))
}

fn flow_of(row: &ZeekRow<'_>) -> FlowId {
    row.raw(F::Uid).map(flow_id).unwrap_or_default()
}

/// The flow with Zeek's `uid`.
fn flow_id(uid: &[u8]) -> FlowId {
    FlowId::digest(&[b"zeek", uid])
}

/// Reads lines of either format.
struct ZeekDecoder {
    /// The log's name by its header or file name.
    log: String,
    mapping: Option<Mapping>,
    json: bool,
    tsv: ZeekTsv,
    /// The header of a tab-separated log, kept so that reading can go on behind it.
    header: Vec<u8>,
    objects: ZeekJson,
    local: LocalNetworks,
    certificates: Arc<Mutex<Certificates>>,
}

impl Decoder for ZeekDecoder {
    fn line(&mut self, line: &[u8], records: &mut Records) -> Decoded {
        let mut cx = ZeekCx {
            local: &self.local,
            certificates: &self.certificates,
            records,
        };
        if self.json {
            if line.trim_ascii().is_empty() {
                return Decoded::Nothing;
            }
            let Some(object) = self.objects.line(line) else {
                return Decoded::Broken("line_is_not_json");
            };
            let mapping = match object.path() {
                "" => self.mapping,
                path if path == self.log => self.mapping,
                path => mapping_of(path),
            };
            return mapping.map_or(Decoded::Unused("log_not_used"), |map| {
                map(&object.row(), &mut cx)
            });
        }
        match self.tsv.line(line) {
            ZeekLine::Directive => {
                self.keep_header(line);
                if line.starts_with(b"#path") {
                    self.tsv.path().clone_into(&mut self.log);
                    self.mapping = mapping_of(&self.log);
                }
                Decoded::Nothing
            }
            ZeekLine::Misfit => Decoded::Broken("line_does_not_fit_its_header"),
            ZeekLine::Row(row) => self
                .mapping
                .map_or(Decoded::Unused("log_not_used"), |map| map(&row, &mut cx)),
        }
    }

    fn keep(&self) -> Value {
        String::from_utf8_lossy(&self.header).into()
    }

    fn restore(&mut self, kept: &Value) {
        let mut nothing = Records::default();
        for line in kept.as_str().unwrap_or_default().lines() {
            self.line(line.as_bytes(), &mut nothing);
        }
    }
}

impl ZeekDecoder {
    fn keep_header(&mut self, line: &[u8]) {
        if line.starts_with(b"#separator") {
            self.header.clear();
        }
        let fits = self.header.len() + line.len() < HEADER_BYTES_MAX;
        if fits && !line.is_empty() && !line.starts_with(b"#close") {
            self.header.extend_from_slice(line);
            self.header.push(b'\n');
        }
    }
}

fn mapping_of(log: &str) -> Option<Mapping> {
    // A cluster writes the stream's name in front of some paths.
    LOGS.iter()
        .find(|(name, _)| *name == log)
        .map(|(_, mapping)| *mapping)
}

fn sniff(head: &Head<'_>) -> Option<Sniffed> {
    let mut tsv = ZeekTsv::default();
    let mut is_tsv = false;
    let mut first = None;
    for line in head.bytes.split(|byte| *byte == b'\n').take(64) {
        is_tsv |= line.starts_with(b"#separator") || line.starts_with(b"#fields\t");
        if let ZeekLine::Row(row) = tsv.line(line) {
            first = time(&row, F::Ts);
            break;
        }
    }
    if is_tsv {
        let log = if tsv.path().is_empty() {
            name_of(head)
        } else {
            tsv.path().to_owned()
        };
        return Some(Sniffed { format: log, first });
    }
    let line = head
        .bytes
        .split(|byte| *byte == b'\n')
        .find(|line| !line.trim_ascii().is_empty())?;
    let object = ZeekJson::default().line(line)?;
    let row = object.row();
    let first = time(&row, F::Ts)?;
    let is_zeek = !object.path().is_empty()
        || row.has(F::Uid)
        || row.has(F::Fuid)
        || mapping_of(&name_of(head)).is_some();
    if !is_zeek {
        return None;
    }
    let log = if object.path().is_empty() {
        log_by_fields(&row, head)
    } else {
        object.path().to_owned()
    };
    Some(Sniffed {
        format: format!("{log} json"),
        first: Some(first),
    })
}

/// The log a file name speaks of: `conn` of `conn.00:00:00-01:00:00.log.gz`.
fn name_of(head: &Head<'_>) -> String {
    let name = head
        .path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_default().to_ascii_lowercase();
    let stem = name.split(['.', '-']).next().unwrap_or_default();
    // Prefixes such as a sensor's name are common: `sensor1_conn.log`.
    if mapping_of(stem).is_some() {
        return stem.to_owned();
    }
    let tail = LOGS.iter().map(|(log, _)| *log).filter(|log| {
        stem.strip_suffix(log)
            .is_some_and(|before| before.ends_with('_') && !before.starts_with("open"))
    });
    tail.max_by_key(|log| log.len()).unwrap_or(stem).to_owned()
}

/// The log a JSON record belongs to when neither the record nor the file name says so.
fn log_by_fields(row: &ZeekRow<'_>, head: &Head<'_>) -> String {
    let name = name_of(head);
    if mapping_of(&name).is_some() || name.starts_with("open_") {
        return name;
    }
    let telling = [
        (F::ConnState, "conn"),
        (F::Qtype, "dns"),
        (F::UserAgent, "http"),
        (F::StatusCode, "http"),
        (F::CertChainFuids, "ssl"),
        (F::CertChainFps, "ssl"),
        (F::SubjectCert, "x509"),
        (F::SeenBytes, "files"),
        (F::AuthAttempts, "ssh"),
        (F::ShareType, "smb_mapping"),
        (F::Endpoint, "dce_rpc"),
        (F::RequestType, "kerberos"),
        (F::Note, "notice"),
        (F::Addl, "weird"),
    ];
    let log = telling
        .iter()
        .find(|(field, _)| row.has(*field))
        .map(|(_, log)| *log);
    log.map_or(name, str::to_owned)
}

fn look(input: &Input, evidence: &mut Evidence) {
    let log = input.format.split(' ').next().unwrap_or_default();
    if log != "conn" || !evidence.wants_more() {
        return;
    }
    let Ok(reader) = input.open() else { return };
    let mut lines = Lines::new(reader);
    let json = input.format.ends_with(" json");
    let (mut tsv, mut objects) = (ZeekTsv::default(), ZeekJson::default());
    for _ in 0..LOOK_RECORDS_MAX {
        let line = match lines.next() {
            Line::Text(line) => line,
            Line::TooLong => continue,
            Line::Error(_) | Line::End => return,
        };
        if json {
            if let Some(object) = objects.line(line) {
                conn::evidence(&object.row(), evidence);
            }
        } else if let ZeekLine::Row(row) = tsv.line(line) {
            conn::evidence(&row, evidence);
        }
    }
}

fn open(inputs: Vec<Input>, cx: &SourceCx) -> Vec<Lane> {
    let of_certificates = |input: &&Input| input.format.split(' ').next() == Some("x509");
    let certificates = inputs.iter().filter(of_certificates).cloned().collect();
    let certificates = Arc::new(Mutex::new(Certificates::new(certificates)));
    let local = cx.local.clone();
    LogSource::lanes(inputs, move |input| {
        decoder(&input.format, &local, &certificates)
    })
}

/// Reads lines of the log that `format` names.
pub(crate) fn decoder(
    format: &str,
    local: &LocalNetworks,
    certificates: &Arc<Mutex<Certificates>>,
) -> Box<dyn Decoder> {
    let log = format.split(' ').next().unwrap_or_default().to_owned();
    Box::new(ZeekDecoder {
        mapping: mapping_of(&log),
        log,
        json: format.ends_with(" json"),
        tsv: ZeekTsv::default(),
        header: Vec::new(),
        objects: ZeekJson::default(),
        local: local.clone(),
        certificates: Arc::clone(certificates),
    })
}
