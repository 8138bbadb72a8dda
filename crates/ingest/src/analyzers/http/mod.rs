//! HTTP/1: requests matched with their responses in order, bodies skipped by length. What follows a
//! CONNECT goes to the TLS reader; WinRM is recognised by its path.

mod files;
mod login;
mod stream;

use std::collections::VecDeque;
use std::io::Read;

use thymus_parsers::http::{self, Body, ContentRange, Request};
use thymus_parsers::magic::{magic, shape};
use thymus_parsers::{Compression, ParseBudget, decompress};
use thymus_schema::{EventBody, HttpTransaction, Service, Transport};

use self::files::Form;
use self::login::Logins;
use self::stream::{MessageStream, Piece};
use super::tls::TlsAnalyzer;
use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::carve::Carving;

/// Bytes of a body that are looked at.
const FRONT_BYTES_MAX: usize = 512;
/// Most requests that wait for their responses; the oldest is told without.
const PENDING_MAX: usize = 64;

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Http,
    transports: &[Transport::Tcp],
    usual_ports: &[80, 3128, 5985, 8000, 8080, 8888],
    probe,
    build: || Box::new(HttpAnalyzer::default()),
};

const METHODS: [&[u8]; 14] = [
    b"GET ",
    b"POST ",
    b"HEAD ",
    b"PUT ",
    b"DELETE ",
    b"OPTIONS ",
    b"CONNECT ",
    b"PATCH ",
    b"TRACE ",
    b"PROPFIND ",
    b"REPORT ",
    b"MKCOL ",
    b"MOVE ",
    b"LOCK ",
];

fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = opening.client;
    if bytes.is_empty() {
        return begins(opening.server, &[b"HTTP/1."]);
    }
    let by_method = begins(bytes, &METHODS);
    if by_method != Probe::Yes {
        return by_method;
    }
    let line = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let version = line.windows(7).any(|window| window == b"HTTP/1.");
    // A long target may fill the whole opening; then a path or an authority must do.
    let cut = line.len() == bytes.len();
    let target = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let plausible = target.first() == Some(&b'/') || target.starts_with(b"http://");
    match (version, cut) {
        (true, _) => Probe::Yes,
        (false, true) if line.len() > 200 && plausible => Probe::Yes,
        (false, true) if line.len() <= 200 => Probe::More,
        _ => Probe::No,
    }
}

fn begins(bytes: &[u8], starts: &[&[u8]]) -> Probe {
    if starts.iter().any(|start| bytes.starts_with(start)) {
        Probe::Yes
    } else if starts.iter().any(|start| start.starts_with(bytes)) {
        Probe::More
    } else {
        Probe::No
    }
}

#[derive(Default)]
struct HttpAnalyzer {
    streams: [MessageStream; 2],
    waiting: VecDeque<Exchange>,
    /// Whether the response at hand belongs to the front of `waiting`.
    answering: bool,
    tunnel: Option<Box<TlsAnalyzer>>,
    logins: Logins,
    over: bool,
}

/// A request and what came of it.
#[derive(Default)]
struct Exchange {
    event: Box<HttpTransaction>,
    credentials: Option<http::Credentials>,
    challenge: Vec<u8>,
    is_form: bool,
    request_front: Vec<u8>,
    response_front: Vec<u8>,
    form_user: Option<Box<str>>,
    is_connect: bool,
    /// What each side sends, as a file.
    files: [Option<Carving>; 2],
    /// Whose bytes are not all there.
    is_cut: [bool; 2],
    /// What the request's body is, when it is a form in parts.
    form: Option<Box<Form>>,
    /// Which part of a file the response is, and of which version.
    range: Option<ContentRange>,
    version: Box<str>,
}

impl Analyzer for HttpAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        if let Some(tunnel) = &mut self.tunnel {
            return tunnel.data(side, bytes, cx);
        }
        let at = usize::from(side == Side::Server);
        let mut stream = std::mem::take(&mut self.streams[at]);
        let mut rest = bytes;
        while !rest.is_empty() && !self.over && self.tunnel.is_none() {
            let (piece, used) = stream.next(rest);
            match (piece, side) {
                (Piece::Nothing, _) => {}
                (Piece::Broken(quirk), _) => self.end(Some(quirk), cx),
                (Piece::Head(head), Side::Client) => {
                    match http::request(&head, &ParseBudget::default()) {
                        Some((request, _)) => {
                            stream.body(request.body);
                            self.request(request, cx);
                        }
                        None => self.end(Some("bad_request"), cx),
                    }
                }
                (Piece::Head(head), Side::Server) => self.response(&head, &mut stream, cx),
                (Piece::Body(bytes), Side::Client) => self.request_body(bytes, cx),
                (Piece::Body(bytes), Side::Server) => self.response_body(bytes, cx),
            }
            rest = rest.get(used..).unwrap_or_default();
            if side == Side::Server && self.answering && stream.is_between() {
                self.answered(cx);
            }
        }
        self.streams[at] = stream;
        if let (Some(tunnel), false) = (&mut self.tunnel, rest.is_empty()) {
            tunnel.data(side, rest, cx);
        }
    }

    fn gap(&mut self, side: Side, missing: u64, cx: &mut AnalyzerCx<'_>) {
        if let Some(tunnel) = &mut self.tunnel {
            return tunnel.gap(side, missing, cx);
        }
        let open = match side {
            Side::Client => self.waiting.back_mut(),
            Side::Server => self.waiting.front_mut(),
        };
        let counted = open.map(|open| {
            open.is_cut[usize::from(side == Side::Server)] = true;
            if let (Side::Client, Some(mut form)) = (side, open.form.take()) {
                form.end(cx);
            }
            match side {
                Side::Client => &mut open.event.request_len,
                Side::Server => &mut open.event.response_len,
            }
        });
        if self.streams[usize::from(side == Side::Server)].gap(missing) {
            if let Some(counted) = counted {
                *counted = counted.saturating_add(missing);
            }
        } else {
            self.end(None, cx);
        }
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        if let Some(tunnel) = &mut self.tunnel {
            tunnel.close(cx);
        }
        self.flush(cx);
    }
}

impl HttpAnalyzer {
    fn request(&mut self, request: Request, cx: &mut AnalyzerCx<'_>) {
        if request.uri.starts_with("/wsman") {
            cx.set_service(Service::Winrm);
        }
        if self.waiting.len() >= PENDING_MAX
            && let Some(oldest) = self.waiting.pop_front()
        {
            self.answering = false;
            self.tell(oldest, cx);
        }
        let query = request.uri.split_once('?').map_or("", |(_, query)| query);
        self.waiting.push_back(Exchange {
            is_form: request
                .content_type
                .starts_with("application/x-www-form-urlencoded"),
            form_user: http::form_user(query.as_bytes()),
            is_connect: &*request.method == "CONNECT",
            credentials: request.credentials,
            challenge: Vec::new(),
            request_front: Vec::new(),
            response_front: Vec::new(),
            files: [None, None],
            is_cut: [false; 2],
            form: Form::of(&request.content_type, cx),
            range: None,
            version: Box::default(),
            event: Box::new(HttpTransaction {
                method: request.method,
                host: request.host,
                uri: request.uri,
                user_agent: request.user_agent,
                referrer: request.referrer,
                headers: request.headers,
                proxied: request.proxied,
                ..HttpTransaction::default()
            }),
        });
    }

    fn request_body(&mut self, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        if let Some(open) = self.waiting.back_mut() {
            if let Some(form) = &mut open.form {
                form.feed(bytes, cx);
            } else if open.event.request_len == 0 && !open.is_cut[0] {
                open.files[0] = cx.carve();
            }
            if let Some(file) = &mut open.files[0] {
                file.push(bytes, last_segment(&open.event.uri));
            }
            open.event.request_len = open.event.request_len.saturating_add(bytes.len() as u64);
            keep_front(&mut open.request_front, bytes);
        }
    }

    fn response(&mut self, head: &[u8], stream: &mut MessageStream, cx: &mut AnalyzerCx<'_>) {
        let Some((response, _)) = http::response(head, &ParseBudget::default()) else {
            return self.end(Some("bad_response"), cx);
        };
        // Interim responses announce another.
        if matches!(response.status, 100 | 102..=199) {
            return;
        }
        if self.waiting.is_empty() {
            self.waiting.push_back(Exchange::default());
        }
        let Some(open) = self.waiting.front_mut() else {
            return;
        };
        open.event.status = response.status;
        open.event.content_type = response.content_type;
        open.range = response.range.filter(|_| response.status == 206);
        open.version = response.version;
        open.challenge = response.challenge;
        open.event.file_name = if response.file_name.is_empty() {
            last_segment(&open.event.uri).into()
        } else {
            response.file_name
        };
        self.answering = true;
        let connected = open.is_connect && (200..300).contains(&response.status);
        let bodiless = &*open.event.method == "HEAD" || connected || response.status == 101;
        stream.body(if bodiless { Body::None } else { response.body });
        if connected {
            self.answered(cx);
            self.tunnel = Some(Box::default());
        } else if response.status == 101 {
            self.end(None, cx);
        }
    }

    fn response_body(&mut self, bytes: &[u8], cx: &AnalyzerCx<'_>) {
        if let Some(open) = self.waiting.front_mut() {
            if open.event.response_len == 0 {
                open.files[1] = files::carve_response(open, cx);
            }
            if let Some(file) = &mut open.files[1] {
                file.push(bytes, &open.event.file_name);
            }
            open.event.response_len = open.event.response_len.saturating_add(bytes.len() as u64);
            keep_front(&mut open.response_front, bytes);
        }
    }

    /// The response at hand is complete.
    fn answered(&mut self, cx: &mut AnalyzerCx<'_>) {
        self.answering = false;
        if let Some(exchange) = self.waiting.pop_front() {
            self.tell(exchange, cx);
        }
    }

    fn tell(&mut self, mut exchange: Exchange, cx: &mut AnalyzerCx<'_>) {
        exchange.event.request_magic = magic(&exchange.request_front).into();
        exchange.event.request_shape = shape(&exchange.request_front).into();
        let (kind, made_of) = content(&exchange);
        exchange.event.magic = kind.into();
        exchange.event.shape = made_of.into();
        if exchange.is_form && exchange.form_user.is_none() {
            exchange.form_user = http::form_user(&exchange.request_front);
        }
        let login = self.logins.of(&exchange, cx);
        self.logins.read(&exchange);
        let status = exchange.event.status;
        if let Some(credentials) = exchange.credentials.take() {
            exchange.event.user = credentials.user;
        }
        let sent = files::Sent::of(&mut exchange);
        cx.emit(EventBody::Http(exchange.event));
        sent.tell(cx);
        if let Some(login) = login {
            cx.emit(EventBody::Login(Box::new(login)));
        }
        self.logins.negotiated(status, &exchange.challenge, cx);
    }

    fn flush(&mut self, cx: &mut AnalyzerCx<'_>) {
        // What has no other end than that of the connection is whole now; all else is not.
        let ended = cx.ended;
        let is_open = std::array::from_fn::<bool, 2, _>(|side| {
            let stream = &self.streams[side];
            stream.is_in_body() || stream.is_until_close() && !ended[side]
        });
        while let Some(mut exchange) = self.waiting.pop_front() {
            for (is_cut, is_open) in exchange.is_cut.iter_mut().zip(is_open) {
                *is_cut |= is_open;
            }
            self.tell(exchange, cx);
        }
    }

    /// The rest cannot be read, or is no longer HTTP.
    fn end(&mut self, quirk: Option<&'static str>, cx: &mut AnalyzerCx<'_>) {
        if let Some(quirk) = quirk {
            cx.quirk("http", quirk);
        }
        self.over = true;
        self.flush(cx);
        cx.detach();
    }
}

/// Keeps the first bytes of a body.
fn keep_front(front: &mut Vec<u8>, bytes: &[u8]) {
    let room = FRONT_BYTES_MAX - front.len();
    front.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

/// What the response's content is by its first bytes, and what they are made of. A body that is
/// packed for the way only (RFC 9110 section 8.4.1.3), not a packed file, is looked into.
fn content(exchange: &Exchange) -> (&'static str, &'static str) {
    let front = &*exchange.response_front;
    let outer = magic(front);
    let name = exchange.event.file_name.to_ascii_lowercase();
    let is_packed_file = exchange.event.content_type.contains("zip")
        || [".gz", ".tgz"].iter().any(|end| name.ends_with(end));
    if outer != "gzip" || is_packed_file {
        return (outer, shape(front));
    }
    let Ok(mut reader) = decompress(Compression::Gzip, front) else {
        return (outer, shape(front));
    };
    // The front ends in the middle of the stream, so errors are usual.
    let mut inside = [0; FRONT_BYTES_MAX];
    let mut len = 0;
    while let Ok(read @ 1..) = reader.read(&mut inside[len..]) {
        len += read;
    }
    let inside = &inside[..len];
    match magic(inside) {
        "" => (outer, shape(inside)),
        kind => (kind, shape(inside)),
    }
}

/// The last segment of a path when it looks like a file's name.
fn last_segment(uri: &str) -> &str {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    if name.contains('.') { name } else { "" }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    fn told(talk: &Talk) -> Vec<&HttpTransaction> {
        talk.events
            .iter()
            .filter_map(|body| {
                if let EventBody::Http(event) = body {
                    Some(&**event)
                } else {
                    None
                }
            })
            .collect()
    }

    #[test]
    fn pipelined_requests_meet_their_responses_in_order() {
        let mut talk = Talk::tcp(&SPEC, 8081);
        let requests = b"GET /a.exe HTTP/1.1\r\nHost: 10.0.0.9\r\n\r\nPOST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(talk.probe(requests, b""), Probe::Yes);
        requests.chunks(7).for_each(|piece| talk.client(piece));
        let responses = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nMZ\x90\0\r\n3\r\nabc\r\n0\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno";
        responses.chunks(3).for_each(|piece| talk.server(piece));
        let told = told(&talk);
        assert_eq!(told.len(), 2);
        assert_eq!(
            (&*told[0].magic, told[0].response_len, &*told[0].file_name),
            ("pe", 7, "a.exe")
        );
        assert_eq!(
            (told[1].status, told[1].request_len, told[1].response_len),
            (404, 5, 2)
        );
    }

    #[test]
    fn what_follows_connect_is_read_as_tls() {
        let mut talk = Talk::tcp(&SPEC, 3128);
        talk.client(b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n");
        talk.server(b"HTTP/1.1 200 Connection established\r\n\r\n");
        assert!(told(&talk)[0].proxied && &*told(&talk)[0].host == "a.example:443");
        let mut hello = vec![22, 3, 1, 0, 0x41, 1, 0, 0, 0x3d, 3, 3];
        hello.extend([7; 32]);
        hello.extend(b"\0\0\x02\x00\x2f\x01\0\0\x12\0\0\0\x0e\0\x0c\0\0\x09a.example");
        talk.client(&hello);
        talk.close();
        let Some(EventBody::Tls(tls)) = talk.events.last() else {
            panic!("{:?}", talk.events)
        };
        assert_eq!(&*tls.sni, "a.example");
    }

    #[test]
    fn a_refused_basic_login_and_a_form_are_logins() {
        use thymus_schema::Outcome::{Failure, Unknown};
        let mut talk = Talk::tcp(&SPEC, 80);
        talk.client(b"GET / HTTP/1.1\r\nAuthorization: Basic YWxpY2U6c2VjcmV0\r\n\r\n");
        talk.server(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n");
        talk.client(b"POST /wp-login.php HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 13\r\n\r\nlog=bob&pwd=x");
        talk.server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let logins: Vec<(&str, &str, thymus_schema::Outcome)> = talk
            .events
            .iter()
            .filter_map(|body| {
                if let EventBody::Login(login) = body {
                    Some(login)
                } else {
                    None
                }
            })
            .map(|login| (&*login.method, &*login.user, login.outcome))
            .collect();
        assert_eq!(
            logins,
            [("basic", "alice", Failure), ("form", "bob", Unknown)]
        );
    }

    #[test]
    fn a_negotiated_login_is_told_with_its_outcome() {
        use thymus_schema::Outcome::{Failure, Success};
        // A message of type 3: LM and NT answers of 0 and 24 bytes, CORP, bob, PC in UTF-16.
        let names = b"C\0O\0R\0P\0b\0o\0b\0P\0C\0";
        let mut answer = b"NTLMSSP\0\x03\0\0\0".to_vec();
        for (length, at) in [
            (0_u16, 64_u32),
            (24, 82),
            (8, 64),
            (6, 72),
            (4, 78),
            (0, 106),
        ] {
            answer.extend([length.to_le_bytes(), length.to_le_bytes()].concat());
            answer.extend(at.to_le_bytes());
        }
        answer.extend([1, 2, 8, 0]);
        answer.extend(names);
        answer.extend([7; 24]);
        let mut talk = Talk::tcp(&SPEC, 5985);
        let post = |token: &[u8]| {
            let head = b"POST /wsman HTTP/1.1\r\nAuthorization: Negotiate ";
            [&head[..], &encoded(token), b"\r\nContent-Length: 0\r\n\r\n"].concat()
        };
        talk.client(&post(b"NTLMSSP\0\x01\0\0\0"));
        talk.server(b"HTTP/1.1 401 \r\nWWW-Authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n");
        talk.client(&post(&answer));
        talk.server(b"HTTP/1.1 401 \r\nContent-Length: 0\r\n\r\n");
        talk.client(&post(&answer));
        talk.server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        talk.client(b"GET / HTTP/1.1\r\nAuthorization: Bearer TlRMTVNTUAAD\r\n\r\n");
        talk.close();
        let told = |body: &EventBody| match body {
            EventBody::Login(login) => Some((login.service, login.user.clone(), login.outcome)),
            EventBody::Ntlm(auth) => Some((auth.carrier, auth.user.clone(), auth.outcome)),
            _ => None,
        };
        let bob = |outcome| (Some(Service::Winrm), Box::from("bob"), outcome);
        assert_eq!(
            talk.events.iter().filter_map(told).collect::<Vec<_>>(),
            [bob(Failure), bob(Failure), bob(Success), bob(Success)]
        );
    }

    /// Base64 without padding, for messages of these tests.
    fn encoded(bytes: &[u8]) -> Vec<u8> {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let digits = |group: &[u8]| {
            let bits = group
                .iter()
                .fold(0_usize, |sum, &byte| sum << 8 | usize::from(byte))
                << (8 * (3 - group.len()));
            (0..=group.len())
                .map(|at| ALPHABET[bits >> (18 - 6 * at) & 63])
                .collect::<Vec<u8>>()
        };
        bytes.chunks(3).flat_map(digits).collect()
    }

    #[test]
    fn a_hole_in_a_body_is_counted_and_the_next_response_read() {
        let mut talk = Talk::tcp(&SPEC, 80);
        talk.client(b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n");
        talk.server(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n0123456789");
        talk.gap(Side::Server, 985);
        talk.server(b"01234HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(told(&talk)[0].response_len, 1000);
        assert_eq!(told(&talk).len(), 2);
    }

    #[test]
    fn an_unanswered_request_is_told_at_the_end() {
        let mut talk = Talk::tcp(&SPEC, 80);
        talk.client(b"GET / HTTP/1.0\r\n\r\n");
        talk.close();
        assert_eq!(told(&talk)[0].status, 0);
        assert_eq!(talk.probe(b"OPTIONS sip:a@b SIP/2.0\r\n", b""), Probe::No);
        assert_eq!(talk.probe(b"GE", b""), Probe::More);
    }
}
