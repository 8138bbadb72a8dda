//! Sockets that others send to: exporters of flows, and syslog.

use std::io::IoSliceMut;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};

use crate::block::PacketBlock;
use crate::error::SensorError;
use crate::interface::Interface;
use crate::listen_packet::{datagram, segment};
use crate::sensor::Catch;
use crate::tap::Filled;

/// Packets that begin with the IP header (LINKTYPE_RAW).
const RAW_IP: u32 = 101;
/// A block is handed over when it holds so much.
const BLOCK_BYTES: usize = 512 << 10;
/// Read from one socket before the others have their turn.
const TURN_MAX: usize = 256;
/// Connections at a time; another one takes the place of the one that was silent the longest.
const CONNECTIONS_MAX: usize = 256;
/// Read from a connection at a time.
const PIECE_BYTES: usize = 32 << 10;

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenOn {
    /// The address and port.
    pub address: SocketAddr,
    /// Whether connections are taken beside datagrams.
    pub streams: bool,
}

/// Open sockets.
#[derive(Debug)]
pub struct Listener {
    interface: Interface,
    datagrams: Vec<Datagrams>,
    listeners: Vec<TcpListener>,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    packet: Vec<u8>,
    /// When the last of it came.
    newest: i64,
    dropped: u64,
    turns: u64,
}

#[derive(Debug)]
struct Datagrams {
    socket: UdpSocket,
    local: SocketAddr,
    /// What the kernel had no room for, by its own count.
    overflow: u32,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    from: SocketAddr,
    local: SocketAddr,
    /// Place in the stream.
    at: u32,
    /// When it said something, in turns.
    heard: u64,
}

impl Listener {
    /// Opens the sockets; the kernel is asked to hold `buffer_bytes` for each that datagrams come to. `name`
    /// is what the whole is called.
    ///
    /// # Errors
    /// When an address cannot be listened on.
    pub fn open(name: &str, on: &[ListenOn], buffer_bytes: usize) -> Result<Self, SensorError> {
        let (mut datagrams, mut listeners) = (Vec::new(), Vec::new());
        for ListenOn { address, streams } in on {
            let error = |source| SensorError::Listen {
                address: address.to_string(),
                source,
            };
            let socket = UdpSocket::bind(address).map_err(error)?;
            // More room is a favour: with the right for it as much as is asked for, else what the machine
            // allows everybody.
            let _is_given = set_socket_recv_buffer_size_force(&socket, buffer_bytes).is_ok()
                || set_socket_recv_buffer_size(&socket, buffer_bytes).is_ok();
            let _is_counted = setsockopt(&socket, sockopt::RxqOvfl, &1).is_ok();
            setsockopt(&socket, sockopt::ReceiveTimestampns, &true)
                .map_err(|errno| error(errno.into()))?;
            let local = socket.local_addr().map_err(error)?;
            if *streams {
                let listener = TcpListener::bind(local).map_err(error)?;
                listener.set_nonblocking(true).map_err(error)?;
                listeners.push(listener);
            }
            datagrams.push(Datagrams {
                socket,
                local,
                overflow: 0,
            });
        }
        Ok(Self {
            interface: Interface {
                name: name.to_owned(),
                link_type: RAW_IP,
                is_loopback: false,
                is_up: true,
                networks: Vec::new(),
            },
            datagrams,
            listeners,
            connections: Vec::new(),
            buffer: vec![0; 65_536],
            packet: Vec::new(),
            newest: 0,
            dropped: 0,
            turns: 0,
        })
    }

    /// The addresses that datagrams come to, in the order in which they were given.
    pub fn local(&self) -> Vec<SocketAddr> {
        self.datagrams.iter().map(|socket| socket.local).collect()
    }

    /// Waits until something came.
    fn wait(&self, wait: Duration) -> Result<(), SensorError> {
        let sockets = self.datagrams.iter().map(|socket| socket.socket.as_fd());
        let listeners = self.listeners.iter().map(AsFd::as_fd);
        let connections = self
            .connections
            .iter()
            .map(|connection| connection.stream.as_fd());
        let all = sockets.chain(listeners).chain(connections);
        let mut polled: Vec<PollFd<'_>> =
            all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
        match poll(&mut polled, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(SensorError::System {
                name: self.interface.name.clone(),
                step: "wait for datagrams",
                source: errno.into(),
            }),
        }
    }

    /// Takes what is there, without waiting.
    fn take(&mut self, block: &mut PacketBlock) {
        self.turns += 1;
        for at in 0..self.datagrams.len() {
            for _ in 0..TURN_MAX {
                if block.size() >= BLOCK_BYTES || !self.take_datagram(at, block) {
                    break;
                }
            }
        }
        self.take_connections();
        let mut at = 0;
        while at < self.connections.len() {
            let goes_on = block.size() >= BLOCK_BYTES || self.take_piece(at, block);
            if goes_on {
                at += 1;
            } else {
                self.connections.swap_remove(at);
            }
        }
    }

    /// Takes a datagram of a socket; `false` when there is none.
    fn take_datagram(&mut self, at: usize, block: &mut PacketBlock) -> bool {
        let Some(socket) = self.datagrams.get_mut(at) else {
            return false;
        };
        let Ok(received) = receive(&socket.socket, &mut self.buffer) else {
            return false;
        };
        if let Some(count) = received.overflow {
            self.dropped += u64::from(count.wrapping_sub(socket.overflow));
            socket.overflow = count;
        }
        self.newest = received.stamp.unwrap_or_else(clock);
        let payload = self.buffer.get(..received.len).unwrap_or_default();
        if let Some(from) = received.from {
            datagram(from, socket.local, payload, &mut self.packet);
            block.push(self.newest, self.packet.len() as u32, &self.packet, None);
        }
        true
    }

    fn take_connections(&mut self) {
        for listener in &self.listeners {
            while let Ok((stream, from)) = listener.accept() {
                let (Ok(()), Ok(local)) = (stream.set_nonblocking(true), stream.local_addr())
                else {
                    continue;
                };
                if self.connections.len() >= CONNECTIONS_MAX {
                    let silent = self
                        .connections
                        .iter()
                        .enumerate()
                        .min_by_key(|(_, it)| it.heard);
                    if let Some((at, _)) = silent {
                        self.connections.swap_remove(at);
                    }
                    self.dropped += 1;
                }
                self.connections.push(Connection {
                    stream,
                    from,
                    local,
                    at: 0,
                    heard: self.turns,
                });
            }
        }
    }

    /// Takes what a connection sent; `false` when it has ended.
    fn take_piece(&mut self, at: usize, block: &mut PacketBlock) -> bool {
        let Some(connection) = self.connections.get_mut(at) else {
            return false;
        };
        let room = self.buffer.get_mut(..PIECE_BYTES).unwrap_or_default();
        let received = match receive(&connection.stream, room) {
            Ok(received) => received,
            Err(Errno::EAGAIN | Errno::EINTR) => return true,
            Err(_) => Received::default(),
        };
        let piece = self.buffer.get(..received.len).unwrap_or_default();
        self.newest = clock();
        connection.heard = self.turns;
        let (from, local) = (connection.from, connection.local);
        segment(from, local, connection.at, piece, &mut self.packet);
        connection.at = connection.at.wrapping_add(piece.len() as u32);
        block.push(self.newest, self.packet.len() as u32, &self.packet, None);
        !piece.is_empty()
    }
}

impl Catch for Listener {
    fn interface(&self) -> &Interface {
        &self.interface
    }

    fn fill(&mut self, block: &mut PacketBlock, wait: Duration) -> Result<Filled, SensorError> {
        block.clear();
        self.take(block);
        if block.is_empty() {
            self.wait(wait)?;
            self.take(block);
        }
        Ok(if block.is_empty() {
            Filled::Nothing
        } else {
            Filled::Packets
        })
    }

    fn kernel_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

/// What came, with the kernel's notes on it.
#[derive(Debug, Default)]
struct Received {
    len: usize,
    from: Option<SocketAddr>,
    /// When it came, in nanoseconds since the epoch.
    stamp: Option<i64>,
    /// Datagrams that the socket had no room for since it was made.
    overflow: Option<u32>,
}

fn receive(socket: &impl AsRawFd, buffer: &mut [u8]) -> nix::Result<Received> {
    let mut room = [IoSliceMut::new(buffer)];
    let mut notes = nix::cmsg_space!(TimeSpec, u32);
    let flags = MsgFlags::MSG_DONTWAIT;
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut room, Some(&mut notes), flags)?;
    let mut received = Received {
        len: message.bytes,
        from: message.address.and_then(address),
        ..Received::default()
    };
    for note in message.cmsgs().into_iter().flatten() {
        match note {
            ControlMessageOwned::ScmTimestampns(stamp) => received.stamp = Some(nanos(&stamp)),
            ControlMessageOwned::RxqOvfl(count) => received.overflow = Some(count),
            _ => {}
        }
    }
    Ok(received)
}

/// The clock that the kernel stamps with.
#[expect(
    clippy::disallowed_methods,
    reason = "what comes over connections is not stamped by the kernel"
)]
fn clock() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    })
}

fn nanos(stamp: &TimeSpec) -> i64 {
    stamp
        .tv_sec()
        .saturating_mul(1_000_000_000)
        .saturating_add(stamp.tv_nsec())
}

fn address(from: SockaddrStorage) -> Option<SocketAddr> {
    let v4 = from
        .as_sockaddr_in()
        .map(|v4| SocketAddr::new(v4.ip().into(), v4.port()));
    v4.or_else(|| {
        let v6 = from.as_sockaddr_in6()?;
        Some(SocketAddr::new(v6.ip().into(), v6.port()))
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const LOOPBACK: &str = "127.0.0.1:0";
    const WAIT: Duration = Duration::from_millis(200);

    fn packets(listener: &mut Listener, wanted: usize) -> Vec<(i64, Vec<u8>)> {
        let mut all = Vec::new();
        let mut block = PacketBlock::default();
        for _ in 0..50 {
            listener.fill(&mut block, WAIT).unwrap();
            let each = block
                .records()
                .iter()
                .map(|record| (record.ts, block.packet(record).to_vec()));
            all.extend(each);
            if all.len() >= wanted {
                break;
            }
        }
        all
    }

    fn listener(address: &str, streams: bool, buffer_bytes: usize) -> (Listener, SocketAddr) {
        let on = [ListenOn {
            address: address.parse().unwrap(),
            streams,
        }];
        let listener = Listener::open("test", &on, buffer_bytes).unwrap();
        let to = listener.local()[0];
        (listener, to)
    }

    #[test]
    fn datagrams_come_as_packets_with_the_kernels_time() {
        let (mut listener, to) = listener(LOOPBACK, false, 1 << 20);
        let sender = UdpSocket::bind(LOOPBACK).unwrap();
        sender.send_to(b"one", to).unwrap();
        sender.send_to(&vec![7; 60_000], to).unwrap();
        let got = packets(&mut listener, 2);
        let (first, second) = (&got[0], &got[1]);
        // The kernel begins to stamp a little after it is asked to: until then it is when one reads.
        assert!(
            first.0.min(second.0) > 1_600_000_000_000_000_000,
            "times of today"
        );
        assert_eq!(&first.1[..4], [0x45, 0, 0, 31]);
        let port = sender.local_addr().unwrap().port();
        assert_eq!(&first.1[20..22], port.to_be_bytes());
        assert_eq!(&first.1[22..24], to.port().to_be_bytes());
        assert_eq!(&first.1[28..], b"one");
        assert_eq!(second.1.len(), 60_028);
    }

    #[test]
    fn connections_come_as_segments_with_an_end() {
        let (mut listener, to) = listener("[::1]:0", true, 1 << 20);
        let mut stream = TcpStream::connect(to).unwrap();
        stream.write_all(b"two").unwrap();
        let got = packets(&mut listener, 1);
        assert!(got[0].0 > 1_600_000_000_000_000_000, "a time of today");
        assert_eq!(&got[0].1[60..], b"two");
        drop(stream);
        let got = packets(&mut listener, 1);
        assert_eq!(got[0].1[53], 0x11, "FIN");
        assert_eq!(got[0].1[44..48], [0, 0, 0, 3], "behind what came before");
        assert!(listener.connections.is_empty());
    }

    #[test]
    fn what_the_kernel_had_no_room_for_is_counted() {
        let (mut listener, to) = listener(LOOPBACK, false, 4096);
        let sender = UdpSocket::bind(LOOPBACK).unwrap();
        for _ in 0..1000 {
            sender.send_to(&[7; 1000], to).unwrap();
        }
        let got = packets(&mut listener, 1000).len() as u64;
        assert!(got < 1000, "there was little room");
        // The count comes with the next datagram that there was room for.
        sender.send_to(b"last", to).unwrap();
        let last = packets(&mut listener, 1).len() as u64;
        assert_eq!((got + listener.kernel_dropped(), last), (1000, 1));
    }

    #[test]
    fn an_address_of_another_machine_cannot_be_listened_on() {
        let on = [ListenOn {
            address: "192.0.2.1:2055".parse().unwrap(),
            streams: false,
        }];
        let error = Listener::open("test", &on, 4096).unwrap_err();
        assert!(error.to_string().contains("192.0.2.1:2055"), "{error}");
    }
}
