//! Lines and syslog over TCP and TLS: RFC 6587 in the clear, RFC 5425 with TLS, both with octet counting unless the
//! receiver wants line ends.
//!
//! Syslog has no receipts: bytes that the kernel took may still be lost with the connection. So the last batch is held
//! until the connection was seen to live on, and is sent once more when it broke instead; the receiver may get it twice,
//! under the same ids.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::{
    ANSWER_TIME, CONNECT_TIME, Failure, Opened, Opening, Sink, SinkKind, datagram, written,
};
use crate::format::Format;
use crate::format::syslog::Sender;
use crate::record::Record;
use crate::target::{Target, TargetError};
use crate::tls;

pub(super) const KIND: SinkKind = SinkKind {
    id: "stream",
    schemes: &["syslog+tcp", "syslog+tls", "tcp", "tls"],
    about: "syslog, or bare lines, over TCP or TLS",
    format: "syslog",
    has_formats: true,
    open,
};

/// The usual ports (RFC 6587, RFC 5425).
const PORT: u16 = 601;
const PORT_TLS: u16 = 6514;
/// What receivers take without being asked to: rsyslog 8 KiB.
const BYTES_MAX: usize = 8_192;
const BYTES_LIMIT: usize = 8 << 20;

fn open(target: &mut Target, opening: &Opening<'_>) -> Result<Opened, TargetError> {
    let scheme = target.scheme().to_owned();
    let is_syslog = scheme.starts_with("syslog");
    let is_tls = scheme.ends_with("tls");
    let port = match target.port() {
        Some(port) => port,
        None if !is_syslog => return Err(target.wrong("names no port")),
        None if is_tls => PORT_TLS,
        None => PORT,
    };
    let host = target.host()?;
    let tls = if is_tls {
        let name = ServerName::try_from(host.clone())
            .map_err(|error| target.wrong(format!("{host} is no name for TLS: {error}")))?;
        Some((tls::client(target)?, name))
    } else {
        None
    };
    let framing = if is_syslog {
        target.one_of("framing", &["octets", "lines"])?
    } else {
        "lines"
    };
    let sink = Stream {
        format: opening.format,
        sender: is_syslog.then(|| target.sender(opening.host)).transpose()?,
        bytes_max: target.number("max", BYTES_MAX, 480..=BYTES_LIMIT)?,
        counts_octets: framing == "octets",
        host,
        port,
        tls,
        wire: None,
        unsure: Vec::new(),
    };
    Ok(Opened {
        sink: Box::new(sink),
        folder: None,
        port: Some(port),
    })
}

struct Stream {
    format: &'static Format,
    /// None for bare lines.
    sender: Option<Sender>,
    bytes_max: usize,
    counts_octets: bool,
    host: String,
    port: u16,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    wire: Option<Wire>,
    /// What was written last, until the connection was seen to live on.
    unsure: Vec<u8>,
}

impl Sink for Stream {
    fn send(&mut self, records: &[Record]) -> Result<(), Failure> {
        let (sender, format, max) = (self.sender.clone(), self.format, self.bytes_max);
        let counts_octets = self.counts_octets;
        let write = |record: &Record| {
            let text = match &sender {
                Some(sender) => datagram::message(sender, record, format, max)?,
                None => format
                    .within(record, max)
                    .map_err(|error| Failure::unwritable(&error))?
                    .ok_or_else(|| Failure::too_long(max))?,
            };
            Ok(if counts_octets {
                format!("{} {text}", text.len())
            } else {
                text + "\n"
            })
        };
        written(records, write, |messages| {
            self.push(messages.concat().into_bytes())
        })
    }

    fn check(&mut self) -> Result<(), Failure> {
        if self.is_alive() {
            self.unsure.clear();
            return Ok(());
        }
        let again = std::mem::take(&mut self.unsure);
        if again.is_empty() {
            return Ok(());
        }
        let done = self.write(&again).map_err(|error| self.failure(&error));
        if done.is_err() {
            // For the next time.
            self.unsure = again;
        }
        done
    }
}

impl Stream {
    fn push(&mut self, bytes: Vec<u8>) -> Result<(), Failure> {
        let mut all = Vec::new();
        if !self.is_alive() {
            all.clone_from(&self.unsure);
        }
        all.extend_from_slice(&bytes);
        self.write(&all).map_err(|error| self.failure(&error))?;
        // Sent twice is sent: a receiver that hangs up after each batch does not get them for ever.
        self.unsure = bytes;
        Ok(())
    }

    /// Whether there is a connection whose other end has not hung up; one that has is given up.
    fn is_alive(&mut self) -> bool {
        let is_alive = self.wire.as_mut().is_some_and(Wire::is_alive);
        if !is_alive {
            self.wire = None;
        }
        is_alive
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => self.connect()?,
        };
        wire.write_all(bytes)?;
        self.wire = Some(wire);
        Ok(())
    }

    fn failure(&self, error: &io::Error) -> Failure {
        Failure::unreachable(format!("{}:{}: {error}", self.host, self.port))
    }

    fn connect(&self) -> io::Result<Wire> {
        let mut last = io::Error::other("the name has no address");
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_TIME) {
                Ok(socket) => return self.over(socket),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn over(&self, mut socket: TcpStream) -> io::Result<Wire> {
        socket.set_read_timeout(Some(ANSWER_TIME))?;
        socket.set_write_timeout(Some(ANSWER_TIME))?;
        socket.set_nodelay(true)?;
        let Some((config, name)) = &self.tls else {
            return Ok(Wire::Plain(socket));
        };
        let connection = ClientConnection::new(Arc::clone(config), name.clone());
        let mut connection = connection.map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(Wire::Tls(Box::new(StreamOwned::new(connection, socket))))
    }
}

impl Drop for Stream {
    /// Says goodbye, so that the receiver does not take the end for an attack.
    fn drop(&mut self) {
        if let Some(Wire::Tls(stream)) = &mut self.wire {
            stream.conn.send_close_notify();
            let _is_said = stream.flush().is_ok();
        }
    }
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.write_all(bytes),
            Self::Tls(stream) => {
                stream.write_all(bytes)?;
                stream.flush()
            }
        }
    }

    /// Whether the other end has not hung up. It has nothing to say, so what it says is passed over.
    fn is_alive(&mut self) -> bool {
        let mut rubbish = [0; 4_096];
        let socket = match self {
            Self::Plain(socket) => &*socket,
            Self::Tls(stream) => &stream.sock,
        };
        if socket.set_nonblocking(true).is_err() {
            return false;
        }
        let mut is_alive = false;
        // Who talks without end is no receiver.
        for _ in 0..64 {
            let read = match self {
                Self::Plain(socket) => socket.read(&mut rubbish),
                Self::Tls(stream) => stream.read(&mut rubbish),
            };
            match read {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    is_alive = error.kind() == io::ErrorKind::WouldBlock;
                    break;
                }
            }
        }
        let socket = match self {
            Self::Plain(socket) => &*socket,
            Self::Tls(stream) => &stream.sock,
        };
        is_alive && socket.set_nonblocking(false).is_ok()
    }
}
