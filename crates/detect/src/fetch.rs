//! What a single web request says about who asked, what came back and where from: the evidence that
//! the detectors of downloads, of chains and of odd requests weigh. Weights are parts of a −log10.

use std::net::IpAddr;

use thymus_schema::HttpTransaction;

use crate::cx::DetectCx;

/// Where a request went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// The host's name, or its address, without a port.
    pub(crate) host: &'a str,
    /// Whether the host is an address.
    pub(crate) is_bare: bool,
    /// The server's port.
    pub(crate) port: u16,
    /// Whether the device fetched a page there before.
    pub(crate) visited: bool,
}

/// A weight with what it is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weighed {
    pub(crate) weight: f64,
    pub(crate) what: &'static str,
}

/// The host of a request, without its port.
pub(crate) fn host_of<'a>(http: &'a HttpTransaction, addr: &'a str) -> &'a str {
    let host = if http.host.is_empty() {
        addr
    } else {
        &*http.host
    };
    match host.rsplit_once(':') {
        Some((head, port)) if !head.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => {
            head
        }
        _ => host,
    }
}

/// The address a host is, if it is one.
pub(crate) fn literal(host: &str) -> Option<IpAddr> {
    host.trim_matches(['[', ']']).parse().ok()
}

/// Whether a request stays inside: to a local address, or to a local server that is no proxy.
pub(crate) fn is_inside(http: &HttpTransaction, host: &str, cx: &DetectCx<'_>) -> bool {
    literal(host).is_some_and(|addr| cx.is_local(addr))
        || (cx.server().is_some_and(|server| server.is_local()) && !http.proxied)
}

/// Whether the server gave what was asked for.
pub(crate) fn is_given(http: &HttpTransaction) -> bool {
    http.status == 0 || (200..300).contains(&http.status)
}

/// The end of the last part of a path, lower case: what kind of thing is asked for.
pub(crate) fn extension(path: &str) -> String {
    let path = path.split(['?', '#', ';']).next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    last.rsplit_once('.')
        .map_or(String::new(), |(_, end)| end.to_ascii_lowercase())
}

/// Whether the path is a page that a program on the server makes.
pub(crate) fn is_page(path: &str) -> bool {
    matches!(
        extension(path).as_str(),
        "php" | "asp" | "aspx" | "jsp" | "cgi" | "pl"
    )
}

/// Whether the file is called a program.
fn is_called_program(name: &str) -> bool {
    matches!(
        extension(name).as_str(),
        "exe" | "scr" | "dll" | "msi" | "com" | "pif" | "cpl" | "ocx" | "sys"
    )
}

fn is_windows_program(magic: &str) -> bool {
    matches!(magic, "pe" | "msi" | "pe_masked" | "pe_text")
}

fn is_program(magic: &str) -> bool {
    is_windows_program(magic) || matches!(magic, "elf" | "macho" | "dex" | "class" | "jar")
}

/// How little the asker is like a browser or a named product: nobody, a script, a part of the system
/// or a program that only claims to be a browser.
pub(crate) fn asker(http: &HttpTransaction) -> f64 {
    const TOOLS: [&str; 13] = [
        "curl",
        "wget",
        "powershell",
        "python",
        "winhttp",
        "certutil",
        "microsoft bits",
        "libwww",
        "go-http",
        "java/",
        "perl",
        "ruby",
        "mshta",
    ];
    let agent = http.user_agent.to_ascii_lowercase();
    if agent.is_empty() {
        return 0.7;
    }
    // Quotation marks are left over from the source code of whoever wrote the name down.
    if agent.starts_with(['"', '\'']) {
        return 0.9;
    }
    if TOOLS.iter().any(|tool| agent.contains(tool)) {
        return 0.5;
    }
    // Products say their version (RFC 9110 section 10.1.5); a single word is what somebody typed.
    if agent.len() >= 5 && !agent.contains(['/', ' ', '.']) {
        return 0.4;
    }
    let claims = agent.starts_with("mozilla/");
    if claims && agent.len() < 34 {
        return 0.6;
    }
    // Browsers say which languages their reader wants (RFC 9110 section 12.5.4); programs with a
    // browser's name mostly forget to.
    if claims && !http.headers.is_empty() && !http.headers.contains("accept-language") {
        return 0.6;
    }
    // The compatible mode is how parts of the system that are no browser introduce themselves.
    if agent.contains("msie 7.0; windows nt 6") || agent.contains("msie 7.0; windows nt 10") {
        return 0.4;
    }
    0.0
}

/// Whether the top-level domain is a generic one that few known sites are under: all others with at
/// least one in two thousand of the 100,000 most visited domains (zer0h/top-1000000-domains).
pub(crate) fn is_rare_top(host: &str) -> bool {
    const KNOWN: [&str; 21] = [
        "biz", "club", "com", "edu", "gov", "info", "int", "mil", "mobi", "net", "org", "pro",
        "aero", "app", "dev", "coop", "museum", "name", "cloud", "local", "example",
    ];
    let top = host.rsplit('.').next().unwrap_or_default();
    top.len() >= 3 && top.bytes().all(|b| b.is_ascii_alphabetic()) && !KNOWN.contains(&top)
}

/// Whether a name has letters of Latin and of a look-alike alphabet (Unicode TR 39, mixed scripts).
fn mixes_alphabets(name: &str) -> bool {
    let alike = |c: char| matches!(c, '\u{370}'..='\u{3ff}' | '\u{400}'..='\u{52f}');
    name.chars().any(alike) && name.chars().any(|c| c.is_ascii_alphabetic())
}

/// Names of files that hold no program.
fn is_innocent(name: &str) -> bool {
    matches!(
        extension(name).as_str(),
        "jpg"
            | "jpeg"
            | "png"
            | "gif"
            | "txt"
            | "css"
            | "html"
            | "htm"
            | "pdf"
            | "ico"
            | "xls"
            | "doc"
            | "js"
            | "avi"
            | "mp3"
            | "mp4"
    )
}

/// Whether the declared type or the name is one that a program would hide behind.
fn is_disguised(http: &HttpTransaction) -> bool {
    let declared = &*http.content_type;
    let hides = [
        "image/",
        "text/",
        "audio/",
        "video/",
        "font/",
        "application/pdf",
        "application/javascript",
        "application/json",
        "application/msword",
        "application/vnd.ms-excel",
        "application/vnd.openxml",
    ]
    .iter()
    .any(|kind| declared.starts_with(kind));
    // Some servers call every unknown file plain text; its own name then says what it is.
    let honest = is_called_program(&http.file_name) || extension(&http.file_name) == "sh";
    is_innocent(&http.file_name) || (hides && !(honest && declared.starts_with("text/plain")))
}

/// Whether the server says that it sends a program.
fn is_declared_program(content_type: &str) -> bool {
    [
        "application/x-msdownload",
        "application/x-msdos-program",
        "application/x-dosexec",
        "application/vnd.microsoft.portable-executable",
    ]
    .iter()
    .any(|kind| content_type.starts_with(kind))
}

/// The weight of a program that was fetched, openly or hidden; `None` when none was.
pub(crate) fn program(http: &HttpTransaction, place: Place<'_>) -> Option<Weighed> {
    if !is_given(http) || http.response_len == 0 {
        return None;
    }
    let packed = &*http.magic == "gzip" && is_called_program(&http.file_name);
    if is_program(&http.magic) || packed {
        return Some(open_program(http, place));
    }
    let asked = asker(http);
    let where_from = from(place, 1.3);
    if &*http.magic == "script" && place.is_bare && asked > 0.0 {
        let weight = 1.0 + asked + where_from;
        return Some(Weighed {
            weight,
            what: "a script fetched by a script",
        });
    }
    // Content networks are addressed by number too, by players and updaters that say who they are.
    let where_from = from(place, if asked > 0.0 { 1.3 } else { 0.5 });
    hidden(http, place).map(|hidden| Weighed {
        weight: hidden.weight + asked + where_from,
        ..hidden
    })
}

/// What the place adds: an address instead of a name, an odd port, a rare top-level domain.
fn from(place: Place<'_>, bare: f64) -> f64 {
    let mut weight = if place.is_bare { bare } else { 0.0 };
    if !matches!(place.port, 80 | 8080 | 3128) {
        weight += 0.4;
    }
    if !place.is_bare && is_rare_top(place.host) {
        weight += 0.5;
    }
    weight
}

fn open_program(http: &HttpTransaction, place: Place<'_>) -> Weighed {
    let for_windows = is_windows_program(&http.magic);
    let (mut weight, mut what) = match &*http.magic {
        "pe_masked" => (2.6, "a program under a mask"),
        "pe_text" => (2.0, "a program written as text"),
        _ => (1.0, "a program"),
    };
    // Elsewhere than on Windows, tools without a face are how updates are fetched, and programs
    // have no ending.
    weight += asker(http) * if for_windows { 1.0 } else { 0.5 };
    weight += from(place, 1.3);
    if for_windows {
        if http.referrer.is_empty() && !place.visited {
            weight += 0.2;
        }
        // Installers are large; what is only to load the rest is small.
        if http.response_len < 1_000_000 {
            weight += 0.3;
        }
    }
    if is_page(&http.uri) {
        weight += 0.3;
    }
    if &*http.method == "POST" {
        weight += 0.8;
    }
    if mixes_alphabets(&http.file_name) {
        return Weighed {
            weight: weight + 1.5,
            what: "a program under a look-alike name",
        };
    }
    if is_disguised(http) {
        weight += 1.5;
        if &*http.magic != "pe_masked" {
            what = "a program under a false type";
        }
    } else if for_windows
        && !is_called_program(&http.file_name)
        && !is_archive_like(&http.file_name)
    {
        weight += 0.8;
        if weight < 2.6 {
            what = "a program under a neutral name";
        }
    }
    Weighed { weight, what }
}

/// Endings under which Windows programs travel besides their own.
fn is_archive_like(name: &str) -> bool {
    matches!(
        extension(name).as_str(),
        "cab" | "zip" | "bin" | "upd" | "psf" | "mui" | "ax" | "drv" | "nupkg" | "crx" | "xpi"
    )
}

/// Contents that nobody can read where a program or a picture was promised, or where nothing was.
fn hidden(http: &HttpTransaction, place: Place<'_>) -> Option<Weighed> {
    let unread = matches!(&*http.magic, "" | "gzip");
    let known_shape = matches!(&*http.shape, "binary" | "random");
    if !unread || http.response_len < 8_192 || &*http.shape == "text" {
        return None;
    }
    if is_declared_program(&http.content_type) && (http.magic.is_empty() || known_shape) {
        let what = "a program whose contents are hidden";
        return Some(Weighed { weight: 2.4, what });
    }
    if !known_shape {
        return None;
    }
    let weighed = |weight, what| Some(Weighed { weight, what });
    if is_called_program(&http.file_name) {
        return weighed(1.8, "a program whose contents are hidden");
    }
    let end = extension(&http.uri);
    let is_picture = matches!(
        &*http.content_type,
        "image/png" | "image/jpeg" | "image/gif"
    ) || matches!(end.as_str(), "png" | "jpg" | "jpeg" | "gif");
    if is_picture {
        return weighed(1.0, "a picture that is none");
    }
    // Downloads of products have endings, types of their own or pages that lead to them.
    let is_nameless = end.is_empty() || is_page(&http.uri);
    let is_typed = !http.content_type.is_empty()
        && !http.content_type.starts_with("text/")
        && &*http.content_type != "application/octet-stream";
    if is_innocent(&http.file_name) && &*http.shape == "random" {
        return weighed(1.4, "contents that are not what their name says");
    }
    if !is_nameless || is_typed || is_explained(http, place) {
        return None;
    }
    let lies = http.content_type.starts_with("text/");
    weighed(
        if lies { 1.2 } else { 0.6 },
        "unreadable contents without a name",
    )
}

/// Whether a page leads to the request: it says so, or the reader of the page asked.
fn is_explained(http: &HttpTransaction, place: Place<'_>) -> bool {
    !http.referrer.is_empty() || (place.visited && asker(http) < 0.5)
}

/// The weight of a request as a program's call home: nobody browsed there, and it is not a browser
/// that asks, or it hands over what no form holds.
pub(crate) fn check_in(http: &HttpTransaction, place: Place<'_>) -> f64 {
    if is_explained(http, place) || &*http.method == "CONNECT" {
        return 0.0;
    }
    let asked = asker(http);
    let bare = if place.is_bare { 0.8 } else { 0.0 };
    let top = if is_rare_top(place.host) && !place.is_bare {
        0.4
    } else {
        0.0
    };
    let tiny = if http.response_len <= 100 { 0.2 } else { 0.0 };
    if &*http.method == "POST" {
        let page = if is_page(&http.uri) { 0.5 } else { 0.0 };
        let sealed = match &*http.request_shape {
            "random" => 0.5,
            "binary" | "base64" => 0.4,
            _ => 0.0,
        };
        return 0.2 + asked + bare + page + sealed + tiny + top;
    }
    let answered = http.status != 0 && http.response_len <= 100;
    if &*http.method == "GET" && answered && (asked >= 0.6 || place.is_bare) {
        return asked + bare + tiny + top;
    }
    0.0
}

/// The weight of a file as a lure: an archive, a document or a script over plain HTTP.
pub(crate) fn lure(http: &HttpTransaction) -> Option<Weighed> {
    if !is_given(http) || http.response_len == 0 {
        return None;
    }
    let end = extension(&http.file_name);
    let what = match (&*http.magic, end.as_str()) {
        ("ole" | "rtf", _) | ("zip", "doc" | "docx" | "docm" | "xls" | "xlsx" | "xlsm") => {
            "a document"
        }
        ("lnk", _) => "a shortcut",
        ("swf", "swf") => return None,
        ("swf", _) => "active content without a name",
        ("zip" | "rar" | "7z" | "cab", _) => "an archive",
        (_, "js" | "jse" | "vbs" | "hta" | "wsf" | "ps1" | "bat") if is_attached(http) => {
            "a script"
        }
        _ => return None,
    };
    let made = is_page(&http.uri) || http.uri.contains('?');
    Some(Weighed {
        weight: 0.5 + if made { 0.3 } else { 0.0 },
        what,
    })
}

/// Whether a script was sent to be kept, not to be part of a page.
fn is_attached(http: &HttpTransaction) -> bool {
    http.referrer.is_empty() || extension(&http.uri) != extension(&http.file_name)
}
