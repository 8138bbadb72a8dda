//! Telnet (RFC 854): options taken out, prompts and answers recognised. Whether a log-in worked is a
//! guess from the words around it; the words are those that common systems print.

/// Takes options and control sequences out of a piece of stream. State carries a sequence cut
/// between pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stripper {
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    Command,
    Option,
    Sub,
    SubCommand,
}

const IAC: u8 = 255;

impl Stripper {
    /// Appends the text of `bytes` to `out`, as long as `out` is shorter than `max`.
    pub fn strip(&mut self, bytes: &[u8], out: &mut Vec<u8>, max: usize) {
        for &byte in bytes {
            self.state = match (self.state, byte) {
                (State::Text, IAC) => State::Command,
                (State::Text, _) => {
                    if out.len() < max {
                        out.push(byte);
                    }
                    State::Text
                }
                (State::Command, 251..=254) => State::Option,
                (State::Command, 250) | (State::Sub, _) if byte != IAC => State::Sub,
                (State::Sub, _) => State::SubCommand,
                (State::SubCommand, 240) | (State::Command | State::Option, _) => State::Text,
                (State::SubCommand, _) => State::Sub,
            };
        }
    }
}

/// What the end of a server's text asks for, or says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// An account.
    Login,
    /// A password.
    Password,
    /// A command: a shell is there.
    Shell,
}

/// The prompt at the end of the text, if there is one.
pub fn prompt(text: &[u8]) -> Option<Prompt> {
    let line = text
        .rsplit(|&byte| byte == b'\n' || byte == b'\r')
        .next()?
        .trim_ascii();
    let line = line.to_ascii_lowercase();
    let ends = |word: &[u8]| line.ends_with(word);
    if ends(b"password:") || ends(b"passwd:") || ends(b"passcode:") {
        return Some(Prompt::Password);
    }
    if ends(b"login:") || ends(b"username:") || ends(b"user:") || ends(b"user name:") {
        return Some(Prompt::Login);
    }
    let shell = line.len() <= 80 && [&b"$"[..], b"#", b">", b"%"].iter().any(|end| ends(end));
    shell.then_some(Prompt::Shell)
}

/// Whether the text says that a log-in was refused.
pub fn says_refused(text: &[u8]) -> bool {
    // "Last failed login" is what some systems greet with: single words would mislead.
    const WORDS: [&[u8]; 8] = [
        b"incorrect",
        b"login failed",
        b"authentication failed",
        b"authentication failure",
        b"access denied",
        b"permission denied",
        b"invalid",
        b"bad password",
    ];
    let text = text.to_ascii_lowercase();
    WORDS
        .iter()
        .any(|word| text.windows(word.len()).any(|window| window == *word))
}

/// Whether the stream begins with a negotiation of options.
pub fn looks_like_options(bytes: &[u8]) -> bool {
    matches!(bytes, [IAC, 250..=254, option, ..] if *option <= 60 || *option == 255)
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    let mut out = Vec::new();
    Stripper::default().strip(bytes, &mut out, 4096);
    debug_assert!(out.len() <= bytes.len().min(4096));
    debug_assert!(prompt(&out).is_none() || !out.is_empty());
    debug_assert!(!says_refused(&out) || out.len() >= 6);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_taken_out_even_when_cut() {
        let stream = b"\xff\xfd\x18lo\xff\xfa\x18\x00xterm\xff\xf0gin: \xff\xffx";
        let mut whole = Vec::new();
        Stripper::default().strip(stream, &mut whole, 99);
        assert_eq!(whole, b"login: x");
        let (mut stripper, mut out) = (Stripper::default(), Vec::new());
        for byte in stream {
            stripper.strip(&[*byte], &mut out, 99);
        }
        assert_eq!(out, whole);
    }

    #[test]
    fn prompts_and_refusals_are_known() {
        assert_eq!(prompt(b"Welcome\r\nhost login: "), Some(Prompt::Login));
        assert_eq!(prompt(b"Password:"), Some(Prompt::Password));
        assert_eq!(prompt(b"root@box:~# "), Some(Prompt::Shell));
        assert_eq!(prompt(b"hello"), None);
        assert!(says_refused(b"\r\nLogin incorrect\r\n"));
        assert!(!says_refused(b"Last failed login: Fri"));
    }
}
