//! How odd a single HTTP transaction is, by what was fetched, as what, and by whom it was asked for.

use thymus_schema::HttpTransaction;

use crate::domains;

fn is_program(magic: &str) -> bool {
    matches!(
        magic,
        "pe" | "elf" | "macho" | "dex" | "class" | "msi" | "jar"
    )
}

/// Whether the declared type is one that a program would hide behind.
fn is_disguised(http: &HttpTransaction) -> bool {
    let declared = http.content_type.to_ascii_lowercase();
    let hides = [
        "image/",
        "text/",
        "audio/",
        "video/",
        "font/",
        "application/pdf",
        "application/javascript",
        "application/json",
    ]
    .iter()
    .any(|kind| declared.starts_with(kind));
    let name = http.file_name.to_ascii_lowercase();
    let named = [
        "jpg", "jpeg", "png", "gif", "txt", "css", "html", "php", "pdf", "ico", "dat",
    ]
    .iter()
    .any(|ext| name.rsplit_once('.').is_some_and(|(_, end)| end == *ext));
    // Some servers call every unknown file plain text; its own name then says what it is.
    let honest = ["exe", "msi", "dll", "sh"]
        .iter()
        .any(|ext| name.rsplit_once('.').is_some_and(|(_, end)| end == *ext));
    is_program(&http.magic) && (named || (hides && !(honest && declared.starts_with("text/plain"))))
}

/// Whether a script or a bare tool asked, not a browser or a product.
fn agent_oddity(agent: &str) -> f64 {
    if agent.is_empty() {
        return 0.7;
    }
    let agent = agent.to_ascii_lowercase();
    let tools = [
        "curl",
        "wget",
        "powershell",
        "python",
        "winhttp",
        "certutil",
        "bits",
        "libwww",
        "go-http",
        "java/",
        "perl",
        "ruby",
    ];
    if tools.iter().any(|tool| agent.contains(tool)) {
        0.5
    } else {
        0.0
    }
}

/// The end of the last part of a path, lower case: what kind of thing is asked for.
fn extension(path: &str) -> String {
    let path = path.split(['?', '#', ';']).next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    last.rsplit_once('.')
        .map_or(String::new(), |(_, end)| end.to_ascii_lowercase())
}

/// Whether the path is a page that a program on the server makes.
pub(super) fn is_page(path: &str) -> bool {
    matches!(
        extension(path).as_str(),
        "php" | "asp" | "aspx" | "jsp" | "cgi" | "pl"
    )
}

/// Whether the file is called a program.
fn is_called_program(name: &str) -> bool {
    matches!(
        extension(name).as_str(),
        "exe" | "scr" | "dll" | "msi" | "com" | "pif" | "cpl"
    )
}

/// Whether a name has letters of Latin and of a look-alike alphabet (Unicode TR 39, mixed scripts).
fn mixes_alphabets(name: &str) -> bool {
    let alike = |c: char| matches!(c, '\u{370}'..='\u{3ff}' | '\u{400}'..='\u{52f}');
    name.chars().any(alike) && name.chars().any(|c| c.is_ascii_alphabetic())
}

/// Whether the server says that it sends a program.
fn is_declared_program(content_type: &str) -> bool {
    let declared = content_type.to_ascii_lowercase();
    [
        "application/x-msdownload",
        "application/x-msdos-program",
        "application/x-dosexec",
        "application/vnd.microsoft.portable-executable",
    ]
    .iter()
    .any(|kind| declared.starts_with(kind))
}

/// The odd weight of one transaction with a name for it.
pub(super) fn oddity(http: &HttpTransaction, is_bare: bool, port: u16) -> (f64, &'static str) {
    let ok = http.status == 0 || (200..300).contains(&http.status);
    if !ok {
        return (0.0, "");
    }
    let packed = &*http.magic == "gzip" && is_called_program(&http.file_name);
    if (is_program(&http.magic) || packed) && http.response_len > 0 {
        return program(http, is_bare, port);
    }
    let bare = if is_bare { 0.6 } else { 0.0 };
    let unknown = http.magic.is_empty() && http.response_len > 8_192;
    if unknown && is_declared_program(&http.content_type) {
        return (2.6 + bare, "a program whose contents are hidden");
    }
    let is_script = &*http.magic == "script" && is_bare;
    if is_script && agent_oddity(&http.user_agent) > 0.0 {
        return (2.4, "a script fetched by a script");
    }
    let flash = http.content_type.contains("shockwave-flash");
    if flash && http.response_len > 1_024 && extension(&http.uri) != "swf" {
        return (1.6 + bare, "active content without a file's name");
    }
    let long = http.uri.len() > 600 && domains::entropy(http.uri.as_bytes()) > 5.2 && is_bare;
    if long {
        (1.5, "a very long encoded address")
    } else {
        (0.0, "")
    }
}

fn program(http: &HttpTransaction, is_bare: bool, port: u16) -> (f64, &'static str) {
    let mut weight = 1.5 + agent_oddity(&http.user_agent);
    weight += if is_bare { 1.5 } else { 0.0 };
    weight += if matches!(port, 80 | 8080 | 3128) {
        0.0
    } else {
        0.4
    };
    if is_page(&http.uri) {
        weight += 0.7;
    }
    if &*http.method == "POST" {
        weight += 0.8;
    }
    if mixes_alphabets(&http.file_name) {
        return (weight + 1.5, "a program under a look-alike name");
    }
    if is_disguised(http) {
        (weight + 1.5, "a program under a false type")
    } else {
        (weight, "a program")
    }
}
