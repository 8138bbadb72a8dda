//! HTTP/1 heads (RFC 9110, RFC 9112) over `httparse`, set to forgive what servers forgive, and the
//! small texts inside: credentials, form fields, chunk sizes.
//!
//! Must not: decode bodies.

use httparse::{EMPTY_HEADER, Header, ParserConfig, Status};

use crate::{ParseBudget, text};

/// Longest security token kept, in bytes: a Kerberos ticket with many groups.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Most header lines read of a message.
const HEADERS_MAX: usize = 128;

/// Longest list of header names.
pub const NAMES_BYTES_MAX: usize = 200;

/// How a message's end is found (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    #[default]
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// All that comes until the connection closes.
    UntilClose,
}

/// Who a request says it is from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Scheme in lower case: `basic`, `digest`, `ntlm`, `negotiate`, `bearer`, …
    pub scheme: Box<str>,
    /// The account of basic or digest authentication.
    pub user: Box<str>,
    /// The realm of digest authentication.
    pub realm: Box<str>,
    /// The message of NTLM or Negotiate authentication (RFC 4559), decoded.
    pub token: Vec<u8>,
}

/// A request's head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Method.
    pub method: Box<str>,
    /// Path and query; the whole target when it has another form.
    pub uri: Box<str>,
    /// Host header, or the authority of an absolute target.
    pub host: Box<str>,
    /// Whether the target is a proxy's: absolute, or the authority of CONNECT.
    pub proxied: bool,
    /// User agent.
    pub user_agent: Box<str>,
    /// Referrer.
    pub referrer: Box<str>,
    /// Content type.
    pub content_type: Box<str>,
    /// Credentials for the server, else for the proxy.
    pub credentials: Option<Credentials>,
    /// Names of the header fields in their order, lower case, with commas between; cut after
    /// [`NAMES_BYTES_MAX`] bytes.
    pub headers: Box<str>,
    /// How the body ends.
    pub body: Body,
}

/// A response's head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Content type without parameters.
    pub content_type: Box<str>,
    /// File name of the content disposition.
    pub file_name: Box<str>,
    /// The server's message of NTLM or Negotiate authentication, decoded.
    pub challenge: Vec<u8>,
    /// Which part of the whole the body is (206).
    pub range: Option<ContentRange>,
    /// Which version of the whole: its entity tag, else when it was modified.
    pub version: Box<str>,
    /// How the body ends, if the request's method allows one.
    pub body: Body,
}

/// A part of a whole (RFC 9110 section 14.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContentRange {
    /// Its first byte.
    pub first: u64,
    /// Its last byte.
    pub last: u64,
    /// Bytes of the whole.
    pub total: u64,
}

/// Reads `bytes 0-499/1234`; `None` when the whole has no known length, or it makes no sense.
pub fn content_range(value: &[u8]) -> Option<ContentRange> {
    let value = value.trim_ascii();
    let unit = value.get(..6)?;
    let (span, total) = str::from_utf8(value.get(6..)?).ok()?.split_once('/')?;
    let (first, last) = span.split_once('-')?;
    let number = |digits: &str| digits.trim().parse::<u64>().ok();
    let range = ContentRange {
        first: number(first)?,
        last: number(last)?,
        total: number(total)?,
    };
    let is_sound = range.first <= range.last && range.last < range.total;
    (unit.eq_ignore_ascii_case(b"bytes ") && is_sound).then_some(range)
}

/// A head and the bytes it takes; `None` when it is no HTTP head. `bytes` must reach to the end of
/// the head, see [`head_length`].
pub fn request(bytes: &[u8], budget: &ParseBudget) -> Option<(Request, usize)> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut raw = httparse::Request::new(&mut headers);
    let mut config = ParserConfig::default();
    config.allow_multiple_spaces_in_request_line_delimiters(true);
    config.ignore_invalid_headers_in_requests(true);
    let Ok(Status::Complete(used)) = config.parse_request(&mut raw, bytes) else {
        return None;
    };
    let method = raw.method?;
    let target = raw.path?;
    let mut out = Request {
        method: method.into(),
        ..Request::default()
    };
    set_target(&mut out, method, target, budget);
    let mut framing = Framing::default();
    let mut proxy = None;
    let mut names = String::new();
    for header in raw.headers.iter() {
        let name = header.name;
        if names.len().saturating_add(name.len()) < NAMES_BYTES_MAX {
            if !names.is_empty() {
                names.push(',');
            }
            names.push_str(name);
        }
        let value = || text(header.value, budget.text_bytes_max);
        if name.eq_ignore_ascii_case("host") {
            if out.host.is_empty() {
                out.host = value();
            }
        } else if name.eq_ignore_ascii_case("user-agent") {
            out.user_agent = value();
        } else if name.eq_ignore_ascii_case("referer") {
            out.referrer = value();
        } else if name.eq_ignore_ascii_case("content-type") {
            out.content_type = value();
        } else if name.eq_ignore_ascii_case("authorization") {
            out.credentials = credentials(header.value);
        } else if name.eq_ignore_ascii_case("proxy-authorization") {
            proxy = credentials(header.value);
        } else {
            framing.note(header);
        }
    }
    names.make_ascii_lowercase();
    out.headers = names.into();
    out.credentials = out.credentials.or(proxy);
    out.body = framing.body().unwrap_or(Body::None);
    Some((out, used))
}

/// As [`request`], for a response.
pub fn response(bytes: &[u8], budget: &ParseBudget) -> Option<(Response, usize)> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut raw = httparse::Response::new(&mut headers);
    let mut config = ParserConfig::default();
    config.allow_spaces_after_header_name_in_responses(true);
    config.allow_obsolete_multiline_headers_in_responses(true);
    config.ignore_invalid_headers_in_responses(true);
    config.allow_multiple_spaces_in_response_status_delimiters(true);
    let Ok(Status::Complete(used)) = config.parse_response(&mut raw, bytes) else {
        return None;
    };
    let mut out = Response {
        status: raw.code?,
        ..Response::default()
    };
    let mut framing = Framing::default();
    for header in raw.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-type") {
            let plain = header
                .value
                .split(|byte| *byte == b';')
                .next()
                .unwrap_or_default();
            out.content_type = text(plain.trim_ascii(), budget.text_bytes_max)
                .to_ascii_lowercase()
                .into();
        } else if header.name.eq_ignore_ascii_case("content-disposition") {
            out.file_name = parameter(header.value, b"filename")
                .map_or(Box::default(), |name| text(name, budget.text_bytes_max));
        } else if header.name.eq_ignore_ascii_case("www-authenticate")
            || header.name.eq_ignore_ascii_case("proxy-authenticate")
        {
            if let Some(offer) = credentials(header.value).filter(|_| out.challenge.is_empty()) {
                out.challenge = offer.token;
            }
        } else if header.name.eq_ignore_ascii_case("content-range") {
            out.range = content_range(header.value);
        } else if header.name.eq_ignore_ascii_case("etag")
            || header.name.eq_ignore_ascii_case("last-modified") && out.version.is_empty()
        {
            out.version = text(header.value, 128);
        } else {
            framing.note(header);
        }
    }
    let none = matches!(out.status, 100..=199 | 204 | 304);
    out.body = if none {
        Body::None
    } else {
        framing.body().unwrap_or(Body::UntilClose)
    };
    Some((out, used))
}

/// Where a head ends: the bytes up to and with its empty line; `None` when that has not come.
pub fn head_length(bytes: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\n', bytes).find_map(|at| {
        let next = at.checked_add(1)?;
        match bytes.get(next..)? {
            [b'\n', ..] => next.checked_add(1),
            [b'\r', b'\n', ..] => next.checked_add(2),
            _ => None,
        }
    })
}

/// The size in a chunk's first line; `None` when it is not one.
pub fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii();
    if digits.is_empty() || digits.len() > 15 {
        return None;
    }
    u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

/// The account of a log-in form (`application/x-www-form-urlencoded`, or a query): there must be a
/// field for a password and one for the account.
pub fn form_user(form: &[u8]) -> Option<Box<str>> {
    const USER: [&[u8]; 14] = [
        b"username",
        b"user",
        b"login",
        b"email",
        b"log",
        b"userid",
        b"uname",
        b"user_login",
        b"account",
        b"name",
        b"j_username",
        b"user_name",
        b"usr",
        b"loginfmt",
    ];
    const PASSWORD: [&[u8]; 8] = [
        b"password",
        b"passwd",
        b"pass",
        b"pwd",
        b"psw",
        b"j_password",
        b"user_password",
        b"passwort",
    ];
    let (mut user, mut password) = (None, false);
    for field in form.split(|byte| *byte == b'&').take(64) {
        let mut parts = field.splitn(2, |byte| *byte == b'=');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else {
            continue;
        };
        let is = |names: &[&[u8]]| names.iter().any(|known| name.eq_ignore_ascii_case(known));
        if user.is_none() && is(&USER) {
            user = Some(text(&percent_decoded(value), 128));
        }
        password |= is(&PASSWORD);
    }
    user.filter(|_| password)
}

fn percent_decoded(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().min(256));
    let mut reader = crate::Reader::new(bytes);
    while let Some(byte) = reader.u8() {
        let mut ahead = reader;
        let escaped = (byte == b'%')
            .then(|| ahead.array::<2>())
            .flatten()
            .and_then(|digits| u8::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok());
        match escaped {
            Some(plain) => {
                reader = ahead;
                out.push(plain);
            }
            None => out.push(if byte == b'+' { b' ' } else { byte }),
        }
    }
    out
}

#[derive(Default)]
struct Framing {
    length: Option<u64>,
    chunked: bool,
}

impl Framing {
    fn note(&mut self, header: &Header<'_>) {
        if header.name.eq_ignore_ascii_case("content-length") {
            let digits = str::from_utf8(header.value.trim_ascii()).ok();
            self.length = self
                .length
                .or(digits.and_then(|digits| digits.parse().ok()));
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            self.chunked |= header.value.to_ascii_lowercase().ends_with(b"chunked");
        }
    }

    /// Chunks win over a length, as RFC 9112 section 6.3 has it.
    fn body(&self) -> Option<Body> {
        if self.chunked {
            return Some(Body::Chunked);
        }
        self.length.map(|length| {
            if length == 0 {
                Body::None
            } else {
                Body::Length(length)
            }
        })
    }
}

fn set_target(out: &mut Request, method: &str, target: &str, budget: &ParseBudget) {
    let keep = |part: &str| text(part.as_bytes(), budget.text_bytes_max);
    if method == "CONNECT" {
        out.host = keep(target);
        out.uri = keep(target);
        out.proxied = true;
    } else if let Some((scheme, rest)) = target.split_once("://")
        && scheme.bytes().all(|byte| byte.is_ascii_alphabetic())
    {
        let (authority, path) = rest
            .find(['/', '?'])
            .map_or((rest, ""), |at| rest.split_at(at));
        out.host = keep(authority);
        out.uri = if path.is_empty() {
            "/".into()
        } else {
            keep(path)
        };
        out.proxied = true;
    } else {
        out.uri = keep(target);
    }
}

fn credentials(value: &[u8]) -> Option<Credentials> {
    let value = value.trim_ascii();
    let (scheme, rest) = value.split_at(value.iter().position(|byte| *byte == b' ')?);
    let scheme: Box<str> = text(scheme, 32).to_ascii_lowercase().into();
    let mut out = Credentials {
        scheme,
        ..Credentials::default()
    };
    match &*out.scheme {
        "basic" => {
            let plain = crate::base64::decode(rest.trim_ascii(), 512).unwrap_or_default();
            out.user = text(
                plain.split(|byte| *byte == b':').next().unwrap_or_default(),
                128,
            );
        }
        "digest" => {
            out.user = text(parameter(rest, b"username").unwrap_or_default(), 128);
            out.realm = text(parameter(rest, b"realm").unwrap_or_default(), 128);
        }
        "ntlm" | "negotiate" => {
            out.token = crate::base64::decode(rest, TOKEN_BYTES_MAX).unwrap_or_default();
        }
        _ => {}
    }
    Some(out)
}

/// The value of `name=value` or `name="value"` in a list of parameters.
pub(crate) fn parameter<'a>(list: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    list.split(|byte| matches!(byte, b';' | b','))
        .find_map(|part| {
            let part = part.trim_ascii();
            let (key, value) = part.split_at(part.iter().position(|byte| *byte == b'=')?);
            if !key.eq_ignore_ascii_case(name) {
                return None;
            }
            let value = value.strip_prefix(b"=")?.trim_ascii();
            let unquoted = value.strip_prefix(b"\"").unwrap_or(value);
            Some(unquoted.strip_suffix(b"\"").unwrap_or(unquoted))
        })
}

/// For the mutation loop and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    let budget = ParseBudget::default();
    let _ = head_length(bytes);
    let _ = request(bytes, &budget);
    let _ = response(bytes, &budget);
    let _ = content_range(bytes);
    let _ = chunk_size(bytes);
    let _ = form_user(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: ParseBudget = ParseBudget {
        text_bytes_max: 1024,
        items_max: 32,
        depth_max: 16,
    };

    #[test]
    fn a_request_gives_host_path_and_account() {
        let head = b"POST /a?b=c HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: x/1\r\n\
            Authorization: Basic YWxpY2U6c2VjcmV0\r\nContent-Length: 12\r\n\r\nrest";
        assert_eq!(head_length(head), Some(head.len() - 4));
        let (request, used) = request(head, &BUDGET).unwrap();
        assert_eq!(used, head.len() - 4);
        assert_eq!(
            (&*request.host, &*request.uri),
            ("www.example.org", "/a?b=c")
        );
        assert_eq!(request.body, Body::Length(12));
        let credentials = request.credentials.unwrap();
        assert_eq!(
            (&*credentials.scheme, &*credentials.user),
            ("basic", "alice")
        );
    }

    #[test]
    fn targets_for_proxies_are_taken_apart() {
        let of = |line: &str| {
            request(format!("{line} HTTP/1.1\r\n\r\n").as_bytes(), &BUDGET)
                .unwrap()
                .0
        };
        let absolute = of("GET http://a.example:8080/x");
        assert_eq!((&*absolute.host, &*absolute.uri), ("a.example:8080", "/x"));
        let connect = of("CONNECT b.example:443");
        assert!(connect.proxied && &*connect.host == "b.example:443");
        assert!(!of("GET /?u=http://c.example/").proxied);
    }

    #[test]
    fn a_response_tells_how_its_body_ends() {
        let of = |headers: &str| {
            response(
                format!("HTTP/1.1 200 OK\r\n{headers}\r\n").as_bytes(),
                &BUDGET,
            )
        };
        assert_eq!(of("Content-Length: 5\r\n").unwrap().0.body, Body::Length(5));
        let both = "Content-Length: 5\r\nTransfer-Encoding: gzip, chunked\r\n";
        assert_eq!(of(both).unwrap().0.body, Body::Chunked);
        assert_eq!(of("").unwrap().0.body, Body::UntilClose);
        let named = of("Content-Disposition: attachment; filename=\"a b.exe\"\r\n")
            .unwrap()
            .0;
        assert_eq!(&*named.file_name, "a b.exe");
        assert_eq!(
            response(b"HTTP/1.1 304 Not Modified\r\n\r\n", &BUDGET)
                .unwrap()
                .0
                .body,
            Body::None
        );
    }

    #[test]
    fn chunk_sizes_may_carry_extensions() {
        assert_eq!(chunk_size(b"1a;x=y"), Some(26));
        assert_eq!(chunk_size(b"zz"), None);
        assert_eq!(chunk_size(b"fffffffffffffffff"), None);
    }

    #[test]
    fn a_form_is_a_log_in_only_with_a_password() {
        assert_eq!(form_user(b"log=al%69ce&pwd=x").as_deref(), Some("alice"));
        assert_eq!(form_user(b"user=alice&color=red"), None);
        assert_eq!(form_user(b"%"), None);
    }
}
