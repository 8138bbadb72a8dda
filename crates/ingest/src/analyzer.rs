//! The seam between flows and protocols. The flow table hands an analyzer the bytes of one
//! conversation; the analyzer uses `parsers` to read them and emits events. One file per protocol in
//! `analyzers/`, one line each in [`crate::ANALYZERS`].

use thymus_schema::{Conn, EventBody, QuirkSeen, Service, Timestamp, Transport};

use crate::carve::Carver;

/// Who sent the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The side that began the conversation.
    Client,
    /// The side that answered.
    Server,
}

impl Side {
    /// The other side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// What a look at the first bytes says about a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It is this protocol.
    Yes,
    /// It cannot be.
    No,
    /// More bytes are needed to tell.
    More,
}

/// The first bytes of a conversation, as far as they have come (at most a few hundred each side).
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// What carries it.
    pub transport: Transport,
    /// First bytes from the client.
    pub client: &'a [u8],
    /// First bytes from the server.
    pub server: &'a [u8],
    /// Ports, as a weak hint for protocols without a signature: never enough alone.
    pub client_port: u16,
    /// The server's port.
    pub server_port: u16,
}

impl<'a> Opening<'a> {
    /// What was said first as far as is known: the client's bytes, the server's where it has said
    /// nothing.
    pub const fn first(&self) -> &'a [u8] {
        if self.client.is_empty() {
            self.server
        } else {
            self.client
        }
    }
}

/// Reads one conversation. Built when its protocol is recognised, then given every byte from the
/// first. Must bound its own buffers (streams are endless) and must not assume that it sees both
/// sides, whole messages, or well-formed ones.
pub trait Analyzer: Send {
    /// The next bytes of the stream from `side`, in order (TCP), or one datagram (UDP).
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>);

    /// `missing` bytes of `side` were lost or not captured; what follows comes after the hole.
    fn gap(&mut self, _side: Side, _missing: u64, cx: &mut AnalyzerCx<'_>) {
        cx.detach();
    }

    /// The conversation is over, or the analyzer has just detached: emit what is still half-known.
    /// Called once, last.
    fn close(&mut self, _cx: &mut AnalyzerCx<'_>) {}
}

/// A protocol's registration.
pub struct AnalyzerSpec {
    /// The protocol.
    pub service: Service,
    /// Whether it can run over TCP, UDP or both.
    pub transports: &'static [Transport],
    /// Ports it usually has: probed first there. Content decides.
    pub usual_ports: &'static [u16],
    /// Recognises it by content.
    pub probe: fn(&Opening<'_>) -> Probe,
    /// Makes a reader for one conversation.
    pub build: fn() -> Box<dyn Analyzer>,
}

/// What an analyzer may know and do during one call.
pub struct AnalyzerCx<'a> {
    /// Time of the packet at hand.
    pub now: Timestamp,
    /// The conversation.
    pub conn: &'a Conn,
    pub(crate) out: &'a mut Vec<EventBody>,
    pub(crate) service: &'a mut Option<Service>,
    pub(crate) detached: &'a mut bool,
    /// Which sides have said all they will, by their FIN.
    pub(crate) ended: [bool; 2],
    pub(crate) carver: &'a mut Carver,
}

impl AnalyzerCx<'_> {
    /// Emits an event of this conversation at the present time.
    pub fn emit(&mut self, body: EventBody) {
        self.out.push(body);
    }

    /// Emits that something was malformed.
    pub fn quirk(&mut self, parser: &'static str, quirk: &str) {
        let quirk = QuirkSeen {
            parser: parser.into(),
            quirk: quirk.into(),
        };
        self.out.push(EventBody::Quirk(quirk));
    }

    /// Corrects what the conversation is (HTTP that turns out to be WinRM, STARTTLS, a tunnel).
    pub fn set_service(&mut self, service: Service) {
        *self.service = Some(service);
    }

    /// No more bytes are wanted: the rest of the conversation is only counted. Analyzers call this
    /// as soon as they can; it is what makes bulk transfers cheap.
    pub fn detach(&mut self) {
        *self.detached = true;
    }
}
