//! SSH: banners and offers are read; how the log-in went is estimated from the sizes of what the
//! server sends, as Zeek's analyzer does (documentation of `ssh.log`, field `auth_success`).
//!
//! The arithmetic: with every cipher and MAC, the server's "success" (one byte of payload) is 16
//! bytes shorter on the wire than its "service accepted" (17 bytes), and every "failure" of one
//! server is as long as the other.

use thymus_parsers::ssh::{self, message};
use thymus_schema::{EventBody, Login, Outcome, Service, SshHello, Transport};

use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::framing::{Step, StreamBuffer};

/// Longest line before or in a banner.
const LINE_BYTES_MAX: usize = 1024;
/// A request of at least this size carries a key, not a password (which clients pad to hide it).
const KEY_REQUEST_BYTES: usize = 240;
/// After so many replies without success nothing more is learnt.
const REPLIES_MAX: u32 = 256;

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Ssh,
    transports: &[Transport::Tcp],
    usual_ports: &[22, 2222],
    probe,
    build: || Box::new(SshAnalyzer::default()),
};

fn probe(opening: &Opening<'_>) -> Probe {
    let start = b"SSH-";
    let of = |bytes: &[u8]| {
        if bytes.starts_with(start) {
            Probe::Yes
        } else if start.starts_with(bytes) {
            Probe::More
        } else {
            Probe::No
        }
    };
    match (of(opening.client), of(opening.server)) {
        (Probe::Yes, _) | (_, Probe::Yes) => Probe::Yes,
        (Probe::No, _) | (_, Probe::No) => Probe::No,
        _ => Probe::More,
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Banner,
    Packets,
    Encrypted,
}

#[derive(Default)]
struct SshAnalyzer {
    buffers: [StreamBuffer; 2],
    phases: [Phase; 2],
    hello: Box<SshHello>,
    hello_told: bool,
    auth: Auth,
}

/// What the sizes of encrypted segments say about the log-in.
#[derive(Default)]
struct Auth {
    /// Size of the last segment of the server's turn; 0 when it has not spoken in it.
    turn: usize,
    /// The client has spoken under the new keys.
    begun: bool,
    accept: Option<usize>,
    failure: Option<usize>,
    failures: u32,
    replies: u32,
    /// Size of the last request, and of the one that the turn answers.
    request: usize,
    told: bool,
}

impl Auth {
    /// The client takes its turn: what was the server's last one? True when it let the client in.
    fn turn_ends(&mut self) -> bool {
        let size = std::mem::take(&mut self.turn);
        if size == 0 {
            return false;
        }
        self.replies += 1;
        let Some(accept) = self.accept else {
            self.accept = Some(size);
            return false;
        };
        if size + 16 == accept {
            return true;
        }
        match self.failure {
            // The first answers the question which methods there are.
            None => self.failure = Some(size),
            Some(failure) if size <= failure => self.failures += 1,
            Some(_) => {}
        }
        false
    }
}

impl Analyzer for SshAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let at = usize::from(side == Side::Server);
        if self.phases[at] == Phase::Encrypted {
            return self.encrypted(side, bytes.len(), cx);
        }
        let Self {
            buffers,
            phases,
            hello,
            ..
        } = self;
        let phase = &mut phases[at];
        let mut after_keys = 0;
        let readable = buffers[at].feed(bytes, |bytes| match phase {
            Phase::Banner => match memchr::memchr(b'\n', bytes) {
                Some(end) => {
                    if let Some(software) = ssh::banner(&bytes[..end]) {
                        let field = if at == 0 {
                            &mut hello.client
                        } else {
                            &mut hello.server
                        };
                        *field = software;
                        *phase = Phase::Packets;
                    }
                    Step::Take(end as u64 + 1)
                }
                None if bytes.len() > LINE_BYTES_MAX => Step::Stop,
                None => Step::Need(bytes.len() + 1),
            },
            Phase::Packets => match ssh::packet(bytes) {
                Ok(packet) => {
                    match (packet.message, ssh::hassh(packet.payload)) {
                        (message::KEXINIT, Some((client, _))) if at == 0 => hello.hassh = client,
                        (message::KEXINIT, Some((_, server))) => hello.hassh_server = server,
                        (message::NEWKEYS, _) => *phase = Phase::Encrypted,
                        _ => {}
                    }
                    Step::Take(packet.length as u64)
                }
                Err(Some(needed)) => Step::Need(needed),
                Err(None) => Step::Stop,
            },
            Phase::Encrypted => {
                after_keys = bytes.len();
                Step::Take(bytes.len() as u64)
            }
        });
        if !readable {
            cx.quirk("ssh", "unreadable_packet");
            self.tell(cx);
            cx.detach();
        } else if !self.hello.hassh.is_empty() && !self.hello.hassh_server.is_empty() {
            self.tell_hello(cx);
        }
        // What the server adds to its new keys is an extension, no answer.
        if after_keys > 0 && side == Side::Client {
            self.encrypted(side, after_keys, cx);
        }
    }

    fn gap(&mut self, _side: Side, _missing: u64, cx: &mut AnalyzerCx<'_>) {
        self.tell(cx);
        cx.detach();
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        self.tell(cx);
    }
}

impl SshAnalyzer {
    fn encrypted(&mut self, side: Side, length: usize, cx: &mut AnalyzerCx<'_>) {
        if side == Side::Server {
            if self.auth.begun {
                self.auth.turn = length;
            }
            return;
        }
        self.auth.begun = true;
        if self.auth.turn_ends() {
            self.tell_login(Outcome::Success, cx);
            cx.detach();
        } else if self.auth.replies > REPLIES_MAX {
            self.tell(cx);
            cx.detach();
        }
        self.auth.request = length;
    }

    fn tell(&mut self, cx: &mut AnalyzerCx<'_>) {
        self.tell_hello(cx);
        let success = self.auth.turn_ends();
        if success {
            self.tell_login(Outcome::Success, cx);
        } else if self.auth.failure.is_some() {
            self.tell_login(Outcome::Failure, cx);
        }
    }

    fn tell_hello(&mut self, cx: &mut AnalyzerCx<'_>) {
        let known = !self.hello.client.is_empty() || !self.hello.server.is_empty();
        if !self.hello_told && known {
            self.hello_told = true;
            cx.emit(EventBody::Ssh(self.hello.clone()));
        }
    }

    fn tell_login(&mut self, outcome: Outcome, cx: &mut AnalyzerCx<'_>) {
        if std::mem::replace(&mut self.auth.told, true) {
            return;
        }
        let key = self.auth.request >= KEY_REQUEST_BYTES;
        let success = u32::from(outcome == Outcome::Success);
        cx.emit(EventBody::Login(Box::new(Login {
            service: Some(Service::Ssh),
            outcome,
            method: if key { "key".into() } else { "password".into() },
            client: self.hello.client.clone(),
            attempts: (self.auth.failures + success).max(1),
            ..Login::default()
        })));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    fn packet(message: u8, payload: &[u8]) -> Vec<u8> {
        let inner = payload.len() as u32 + 2 + 4;
        [&inner.to_be_bytes()[..], &[4, message], payload, &[0; 4]].concat()
    }

    fn offer() -> Vec<u8> {
        let mut bytes = vec![7; 16];
        for list in ["kex", "key", "c", "c", "m", "m", "none", "none", "", ""] {
            bytes.extend((list.len() as u32).to_be_bytes());
            bytes.extend(list.bytes());
        }
        bytes.extend([0; 5]);
        packet(message::KEXINIT, &bytes)
    }

    /// Up to the client's first encrypted packet and the server's acceptance of 64 bytes.
    fn talk() -> Talk {
        let mut talk = Talk::tcp(&SPEC, 22);
        talk.server(b"SSH-2.0-OpenSSH_9.6\r\n");
        talk.client(b"SSH-2.0-libssh_0.10\r\n");
        talk.client(&offer());
        talk.server(&offer());
        talk.server(&[packet(message::NEWKEYS, b""), vec![9; 300]].concat());
        talk.client(&packet(message::NEWKEYS, b""));
        talk.client(&[9; 64]);
        talk.server(&[9; 64]);
        talk.client(&[9; 96]);
        talk.server(&[9; 80]);
        talk
    }

    fn login(talk: &Talk) -> &Login {
        let Some(EventBody::Login(login)) = talk.events.last() else {
            panic!("{:?}", talk.events)
        };
        login
    }

    #[test]
    fn failures_are_counted_and_told_at_the_end() {
        let mut talk = talk();
        for _ in 0..3 {
            talk.client(&[9; 144]);
            talk.server(&[9; 80]);
        }
        talk.close();
        assert_eq!(
            (login(&talk).outcome, login(&talk).attempts),
            (Outcome::Failure, 3)
        );
        let EventBody::Ssh(hello) = &talk.events[0] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!(
            (&*hello.client, &*hello.server),
            ("libssh_0.10", "OpenSSH_9.6")
        );
        assert_eq!(hello.hassh.len(), 32);
    }

    #[test]
    fn a_success_is_told_as_soon_as_the_session_goes_on() {
        let mut talk = talk();
        talk.client(&[9; 144]);
        talk.server(&[9; 80]);
        talk.client(&[9; 500]);
        talk.server(&[9; 48]);
        talk.client(&[9; 112]);
        assert!(talk.detached);
        assert_eq!(
            (login(&talk).outcome, &*login(&talk).method),
            (Outcome::Success, "key")
        );
        assert_eq!(login(&talk).attempts, 2);
    }

    #[test]
    fn a_scanner_that_only_reads_the_banner_is_no_login() {
        let mut talk = Talk::tcp(&SPEC, 22);
        assert_eq!(talk.probe(b"", b"SSH-2.0-x\r\n"), Probe::Yes);
        talk.server(b"SSH-2.0-OpenSSH_9.6\r\n");
        talk.close();
        assert!(matches!(&talk.events[..], [EventBody::Ssh(_)]));
    }
}
