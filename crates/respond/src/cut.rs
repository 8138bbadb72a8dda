//! What an action cuts: traffic, mostly. The rehearsal and the kernel's rules are both made from this, so that what
//! was rehearsed is what is done.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use thymus_schema::{Conn, Transport};

/// A conversation as rules see it: who began it, and with which service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Talk {
    /// Who began.
    pub client: IpAddr,
    /// Who answered.
    pub server: IpAddr,
    /// By what.
    pub transport: Transport,
    /// The server's port; 0 where the transport has none.
    pub port: u16,
}

impl Talk {
    /// Of a connection; nothing for transports that no rule can name.
    pub fn of(conn: &Conn) -> Option<Self> {
        let port = match conn.transport {
            Transport::Tcp | Transport::Udp | Transport::Sctp => conn.server.port,
            Transport::Icmp => 0,
            Transport::Other => return None,
        };
        Some(Self {
            client: conn.client.addr.to_canonical(),
            server: conn.server.addr.to_canonical(),
            transport: conn.transport,
            port,
        })
    }
}

/// A transport and a port of a service; every port of it without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Port {
    /// By what.
    pub transport: Transport,
    /// Which.
    pub port: u16,
}

/// Ports below this one are named in advance; the two of a conversation agree on others (RFC 6335).
pub(crate) const AGREED_FROM: u16 = 1_024;

impl Port {
    /// In habits: whatever port from 1024 on the two agree on, as for the data of FTP.
    pub fn agreed(transport: Transport) -> Self {
        Self { transport, port: 0 }
    }

    /// Whether it is none of its own, but whatever is agreed on.
    pub fn is_agreed(self) -> bool {
        self.port == 0 && self.transport != Transport::Icmp
    }

    fn is_of(self, talk: &Talk) -> bool {
        self.transport == talk.transport && self.port == talk.port
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.transport {
            Transport::Icmp => f.write_str("icmp"),
            other if self.is_agreed() => write!(f, "{}, any port agreed on", other.as_str()),
            other => write!(f, "{}/{}", other.as_str(), self.port),
        }
    }
}

/// Which conversations of an address are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// All.
    Both,
    /// Those that it begins.
    Begun,
    /// Those that others begin with it.
    Taken,
}

/// What stays open of a device whose pattern of life is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Habit {
    /// Whether the device begins.
    pub is_client: bool,
    /// With whom; with anybody without.
    pub peer: Option<IpAddr>,
    /// By which service.
    pub port: Port,
}

impl Habit {
    /// Whether it lets a device at one end of a conversation take part in it. Of ICMP, either may begin.
    fn allows(&self, is_client: bool, talk: &Talk) -> bool {
        let other = if is_client { talk.server } else { talk.client };
        (self.is_client == is_client || self.port.transport == Transport::Icmp)
            && self.peer.is_none_or(|peer| peer == other)
            && (self.port.is_of(talk) || self.is_agreed(talk))
    }

    fn is_agreed(&self, talk: &Talk) -> bool {
        self.port.is_agreed()
            && self.port.transport == talk.transport
            && talk.port >= AGREED_FROM
            && self.peer.is_some()
    }
}

/// What is cut.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum Cut {
    /// Conversations that `client` begins with `server`, by one service; by any, and whoever begins, without.
    Pattern {
        /// Who begins.
        client: IpNet,
        /// With whom.
        server: IpNet,
        /// By what.
        port: Option<Port>,
    },
    /// Conversations with this address, whoever the other is.
    Address {
        /// Whose.
        of: IpNet,
        /// Which of them.
        side: Side,
    },
    /// All of a device but what it usually does.
    AllBut {
        /// Whose.
        of: IpNet,
        /// What it usually does, sorted.
        habits: Vec<Habit>,
    },
    /// One process of this machine. Its number alone may be another's by tomorrow.
    Process {
        /// Its number.
        pid: i32,
        /// When it began: the kernel's ticks since it was started.
        started: u64,
        /// Which start of the kernel that was.
        boot: Box<str>,
    },
    /// A file of this machine, by its content.
    File {
        /// Where it lies; wherever it lies without.
        path: Option<Box<str>>,
        /// SHA-256 of it, in hexadecimal digits.
        sha256: Box<str>,
        /// Its bytes.
        bytes: u64,
    },
}

impl Cut {
    /// A process of this machine, while it is there.
    pub fn process(pid: i32) -> Option<Self> {
        crate::responders::freezer::started(pid).map(|started| Self::Process {
            pid,
            started,
            boot: crate::responders::freezer::boot(),
        })
    }

    /// A file of this machine, with the content that it has now.
    ///
    /// # Errors
    /// When it cannot be read, or its path is no text.
    pub fn file(path: &std::path::Path) -> std::io::Result<Self> {
        let text = path.to_str().ok_or(std::io::ErrorKind::InvalidFilename)?;
        let bytes = std::fs::symlink_metadata(path)?.len();
        Ok(Self::File {
            path: Some(text.into()),
            sha256: crate::responders::files::digest(path)?.into(),
            bytes,
        })
    }

    /// Whether this conversation is cut.
    pub fn cuts(&self, talk: &Talk) -> bool {
        match self {
            Self::Pattern {
                client,
                server,
                port: Some(port),
            } => client.contains(&talk.client) && server.contains(&talk.server) && port.is_of(talk),
            Self::Pattern {
                client,
                server,
                port: None,
            } => {
                (client.contains(&talk.client) && server.contains(&talk.server))
                    || (client.contains(&talk.server) && server.contains(&talk.client))
            }
            Self::Address { of, side } => {
                (*side != Side::Taken && of.contains(&talk.client))
                    || (*side != Side::Begun && of.contains(&talk.server))
            }
            Self::Process { .. } | Self::File { .. } => false,
            Self::AllBut { of, habits } => {
                // Where both ends are held, both have to be allowed it.
                [(true, talk.client), (false, talk.server)]
                    .into_iter()
                    .filter(|(_, end)| of.contains(end))
                    .any(|(is_client, _)| !habits.iter().any(|habit| habit.allows(is_client, talk)))
            }
        }
    }

    /// The networks that it is about, whoever else is touched.
    pub fn subjects(&self) -> Vec<IpNet> {
        match self {
            Self::Pattern { client, server, .. } => vec![*client, *server],
            Self::Address { of, .. } | Self::AllBut { of, .. } => vec![*of],
            Self::Process { .. } | Self::File { .. } => Vec::new(),
        }
    }

    /// In canonical form: networks without host bits, mapped addresses as what they map, habits sorted.
    #[must_use]
    pub fn canonical(self) -> Self {
        match self {
            Self::Pattern {
                client,
                server,
                port,
            } => Self::Pattern {
                client: net(client),
                server: net(server),
                port,
            },
            Self::Address { of, side } => Self::Address { of: net(of), side },
            Self::Process { .. } | Self::File { .. } => self,
            Self::AllBut { of, mut habits } => {
                for habit in &mut habits {
                    habit.peer = habit.peer.map(|peer| peer.to_canonical());
                }
                habits.sort();
                habits.dedup();
                Self::AllBut {
                    of: net(of),
                    habits,
                }
            }
        }
    }
}

/// A network without host bits; one of mapped addresses as the IPv4 network that it is.
pub fn net(of: IpNet) -> IpNet {
    match (of.addr().to_canonical(), of.prefix_len()) {
        (addr @ IpAddr::V4(_), length) if matches!(of, IpNet::V6(_)) && length >= 96 => {
            IpNet::new(addr, length - 96).map_or(of, |mapped| mapped.trunc())
        }
        _ => of.trunc(),
    }
}

/// The network of one address alone.
pub fn host(addr: IpAddr) -> IpNet {
    IpNet::from(addr.to_canonical())
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern {
                client,
                server,
                port: Some(port),
            } => {
                write!(f, "{} to {} by {port}", Short(client), Short(server))
            }
            Self::Pattern {
                client,
                server,
                port: None,
            } => {
                write!(f, "all between {} and {}", Short(client), Short(server))
            }
            Self::Address {
                of,
                side: Side::Both,
            } => write!(f, "all of {}", Short(of)),
            Self::Address {
                of,
                side: Side::Begun,
            } => write!(f, "what {} begins", Short(of)),
            Self::Address {
                of,
                side: Side::Taken,
            } => write!(f, "what others begin with {}", Short(of)),
            Self::File {
                path: Some(path), ..
            } => write!(f, "the file {}", path.replace(char::is_control, "\u{fffd}")),
            Self::File { sha256, bytes, .. } => {
                write!(f, "files of {bytes} bytes with the SHA-256 {sha256}")
            }
            Self::Process { pid, .. } => write!(f, "the process {pid} of this machine"),
            Self::AllBut { of, habits } => {
                write!(f, "all of {} but {} habits", Short(of), habits.len())
            }
        }
    }
}

/// A network for people: a host without its length.
struct Short<'a>(&'a IpNet);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            write!(f, "{}", self.0.addr())
        } else {
            write!(f, "{}", self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk(client: &str, server: &str, port: u16) -> Talk {
        Talk {
            client: client.parse().unwrap(),
            server: server.parse().unwrap(),
            transport: Transport::Tcp,
            port,
        }
    }

    fn of(text: &str) -> IpNet {
        host(text.parse().unwrap())
    }

    #[test]
    fn a_pattern_cuts_one_service_of_one_pair_and_nothing_else() {
        let port = Some(Port {
            transport: Transport::Tcp,
            port: 443,
        });
        let cut = Cut::Pattern {
            client: of("10.0.0.5"),
            server: of("198.51.100.7"),
            port,
        };
        assert!(cut.cuts(&talk("10.0.0.5", "198.51.100.7", 443)));
        for other in [
            talk("10.0.0.5", "198.51.100.7", 80),
            talk("10.0.0.6", "198.51.100.7", 443),
            talk("10.0.0.5", "198.51.100.8", 443),
            talk("198.51.100.7", "10.0.0.5", 443),
        ] {
            assert!(!cut.cuts(&other), "{other:?}");
        }
        let pair = Cut::Pattern {
            client: of("10.0.0.5"),
            server: of("198.51.100.7"),
            port: None,
        };
        assert!(pair.cuts(&talk("198.51.100.7", "10.0.0.5", 22)));
    }

    #[test]
    fn sides_are_told_apart() {
        let (begun, taken) = (
            talk("10.0.0.5", "10.0.0.9", 22),
            talk("10.0.0.9", "10.0.0.5", 22),
        );
        let cut = |side| Cut::Address {
            of: of("10.0.0.5"),
            side,
        };
        assert!(cut(Side::Both).cuts(&begun) && cut(Side::Both).cuts(&taken));
        assert!(cut(Side::Begun).cuts(&begun) && !cut(Side::Begun).cuts(&taken));
        assert!(!cut(Side::Taken).cuts(&begun) && cut(Side::Taken).cuts(&taken));
    }

    #[test]
    fn a_pattern_of_life_leaves_what_is_usual() {
        let https = Port {
            transport: Transport::Tcp,
            port: 443,
        };
        let habits = vec![
            Habit {
                is_client: true,
                peer: "10.0.0.9".parse().ok(),
                port: https,
            },
            Habit {
                is_client: false,
                peer: None,
                port: https,
            },
        ];
        let cut = Cut::AllBut {
            of: of("10.0.0.5"),
            habits,
        };
        assert!(!cut.cuts(&talk("10.0.0.5", "10.0.0.9", 443)));
        assert!(!cut.cuts(&talk("203.0.113.9", "10.0.0.5", 443)));
        assert!(cut.cuts(&talk("10.0.0.5", "203.0.113.9", 443)));
        assert!(cut.cuts(&talk("10.0.0.5", "10.0.0.9", 445)));
        assert!(!cut.cuts(&talk("10.0.0.7", "10.0.0.9", 445)));
    }

    #[test]
    fn mapped_addresses_are_what_they_map() {
        assert_eq!(
            net("::ffff:10.0.0.9/128".parse().unwrap()),
            "10.0.0.9/32".parse::<IpNet>().unwrap()
        );
        assert_eq!(
            net("::ffff:10.0.0.9/120".parse().unwrap()),
            "10.0.0.0/24".parse::<IpNet>().unwrap()
        );
        assert_eq!(
            net("2001:db8::7/64".parse().unwrap()),
            "2001:db8::/64".parse::<IpNet>().unwrap()
        );
    }
}
