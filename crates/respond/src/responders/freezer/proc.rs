//! What the kernel says about processes and sockets (proc(5)). Names of programs are whatever their authors like.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use serde::{Deserialize, Serialize};
use thymus_schema::Transport;

/// Bytes of a table that are read.
const TABLE_MAX: u64 = 64 << 20;
/// A flag of processes that are the kernel's own (`PF_KTHREAD`).
const KERNEL: u64 = 0x0020_0000;

/// A process, as people know it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// When it began, in the kernel's ticks: with its number it is nobody else's.
    pub started: u64,
    /// What it calls itself.
    pub name: String,
    /// Whose it is.
    pub user: String,
    /// The file it was made from.
    pub exe: String,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pid,
            name,
            user,
            exe,
            ..
        } = self;
        let text = format!("{name} (pid {pid}, user {user}, {exe})");
        for c in text.chars() {
            fmt::Write::write_char(f, if c.is_control() { '\u{fffd}' } else { c })?;
        }
        Ok(())
    }
}

/// What `/proc/PID/stat` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) name: String,
    pub(super) state: char,
    session: i32,
    terminal: i32,
    flags: u64,
    pub(super) started: u64,
}

impl Stat {
    pub(super) fn of(pid: i32) -> Option<Self> {
        Self::parse(&text(&format!("/proc/{pid}/stat"))?)
    }

    fn parse(line: &str) -> Option<Self> {
        // A name may have brackets of its own; nothing after it has.
        let (before, after) = line.rsplit_once(')')?;
        let (_, name) = before.split_once('(')?;
        let fields: Vec<&str> = after.split_whitespace().collect();
        Some(Self {
            name: name.to_owned(),
            state: fields.first()?.chars().next()?,
            session: fields.get(3)?.parse().ok()?,
            terminal: fields.get(4)?.parse().ok()?,
            flags: fields.get(6)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }

    /// Whether it is the kernel's own.
    pub(super) fn is_kernel(&self) -> bool {
        self.flags & KERNEL != 0
    }

    /// Whether somebody sits at a terminal before it: a login shell.
    pub(super) fn is_login(&self, pid: i32) -> bool {
        self.session == pid && self.terminal != 0
    }

    /// Whether it is stopped, or watched step by step.
    pub(super) fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }

    /// Whether nothing is left of it but its number.
    pub(super) fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// A file below `/proc`, whatever bytes are in it.
fn text(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .ok()?
        .take(TABLE_MAX)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Which start of the kernel this is.
pub fn boot() -> Box<str> {
    let id = text("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().into()
}

/// What is known of a process that is there.
pub(super) fn process(pid: i32) -> Option<Process> {
    let stat = Stat::of(pid).filter(|stat| !stat.is_dead())?;
    let status = text(&format!("/proc/{pid}/status")).unwrap_or_default();
    let user = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next());
    let exe = fs::read_link(format!("/proc/{pid}/exe"));
    Some(Process {
        pid,
        started: stat.started,
        name: stat.name,
        user: name_of(user.unwrap_or("?")),
        exe: exe.map_or_else(
            |_| "no file".to_owned(),
            |exe| exe.to_string_lossy().into_owned(),
        ),
    })
}

/// A user's name where the machine has one.
fn name_of(number: &str) -> String {
    let users = text("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| number.to_owned())
}

/// A socket of TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// By what.
    pub transport: Transport,
    /// Its own end.
    pub local: (IpAddr, u16),
    /// The other end; unspecified where there is none.
    pub remote: (IpAddr, u16),
    /// How it stands, by the kernel's number (1: established, 10: listening).
    pub state: u8,
    /// What tells it from others; 0 when no process has it.
    pub inode: u64,
}

impl Socket {
    const LISTENS: u8 = 10;
}

/// The sockets of a table such as `/proc/net/tcp6` (`proc_net(5)`).
pub fn sockets(table: &str, transport: Transport) -> Vec<Socket> {
    let lines = table.lines().skip(1);
    let sockets = lines.filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        Some(Socket {
            transport,
            local: end(fields.get(1)?)?,
            remote: end(fields.get(2)?)?,
            state: u8::from_str_radix(fields.get(3)?, 16).ok()?,
            inode: fields.get(9).and_then(|inode| inode.parse().ok())?,
        })
    });
    sockets.collect()
}

fn end(text: &str) -> Option<(IpAddr, u16)> {
    let (addr, port) = text.split_once(':')?;
    Some((address(addr)?, u16::from_str_radix(port, 16).ok()?))
}

/// An address: words of 32 bits in hex, as the machine has them in memory.
fn address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = hex.get(at..at + 8)?;
        u32::from_str_radix(word, 16).ok().map(u32::to_ne_bytes)
    };
    if hex.len() == 8 {
        return word(0).map(|bytes| Ipv4Addr::from(bytes).into());
    }
    let words = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
    let bytes: [u8; 16] = words.try_into().ok()?;
    Some(IpAddr::from(Ipv6Addr::from(bytes)).to_canonical())
}

/// Sockets with another end that this machine began, as far as the tables tell: whose own port nobody listens at.
pub(super) fn begun() -> Vec<Socket> {
    let mut all = Vec::new();
    for (table, transport) in [
        ("/proc/net/tcp", Transport::Tcp),
        ("/proc/net/tcp6", Transport::Tcp),
        ("/proc/net/udp", Transport::Udp),
        ("/proc/net/udp6", Transport::Udp),
    ] {
        all.extend(sockets(&text(table).unwrap_or_default(), transport));
    }
    let taken: BTreeSet<u16> = all
        .iter()
        .filter(|one| one.transport == Transport::Tcp && one.state == Socket::LISTENS)
        .map(|one| one.local.1)
        .collect();
    all.retain(|one| {
        let is_taken = one.transport == Transport::Tcp && taken.contains(&one.local.1);
        one.inode != 0 && !one.remote.0.is_unspecified() && !is_taken
    });
    all
}

/// The processes that have one of these sockets open, and which.
pub(super) fn holders(inodes: &BTreeSet<u64>) -> BTreeMap<i32, BTreeSet<u64>> {
    let mut holders = BTreeMap::new();
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for pid in numbers {
        // One that is gone meanwhile, or that nobody may look at, has none.
        let open = fs::read_dir(format!("/proc/{pid}/fd"));
        let has: BTreeSet<u64> = open
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| inode(&fs::read_link(entry.path()).ok()?))
            .filter(|inode| inodes.contains(inode))
            .collect();
        if !has.is_empty() {
            holders.insert(pid, has);
        }
    }
    holders
}

/// The number in `socket:[4711]`.
fn inode(link: &Path) -> Option<u64> {
    let text = link.to_str()?;
    text.strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

/// For fuzzing: reads the kernel's texts from anything.
pub fn fuzz_proc(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _read = Stat::parse(&text);
    let _sockets = sockets(&text, Transport::Tcp);
    let _cgroup = super::cgroup::path_of(&text);
    let _mounted = super::cgroup::mounted(&text);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_it_calls_itself() {
        let line = "4242 (a) S 1 (b) R 1 4242 4242 34816 4242 4194304 1 0 0 0 0 0 0 0 20 0 1 0 98765 1 2 3\n";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.name.as_str(), stat.state), ("a) S 1 (b", 'R'));
        assert_eq!(stat.started, 98_765);
        assert!(stat.is_login(4242) && !stat.is_login(1) && !stat.is_kernel());
        for broken in ["", "1 (x", "1 (x) ", "1 (x) S 1 1", ")("] {
            assert!(Stat::parse(broken).is_none(), "{broken}");
        }
        let own = Stat::of(std::process::id().cast_signed()).unwrap();
        assert!(own.started > 0 && !own.is_stopped());
        let told = Process {
            pid: 1,
            started: 1,
            name: "\u{1b}[2J".to_owned(),
            user: "root".to_owned(),
            exe: "/bin/x".to_owned(),
        };
        assert!(!told.to_string().contains('\u{1b}'));
    }

    #[test]
    fn sockets_are_read_from_the_kernels_tables() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0101A8C0:C350 0901A8C0:01BB 01 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0\n   \
            1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0\n  rubbish\n";
        let read = sockets(table, Transport::Tcp);
        assert_eq!(read.len(), 2);
        let first = read.first().unwrap();
        assert_eq!(first.local, ("192.168.1.1".parse().unwrap(), 50_000));
        assert_eq!(first.remote, ("192.168.1.9".parse().unwrap(), 443));
        assert_eq!((first.state, first.inode), (1, 4711));
        assert_eq!(inode(Path::new("socket:[4711]")), Some(4711));
        assert_eq!(inode(Path::new("pipe:[4711]")), None);
    }
}
