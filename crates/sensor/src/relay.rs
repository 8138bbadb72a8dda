//! Packets on their way from the capturing process to the analysing one: messages over a local socket
//! (SOCK_SEQPACKET, unix(7)), which are whole or not there, so that a process killed in the middle of one
//! tears nothing.
//!
//! ```text
//! 1 · packets u32 · per packet: time i64, captured u32, on the wire u32 · their bytes, one after another
//! 2 · a report as JSON
//! 3 · what the supervisor says, which is its own business
//! ```
//! Who analyses is less to be trusted than who captures: nothing is ever read from it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use serde::{Deserialize, Serialize};

use crate::block::PacketBlock;
use crate::interface::Interface;
use crate::ring::RingReport;
use crate::sensor::Shortfall;

/// Largest message: it has to fit the socket's buffer, of which the kernel gives this much to anybody.
const MESSAGE_MAX: usize = 128 << 10;
/// Bytes of packets in a message; one packet that is longer is cut to it, and its length stays told.
const PACKETS_MAX: usize = MESSAGE_MAX - 5 - RECORD;
const RECORD: usize = 16;
/// Asked for; the kernel gives what it allows.
const BUFFER: usize = 1 << 20;

const PACKETS: u8 = 1;
const REPORT: u8 = 2;
const TOLD: u8 = 3;

/// How a capture stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureReport {
    /// Tells one start of the capturing process from another.
    pub started: i64,
    /// What is captured.
    pub interface: Interface,
    /// Whether it is switched off.
    pub is_down: bool,
    /// What was missed since the start.
    pub shortfall: Shortfall,
    /// How the keeping of packets stands, where they are kept.
    pub ring: Option<RingReport>,
    /// Which packets are captured, where not all are.
    pub filter: Option<String>,
    /// It has ended, as it was asked to: nothing comes any more.
    pub ended: bool,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relayed {
    /// The next packets are in the block.
    Packets,
    /// How the capture stands.
    Report(Box<CaptureReport>),
    /// What the supervisor says.
    Told(Vec<u8>),
    /// Nothing came in that time.
    Nothing,
    /// Nobody is left who could send.
    Closed,
}

/// The two ends of a way for packets: where they are put in, and where they come out.
///
/// # Errors
/// When the system gives no sockets.
pub fn relay() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    let (into, out) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    // More room is a favour that may be refused.
    let _is_given = set_socket_send_buffer_size(&into, BUFFER).is_ok();
    let _is_given = set_socket_recv_buffer_size(&out, BUFFER).is_ok();
    Ok((into, out))
}

/// Whether a message waits at this end, which may be asked by who does not read it.
///
/// # Errors
/// When the socket is broken.
pub fn is_waiting(end: impl AsFd, wait: Duration) -> io::Result<bool> {
    ready(end, PollFlags::IN, wait)
}

/// The end where packets are put in.
#[derive(Debug)]
pub struct RelaySender<F> {
    socket: F,
    message: Vec<u8>,
}

impl<F: AsFd> RelaySender<F> {
    /// Over one end of [`relay`].
    pub fn new(socket: F) -> Self {
        Self {
            socket,
            message: Vec::with_capacity(MESSAGE_MAX),
        }
    }

    /// Sends the packets of a block, waiting for room as long as `patient` says so; whether all were sent.
    ///
    /// # Errors
    /// When nobody is left who could read.
    pub fn packets(&mut self, block: &PacketBlock, patient: impl Fn() -> bool) -> io::Result<bool> {
        let mut records = block.records();
        while !records.is_empty() {
            let mut bytes = 0;
            let fits = records.iter().take_while(|record| {
                bytes += RECORD + record.len as usize;
                bytes <= PACKETS_MAX
            });
            let (now, later) = records.split_at(fits.count().max(1));
            records = later;
            self.message.clear();
            self.message.push(PACKETS);
            self.message
                .extend_from_slice(&(now.len() as u32).to_le_bytes());
            for record in now {
                let len = record.len.min(PACKETS_MAX as u32);
                self.message.extend_from_slice(&record.ts.to_le_bytes());
                self.message.extend_from_slice(&len.to_le_bytes());
                self.message
                    .extend_from_slice(&record.wire_len.to_le_bytes());
            }
            for record in now {
                let packet = block.packet(record);
                let packet = packet.get(..PACKETS_MAX).unwrap_or(packet);
                self.message.extend_from_slice(packet);
            }
            if !self.send(&patient)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sends a report; whether it was sent.
    ///
    /// # Errors
    /// When nobody is left who could read.
    pub fn report(
        &mut self,
        report: &CaptureReport,
        patient: impl Fn() -> bool,
    ) -> io::Result<bool> {
        self.message.clear();
        self.message.push(REPORT);
        serde_json::to_writer(&mut self.message, report)?;
        self.send(&patient)
    }

    /// Sends what both ends know how to read, of at most 128 KiB; whether it was sent.
    ///
    /// # Errors
    /// When nobody is left who could read.
    pub fn tell(&mut self, what: &[u8], patient: impl Fn() -> bool) -> io::Result<bool> {
        self.message.clear();
        self.message.push(TOLD);
        self.message.extend_from_slice(what);
        self.send(&patient)
    }

    fn send(&self, patient: &impl Fn() -> bool) -> io::Result<bool> {
        loop {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match send(&self.socket, &self.message, flags) {
                Ok(_) => return Ok(true),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            if !patient() {
                return Ok(false);
            }
            ready(&self.socket, PollFlags::OUT, Duration::from_millis(50))?;
        }
    }
}

/// The end where packets come out.
#[derive(Debug)]
pub struct RelayReceiver<F> {
    socket: F,
    message: Vec<u8>,
}

impl<F: AsFd> RelayReceiver<F> {
    /// Over the other end of [`relay`].
    pub fn new(socket: F) -> Self {
        Self {
            socket,
            message: vec![0; MESSAGE_MAX],
        }
    }

    /// Takes the next message, waiting for it at most `wait`; packets go in the place of those in `block`.
    ///
    /// # Errors
    /// When the socket is broken, or a message is not one.
    pub fn read(&mut self, block: &mut PacketBlock, wait: Duration) -> io::Result<Relayed> {
        block.clear();
        if !ready(&self.socket, PollFlags::IN, wait)? {
            return Ok(Relayed::Nothing);
        }
        let got = match recv(
            &self.socket,
            self.message.as_mut_slice(),
            RecvFlags::DONTWAIT,
        ) {
            Ok((_, got)) => got,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Relayed::Nothing),
            Err(Errno::CONNRESET) => return Ok(Relayed::Closed),
            Err(errno) => return Err(errno.into()),
        };
        let message = self.message.get(..got).unwrap_or_default();
        match message.split_first() {
            None => Ok(Relayed::Closed),
            Some((&REPORT, report)) => Ok(Relayed::Report(serde_json::from_slice(report)?)),
            Some((&TOLD, what)) => Ok(Relayed::Told(what.to_vec())),
            Some((&PACKETS, rest)) => {
                unpack(rest, block).ok_or_else(foreign)?;
                Ok(Relayed::Packets)
            }
            Some(_) => Err(foreign()),
        }
    }
}

fn unpack(rest: &[u8], block: &mut PacketBlock) -> Option<()> {
    let (count, rest) = rest.split_first_chunk::<4>()?;
    let records = RECORD.checked_mul(u32::from_le_bytes(*count) as usize)?;
    let (records, mut bytes) = rest.split_at_checked(records)?;
    for record in records.chunks_exact(RECORD) {
        let (ts, lens) = record.split_first_chunk::<8>()?;
        let (len, wire_len) = lens.split_first_chunk::<4>()?;
        let wire_len = wire_len.first_chunk::<4>()?;
        let (packet, others) = bytes.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        bytes = others;
        block.push(
            i64::from_le_bytes(*ts),
            u32::from_le_bytes(*wire_len),
            packet,
            None,
        );
    }
    bytes.is_empty().then_some(())
}

fn foreign() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the capturing process sent what this version does not know",
    )
}

fn ready(socket: impl AsFd, what: PollFlags, wait: Duration) -> io::Result<bool> {
    let wait = Timespec::try_from(wait).ok();
    let mut polled = [PollFd::new(&socket, what)];
    match poll(&mut polled, wait.as_ref()) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn block(sizes: &[usize]) -> PacketBlock {
        let mut block = PacketBlock::default();
        for (n, size) in sizes.iter().enumerate() {
            block.push(n as i64 - 1, *size as u32 + 4, &vec![n as u8; *size], None);
        }
        block
    }

    fn report() -> CaptureReport {
        let net = ipnet::IpNet::new(IpAddr::from([10, 0, 0, 0]), 8).unwrap();
        CaptureReport {
            started: 7,
            interface: Interface {
                name: "eth\"0".to_owned(),
                link_type: 1,
                is_loopback: false,
                is_up: true,
                networks: vec![net],
            },
            is_down: true,
            shortfall: Shortfall {
                kernel: 1,
                queue: 2,
            },
            ring: None,
            filter: Some("ip".to_owned()),
            ended: false,
        }
    }

    #[test]
    fn what_goes_in_comes_out_over_as_many_messages_as_it_takes() {
        let (into, out) = relay().unwrap();
        let sizes = [0, 1, 60, 1_514, 65_535, 60_000, 9_000, 70_000, 3];
        let sent = block(&sizes);
        let reading = std::thread::spawn(move || {
            let mut receiver = RelayReceiver::new(out);
            let (mut got, mut all) = (PacketBlock::default(), Vec::new());
            loop {
                match receiver.read(&mut got, Duration::from_mins(1)).unwrap() {
                    Relayed::Packets => {
                        let one = |r| (got.packet(r).to_vec(), r.ts, r.wire_len);
                        all.extend(got.records().iter().map(one));
                    }
                    Relayed::Report(got) => {
                        assert_eq!(*got, report());
                    }
                    Relayed::Told(what) => assert_eq!(what, b"{}"),
                    Relayed::Closed => return all,
                    Relayed::Nothing => panic!("too slow"),
                }
            }
        });
        let mut sender = RelaySender::new(into);
        assert!(sender.report(&report(), || true).unwrap());
        assert!(sender.packets(&sent, || true).unwrap());
        assert!(sender.tell(b"{}", || true).unwrap());
        drop(sender);
        let one = |r| (sent.packet(r).to_vec(), r.ts, r.wire_len);
        let wanted: Vec<_> = sent.records().iter().map(one).collect();
        assert_eq!(reading.join().unwrap(), wanted);
    }

    #[test]
    fn a_packet_longer_than_a_message_is_cut_and_its_length_told() {
        let (into, out) = relay().unwrap();
        let sent = block(&[200_000]);
        assert!(RelaySender::new(into).packets(&sent, || true).unwrap());
        let mut got = PacketBlock::default();
        let mut receiver = RelayReceiver::new(out);
        receiver.read(&mut got, Duration::ZERO).unwrap();
        let record = got.records()[0];
        assert_eq!(record.len as usize, PACKETS_MAX);
        assert_eq!(record.wire_len, 200_004);
    }

    #[test]
    fn who_waits_for_room_can_be_told_to_stop() {
        let (into, _out) = relay().unwrap();
        let mut sender = RelaySender::new(into);
        let sent = block(&[60_000; 200]);
        assert!(!sender.packets(&sent, || false).unwrap());
    }

    #[test]
    fn a_message_that_is_none_is_an_error_and_not_a_crash() {
        let (into, out) = relay().unwrap();
        let mut receiver = RelayReceiver::new(&out);
        let mut got = PacketBlock::default();
        for message in [
            &[9][..],
            &[1],
            &[1, 255, 255, 255, 255],
            &[1, 1, 0, 0, 0, 1],
            &[2, b'{'],
        ] {
            send(&into, message, SendFlags::empty()).unwrap();
            assert!(
                receiver.read(&mut got, Duration::ZERO).is_err(),
                "{message:?}"
            );
        }
    }
}
