//! How a connection went, and its history letters, after the documentation of Zeek's `conn.log`
//! (`conn_state`, `history`).

use thymus_parsers::packet::TcpFlags;
use thymus_schema::{ConnState, Transport};

use crate::analyzer::Side;

/// Where one end of a TCP connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing seen from it.
    #[default]
    Silent,
    /// It sent SYN.
    SynSent,
    /// It sent SYN and ACK, though it is the client.
    SynAckSent,
    /// Seen in the middle of a conversation.
    Partial,
    /// Its SYN was answered, or it answered one.
    Established,
    /// It sent FIN.
    Closed,
    /// It sent RST.
    Reset,
}

/// Both ends of a TCP connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ends {
    client: End,
    server: End,
    /// Which ends had sent FIN before they sent RST.
    closed_before_reset: [bool; 2],
}

impl Ends {
    fn get(self, side: Side) -> End {
        match side {
            Side::Client => self.client,
            Side::Server => self.server,
        }
    }

    fn set(&mut self, side: Side, end: End) {
        match side {
            Side::Client => self.client = end,
            Side::Server => self.server = end,
        }
    }

    /// Whether the handshake was seen from both ends.
    pub(crate) fn is_established(self) -> bool {
        self.client == End::Established && self.server == End::Established
    }

    /// Whether only one end has been heard.
    pub(crate) fn is_attempt(self) -> bool {
        matches!(self.client, End::SynSent) && self.server == End::Silent
    }

    /// Whether both ends sent FIN.
    pub(crate) fn is_closed(self) -> bool {
        self.client == End::Closed && self.server == End::Closed
    }

    /// Whether an end sent RST.
    pub(crate) fn is_reset(self) -> bool {
        self.client == End::Reset || self.server == End::Reset
    }

    /// Whether an end sent FIN.
    pub(crate) fn is_half_closed(self) -> bool {
        self.client == End::Closed || self.server == End::Closed
    }

    /// Takes a segment with `flags` and `len` payload bytes from `side` into account.
    pub(crate) fn segment(&mut self, side: Side, flags: TcpFlags, len: u32) {
        match self.get(side) {
            End::Silent => self.first(side, flags, len),
            End::SynSent | End::SynAckSent => {
                if flags.fin() {
                    self.set(side, End::Closed);
                }
                if flags.rst() {
                    self.set(side, End::Reset);
                }
            }
            End::Established | End::Partial => self.running(side, flags),
            End::Closed => {
                let other_closed = self.get(side.other()) == End::Closed;
                if flags.rst() && !other_closed {
                    self.closed_before_reset[side as usize] = true;
                    self.set(side, End::Reset);
                }
            }
            End::Reset => {}
        }
    }

    /// The first segment heard from an end.
    fn first(&mut self, side: Side, flags: TcpFlags, len: u32) {
        let other = side.other();
        if flags.syn() {
            match (side, flags.ack()) {
                (Side::Client, false) => self.set(side, End::SynSent),
                (Side::Client, true) => self.set(side, End::SynAckSent),
                (Side::Server, _) => {
                    if self.get(other) == End::SynSent {
                        self.set(other, End::Established);
                    }
                    self.set(side, End::Established);
                }
            }
        }
        if flags.fin() {
            self.set(side, End::Closed);
        }
        if flags.rst() {
            self.set(side, End::Reset);
        }
        if self.get(side) != End::Silent {
            return;
        }
        let early_ack = side == Side::Server && len == 0 && self.client == End::SynSent;
        if early_ack {
            return;
        }
        let joined = flags.ack() && self.get(other) == End::Established;
        self.set(
            side,
            if joined {
                End::Established
            } else {
                End::Partial
            },
        );
    }

    fn running(&mut self, side: Side, flags: TcpFlags) {
        let other = side.other();
        let lone_partial = self.get(side) == End::Partial && self.get(other) == End::Silent;
        if flags.syn() && !flags.ack() && lone_partial {
            self.set(side, End::SynSent);
        }
        if flags.fin() && !flags.rst() {
            self.set(side, End::Closed);
            // FIN, RST and then the other's FIN is an ordinary end.
            if self.get(other) == End::Reset && self.closed_before_reset[other as usize] {
                self.set(other, End::Closed);
            }
        }
        if flags.rst() {
            self.set(side, End::Reset);
        }
    }

    /// The connection's state in Zeek's terms.
    pub(crate) fn state(self, payload_seen: bool, history: &History) -> ConnState {
        let (client, server) = (self.client, self.server);
        let silent = |end| matches!(end, End::Silent | End::Partial);
        match (client, server) {
            (End::SynSent | End::SynAckSent, End::Reset) => ConnState::Rej,
            (End::Reset, End::Reset) if !payload_seen => ConnState::Rej,
            (client, End::Reset) if silent(client) => ConnState::Rstrh,
            (_, End::Reset) => ConnState::Rstr,
            (End::Reset, server) if silent(server) => {
                if history.is_syn_then_reset() {
                    ConnState::Rstos0
                } else {
                    ConnState::Oth
                }
            }
            (End::Reset, _) => ConnState::Rsto,
            (End::Closed, End::Closed) => ConnState::Sf,
            (End::Closed, server) if silent(server) => ConnState::Sh,
            (End::Closed, _) => ConnState::S2,
            (client, End::Closed) if silent(client) => ConnState::Shr,
            (_, End::Closed) => ConnState::S3,
            (End::SynSent, End::Silent) => ConnState::S0,
            (End::Established, End::Established) => ConnState::S1,
            _ => ConnState::Oth,
        }
    }
}

/// The state of a conversation without connections.
pub(crate) fn datagram_state(transport: Transport, client: bool, server: bool) -> ConnState {
    match (transport, client, server) {
        (Transport::Udp, true, true) => ConnState::Sf,
        (Transport::Udp, true, false) => ConnState::S0,
        (Transport::Udp, false, true) => ConnState::Shr,
        _ => ConnState::Oth,
    }
}

/// Letters kept of a history; floods of resets and retransmissions fill no more.
const LETTERS_MAX: usize = 30;

/// The history letters of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct History {
    letters: [u8; LETTERS_MAX],
    len: u8,
    /// Letters seen once, by side.
    once: [u16; 2],
    /// Sequence numbers of the last SYN, FIN and RST of each side.
    last: [[u32; 3]; 2],
    /// How often the counted letters (gap, retransmission, zero window) came, by side.
    counted: [[u32; 3]; 2],
}

/// Letters that are noted once a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Once {
    /// `d`.
    Data,
    /// `a`.
    Ack,
    /// `i`.
    Inconsistent,
    /// `q`.
    MultiFlag,
}

/// Letters that are noted at the first, tenth, hundredth … time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// `g`.
    Gap,
    /// `t`.
    Retransmission,
    /// `w`.
    ZeroWindow,
}

impl History {
    /// The letters.
    pub(crate) fn as_str(&self) -> &str {
        let letters = self
            .letters
            .get(..usize::from(self.len))
            .unwrap_or_default();
        std::str::from_utf8(letters).unwrap_or_default()
    }

    /// Notes that the direction was turned round by a heuristic.
    pub(crate) fn flipped(&mut self) {
        self.push(b'^', Side::Server);
    }

    fn push(&mut self, letter: u8, side: Side) {
        if let Some(slot) = self.letters.get_mut(usize::from(self.len)) {
            *slot = if side == Side::Client {
                letter.to_ascii_uppercase()
            } else {
                letter
            };
            self.len += 1;
        }
    }

    /// Notes a letter unless this side has it already.
    pub(crate) fn once(&mut self, side: Side, what: Once) {
        let bit = 1 << (what as u16);
        if self.once[side as usize] & bit != 0 {
            return;
        }
        self.once[side as usize] |= bit;
        let letter = match what {
            Once::Data => b'd',
            Once::Ack => b'a',
            Once::Inconsistent => b'i',
            Once::MultiFlag => b'q',
        };
        self.push(letter, side);
    }

    /// Notes a letter each time the count reaches a power of ten.
    pub(crate) fn counted(&mut self, side: Side, what: Counted) {
        let count = &mut self.counted[side as usize][what as usize];
        *count = count.saturating_add(1);
        if !matches!(count, 1 | 10 | 100 | 1_000 | 10_000 | 100_000 | 1_000_000) {
            return;
        }
        let letter = match what {
            Counted::Gap => b'g',
            Counted::Retransmission => b't',
            Counted::ZeroWindow => b'w',
        };
        self.push(letter, side);
    }

    /// Notes a letter when its sequence number is not that of the last one.
    fn numbered(&mut self, side: Side, kind: usize, letter: u8, seq: u32) {
        let bit = 1 << (8 + kind);
        let again = self.once[side as usize] & bit != 0;
        if again && self.last[side as usize][kind] == seq {
            return;
        }
        self.once[side as usize] |= bit;
        self.last[side as usize][kind] = seq;
        self.push(letter, side);
    }

    /// Notes a TCP segment.
    pub(crate) fn segment(&mut self, side: Side, flags: TcpFlags, seq: u32, len: u32) {
        let control = flags.0 & (TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST);
        match control {
            0 if len > 0 => self.once(side, Once::Data),
            0 if flags.ack() => self.once(side, Once::Ack),
            0 => {}
            TcpFlags::SYN if flags.ack() => self.numbered(side, 0, b'h', seq),
            TcpFlags::SYN => self.numbered(side, 0, b's', seq),
            TcpFlags::FIN => self.numbered(side, 1, b'f', seq.wrapping_add(len)),
            TcpFlags::RST => self.numbered(side, 2, b'r', seq),
            _ if flags.fin() && flags.rst() => self.once(side, Once::Inconsistent),
            _ => self.once(side, Once::MultiFlag),
        }
    }

    /// Whether the client's SYN was followed by its RST with nothing between that shows a connection.
    fn is_syn_then_reset(&self) -> bool {
        let text = self.as_str();
        let text = text.strip_prefix('^').unwrap_or(text);
        let Some(rest) = text.strip_prefix('S') else {
            return false;
        };
        let Some((between, _)) = rest.split_once('R') else {
            return false;
        };
        !between.contains(['H', 'A', 'F', 'G', 'I', 'Q'])
    }
}
