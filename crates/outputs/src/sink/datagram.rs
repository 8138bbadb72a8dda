//! Syslog over UDP (RFC 5426): a message a datagram. Nobody says whether it came; for what must not be lost there is
//! TCP with TLS.

use std::net::{ToSocketAddrs, UdpSocket};

use super::{Failure, Opened, Opening, Sink, SinkKind, written};
use crate::format::Format;
use crate::format::syslog::{self, Sender};
use crate::record::Record;
use crate::target::{Target, TargetError};

pub(super) const KIND: SinkKind = SinkKind {
    id: "datagram",
    schemes: &["syslog", "syslog+udp"],
    about: "syslog over UDP",
    format: "syslog",
    has_formats: true,
    open,
};

/// The usual port.
const PORT: u16 = 514;
/// Longer ones are cut into fragments, which many networks drop.
const BYTES_MAX: usize = 2_048;
const BYTES_LIMIT: usize = 65_000;

fn open(target: &mut Target, opening: &Opening<'_>) -> Result<Opened, TargetError> {
    let sink = Datagrams {
        format: opening.format,
        sender: target.sender(opening.host)?,
        bytes_max: target.number("max", BYTES_MAX, 480..=BYTES_LIMIT)?,
        host: target.host()?,
        port: target.port().unwrap_or(PORT),
        socket: None,
    };
    Ok(Opened {
        sink: Box::new(sink),
        folder: None,
        port: None,
    })
}

struct Datagrams {
    format: &'static Format,
    sender: Sender,
    bytes_max: usize,
    host: String,
    port: u16,
    socket: Option<UdpSocket>,
}

impl Sink for Datagrams {
    fn send(&mut self, records: &[Record]) -> Result<(), Failure> {
        let (sender, format, max) = (self.sender.clone(), self.format, self.bytes_max);
        let write = |record: &Record| message(&sender, record, format, max);
        written(records, write, |messages| {
            for (at, message) in messages.iter().enumerate() {
                if let Err(error) = self.one(message.as_bytes()) {
                    self.socket = None;
                    let why = format!("cannot send to {}:{}: {error}", self.host, self.port);
                    return Err(Failure::unreachable(why).after(at));
                }
            }
            Ok(())
        })
    }
}

impl Datagrams {
    fn one(&mut self, message: &[u8]) -> std::io::Result<()> {
        if self.socket.is_none() {
            let mut last = std::io::Error::from(std::io::ErrorKind::NotFound);
            for address in (self.host.as_str(), self.port).to_socket_addrs()? {
                let any = if address.is_ipv4() {
                    "0.0.0.0:0"
                } else {
                    "[::]:0"
                };
                let made = UdpSocket::bind(any).and_then(|socket| {
                    socket.connect(address)?;
                    Ok(socket)
                });
                match made {
                    Ok(socket) => {
                        self.socket = Some(socket);
                        break;
                    }
                    Err(error) => last = error,
                }
            }
            if self.socket.is_none() {
                return Err(last);
            }
        }
        let socket = self
            .socket
            .as_ref()
            .ok_or(std::io::ErrorKind::NotConnected)?;
        socket.send(message).map(|_| ())
    }
}

/// A record as a syslog message of at most `max` bytes.
pub(super) fn message(
    sender: &Sender,
    record: &Record,
    format: &Format,
    max: usize,
) -> Result<String, Failure> {
    syslog::message(sender, record, format, max)
        .map_err(|error| Failure::unwritable(&error))?
        .ok_or_else(|| Failure::too_long(max))
}
