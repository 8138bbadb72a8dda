//! TLS up to the point where everything is encrypted, then whether application data flowed.
//!
//! Told once: when data flowed both ways, else when the conversation ends or breaks.

use thymus_parsers::tls::{self, Carrier, ClientHello, RecordHeader, ServerHello, content};
use thymus_parsers::{ParseBudget, Parsed, x509};
use thymus_schema::{Certificate, EventBody, Service, Timestamp, TlsHandshake, Transport};

use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::framing::{Step, StreamBuffer};

/// Most bytes of a handshake message that is spread over records.
const HANDSHAKE_BYTES_MAX: usize = 64 * 1024;
/// An encrypted alert of TLS 1.3 on the wire: two bytes, content type, tag.
const ALERT_LENGTH: usize = 19;

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Tls,
    transports: &[Transport::Tcp],
    usual_ports: &[443, 465, 636, 853, 993, 995, 8443],
    probe,
    build: || Box::new(TlsAnalyzer::default()),
};

fn probe(opening: &Opening<'_>) -> Probe {
    let (bytes, hello) = if opening.client.is_empty() {
        (opening.server, 2)
    } else {
        (opening.client, 1)
    };
    let Some(&first) = bytes.first() else {
        return Probe::More;
    };
    if !(20..=23).contains(&first) {
        return Probe::No;
    }
    if bytes.len() < RecordHeader::LENGTH + 1 {
        return Probe::More;
    }
    match (RecordHeader::parse(bytes), bytes.get(RecordHeader::LENGTH)) {
        (
            Some(RecordHeader {
                content: content::HANDSHAKE,
                length: 4..,
                ..
            }),
            Some(kind),
        ) => {
            if *kind == hello {
                Probe::Yes
            } else {
                Probe::No
            }
        }
        // Joined in the middle: a record of data alone is too little to go by.
        (
            Some(RecordHeader {
                content: content::DATA,
                ..
            }),
            _,
        ) if opening.server_port == 443 => Probe::Yes,
        _ => Probe::No,
    }
}

/// Reads TLS; also what follows STARTTLS or an HTTP CONNECT.
#[derive(Default)]
pub(crate) struct TlsAnalyzer {
    streams: [StreamBuffer; 2],
    partial: [Vec<u8>; 2],
    seen: Seen,
}

/// What the conversation showed so far.
#[derive(Default)]
struct Seen {
    event: Box<TlsHandshake>,
    hello: bool,
    session_id: Box<[u8]>,
    server_session_id: Box<[u8]>,
    /// What each side sends is encrypted from here on.
    encrypted: [bool; 2],
    /// Records of application data from each side, alerts apart.
    records: [u32; 2],
    fatal: bool,
    told: bool,
}

impl Analyzer for TlsAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let at = usize::from(side == Side::Server);
        let Self {
            streams,
            partial,
            seen,
        } = self;
        let readable = streams[at].feed(bytes, |bytes| {
            if bytes.len() < RecordHeader::LENGTH {
                return Step::Need(RecordHeader::LENGTH);
            }
            let Some(header) = RecordHeader::parse(bytes) else {
                return Step::Stop;
            };
            let whole = RecordHeader::LENGTH + header.length;
            match header.content {
                content::HANDSHAKE | content::ALERT if !seen.encrypted[at] => {
                    let Some(body) = bytes.get(RecordHeader::LENGTH..whole) else {
                        return Step::Need(whole);
                    };
                    if header.content == content::ALERT {
                        seen.fatal |= body.first() == Some(&2);
                    } else if !handshake(body, side, &mut partial[at], seen, cx) {
                        return Step::Stop;
                    }
                }
                content::CHANGE_CIPHER => seen.change_cipher(side),
                content::DATA if header.length != ALERT_LENGTH => {
                    seen.records[at] = seen.records[at].saturating_add(1);
                }
                _ => {}
            }
            Step::Take(whole as u64)
        });
        if !readable {
            cx.quirk("tls", "unreadable_record");
        }
        if !readable || self.seen.fatal || self.seen.is_established() {
            self.tell(cx);
            cx.detach();
        }
    }

    fn gap(&mut self, side: Side, missing: u64, cx: &mut AnalyzerCx<'_>) {
        if !self.streams[usize::from(side == Side::Server)].gap(missing) {
            self.tell(cx);
            cx.detach();
        }
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        self.tell(cx);
    }
}

impl TlsAnalyzer {
    fn tell(&mut self, cx: &mut AnalyzerCx<'_>) {
        if self.seen.hello && !self.seen.told {
            self.seen.told = true;
            self.seen.event.established = self.seen.is_established();
            let event = std::mem::take(&mut self.seen.event);
            cx.emit(EventBody::Tls(event));
        }
    }
}

impl Seen {
    /// From TLS 1.3 on the first encrypted record of each side still belongs to the handshake.
    fn is_established(&self) -> bool {
        let least = if self.event.version >= 0x0304 { 2 } else { 1 };
        self.records[0] >= least && self.records[1] >= least
    }

    fn change_cipher(&mut self, side: Side) {
        // In TLS 1.3 it is sent for the sake of old middle boxes and means nothing.
        if self.event.version >= 0x0304 {
            return;
        }
        self.encrypted[usize::from(side == Side::Server)] = true;
        // A server that goes encrypted without having shown a certificate takes up an old session.
        if side == Side::Server && self.event.certificate.is_none() && self.event.version != 0 {
            let same = !self.session_id.is_empty() && self.session_id == self.server_session_id;
            self.event.resumed |= same || !self.encrypted[0];
        }
    }

    fn client_hello(&mut self, body: &[u8], cx: &mut AnalyzerCx<'_>) {
        let Some(Parsed {
            value: hello,
            quirks,
        }) = ClientHello::parse(body)
        else {
            cx.quirk("tls", "unreadable_client_hello");
            return;
        };
        for quirk in quirks {
            cx.quirk("tls", quirk);
        }
        self.hello = true;
        describe(&mut self.event, &hello, Carrier::Tcp);
        self.session_id = hello.session_id;
    }

    fn server_hello(&mut self, body: &[u8]) {
        let Some(hello) = ServerHello::parse(body) else {
            return;
        };
        self.hello = true;
        self.event.version = hello.version;
        self.event.cipher = hello.cipher;
        self.event.resumed = hello.pre_shared_key;
        self.server_session_id = hello.session_id;
        // What follows a real hello of TLS 1.3 comes in records of application data.
        if hello.version >= 0x0304 && !hello.retry {
            self.encrypted[1] = true;
        }
    }
}

/// Puts what a client hello says into the event.
pub(super) fn describe(event: &mut TlsHandshake, hello: &ClientHello, carrier: Carrier) {
    event.sni.clone_from(&hello.server_name);
    event.alpn = hello
        .alpn
        .as_deref()
        .map_or(Box::default(), |alpn| thymus_parsers::text(alpn, 255));
    event.ja3 = tls::ja3(hello);
    event.ja4 = tls::ja4(hello, carrier);
}

/// Reads the handshake messages of a record, joined to what an earlier one began. False when a
/// message is longer than anyone sends.
fn handshake(
    body: &[u8],
    side: Side,
    partial: &mut Vec<u8>,
    seen: &mut Seen,
    cx: &mut AnalyzerCx<'_>,
) -> bool {
    let joined;
    let mut rest = if partial.is_empty() {
        body
    } else {
        partial.extend_from_slice(body);
        joined = std::mem::take(partial);
        &joined
    };
    while !rest.is_empty() {
        match tls::handshake(rest) {
            Ok((kind, message, after)) => {
                match (side, kind) {
                    (Side::Client, 1) => seen.client_hello(message, cx),
                    (Side::Server, 2) => seen.server_hello(message),
                    (Side::Server, 11) => seen.event.certificate = certificate(message, cx),
                    _ => {}
                }
                rest = after;
            }
            Err(needed) if needed > HANDSHAKE_BYTES_MAX => return false,
            Err(_) => {
                *partial = rest.to_vec();
                break;
            }
        }
    }
    true
}

fn certificate(message: &[u8], cx: &mut AnalyzerCx<'_>) -> Option<Box<Certificate>> {
    let (leaf, chain_len) = tls::certificates(message)?;
    let Some(parsed) = x509::parse(leaf, &ParseBudget::default()) else {
        cx.quirk("x509", "unreadable_certificate");
        return None;
    };
    Some(Box::new(Certificate {
        subject: parsed.subject,
        issuer: parsed.issuer,
        not_before: Timestamp::from_secs(parsed.not_before),
        not_after: Timestamp::from_secs(parsed.not_after),
        names: parsed.names,
        self_signed: parsed.self_signed,
        sha256: thymus_parsers::hex(&parsed.sha256),
        chain_len,
    }))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    fn record(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind, 3, 3][..], &(body.len() as u16).to_be_bytes(), body].concat()
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind][..], &(body.len() as u32).to_be_bytes()[1..], body].concat()
    }

    fn client_hello() -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend(b"\0\0\x02\x00\x2f\x01\0\0\x12\0\0\0\x0e\0\x0c\0\0\x09a.example");
        record(22, &message(1, &body))
    }

    fn server_hello(extensions: &[u8]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([8; 32]);
        body.extend([0, 0, 0x2f, 0]);
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        record(22, &message(2, &body))
    }

    fn told(talk: &Talk) -> &TlsHandshake {
        let [EventBody::Tls(event)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        event
    }

    #[test]
    fn a_session_is_told_when_data_flowed_both_ways() {
        let mut talk = Talk::tcp(&SPEC, 443);
        assert_eq!(talk.probe(&client_hello(), b""), Probe::Yes);
        client_hello()
            .chunks(9)
            .for_each(|piece| talk.client(piece));
        talk.server(&server_hello(b""));
        for _ in 0..2 {
            talk.client(&record(20, &[1]));
            talk.server(&record(20, &[1]));
        }
        talk.client(&record(23, &[9; 400]));
        assert!(talk.events.is_empty());
        talk.server(&record(23, &[9; 4000]));
        assert!(talk.detached);
        let event = told(&talk);
        assert_eq!(
            (&*event.sni, event.version, event.cipher),
            ("a.example", 0x0303, 0x002f)
        );
        assert!(event.established && event.ja4.starts_with("t12d0101"));
    }

    #[test]
    fn since_version_13_the_first_encrypted_record_is_no_data() {
        let mut talk = Talk::tcp(&SPEC, 443);
        talk.client(&client_hello());
        talk.server(&server_hello(&[0, 43, 0, 2, 3, 4]));
        talk.server(&record(23, &[9; 1000]));
        talk.server(&record(23, &[9; 1000]));
        talk.client(&record(23, &[9; 53]));
        assert!(!talk.detached, "that was the client's Finished");
        talk.client(&record(23, &[9; 19]));
        assert!(!talk.detached, "that was an alert");
        talk.close();
        assert!(!told(&talk).established && told(&talk).version == 0x0304);
    }

    #[test]
    fn a_fatal_alert_ends_it_unestablished() {
        let mut talk = Talk::tcp(&SPEC, 443);
        talk.client(&client_hello());
        talk.server(&record(21, &[2, 40]));
        assert!(talk.detached && !told(&talk).established);
        talk.close();
        assert_eq!(talk.events.len(), 1, "told once");
    }

    #[test]
    fn a_hole_in_bulk_data_is_harmless_but_not_in_a_hello() {
        let mut talk = Talk::tcp(&SPEC, 443);
        talk.client(&client_hello());
        talk.server(&record(23, &[9; 4000])[..100]);
        talk.gap(Side::Server, 3000);
        assert!(!talk.detached);
        talk.gap(Side::Client, 1);
        assert!(talk.detached && &*told(&talk).sni == "a.example");
    }
}
