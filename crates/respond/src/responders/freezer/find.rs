//! Whom decisions name, and who of them is never stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use thymus_schema::Timestamp;

use super::Freezer;
use super::proc::{self, Process, Stat, boot};
use crate::cut::{Cut, Talk};
use crate::decision::DecisionId;
use crate::table::Holds;

/// Programs that a machine cannot be managed without, as the system's own files.
const NEEDED: &[&str] = &[
    "sshd",
    "sshd-session",
    "sshd-auth",
    "login",
    "agetty",
    "getty",
    "init",
    "systemd",
    "systemd-logind",
    "systemd-networkd",
    "systemd-resolved",
    "systemd-journald",
    "systemd-udevd",
    "dbus-daemon",
    "dbus-broker",
    "NetworkManager",
    "dhclient",
    "dhcpcd",
    "wpa_supplicant",
];

/// For which decisions, and until when.
pub(super) type Claims = BTreeMap<DecisionId, Option<Timestamp>>;
/// Whom decisions want stopped.
pub(super) type Targets = BTreeMap<i32, (Process, Claims)>;

impl Freezer {
    /// Whom decisions want stopped, and who fits and is left alone.
    pub(super) fn targets(&self, wanted: &Holds) -> (Targets, Vec<(Process, String)>) {
        let mut targets = Targets::new();
        let mut spared = BTreeMap::new();
        let mut found = |pid: i32, id: DecisionId, until: Option<Timestamp>| {
            if let Some((_, of)) = targets.get_mut(&pid) {
                of.insert(id, until);
                return;
            }
            let Some((process, stat)) = proc::process(pid).zip(Stat::of(pid)) else {
                return;
            };
            match self.spares(&process, &stat) {
                Some(why) => {
                    spared.insert(process, why);
                }
                None => {
                    targets.insert(pid, (process, BTreeMap::from([(id, until)])));
                }
            }
        };
        let boot = boot();
        for (id, hold) in wanted {
            for cut in &hold.cuts {
                if let Cut::Process {
                    pid,
                    started,
                    boot: of,
                } = cut
                    && *of == boot
                    && Stat::of(*pid).is_some_and(|stat| stat.started == *started)
                {
                    found(*pid, *id, hold.until);
                }
            }
        }
        for (pid, id) in talking(wanted) {
            let until = wanted.get(&id).and_then(|hold| hold.until);
            found(pid, id, until);
        }
        (targets, spared.into_iter().collect())
    }

    /// Why a process is never stopped, if so.
    fn spares(&self, process: &Process, stat: &Stat) -> Option<String> {
        let program = |text: &str| text.trim_end_matches(" (deleted)").to_owned();
        let own_path = fs::read_link("/proc/self/exe").unwrap_or_default();
        let own = fs::metadata("/proc/self/exe");
        let its = fs::metadata(format!("/proc/{}/exe", process.pid));
        let file = |found: &io::Result<fs::Metadata>| {
            found.as_ref().map(|found| (found.dev(), found.ino())).ok()
        };
        let exe = Path::new(&process.exe);
        let name = exe.file_name().and_then(|name| name.to_str());
        // Anybody can call a file sshd; only root puts one among the system's.
        let is_systems = ["/usr/", "/bin/", "/sbin/", "/lib/"]
            .iter()
            .any(|place| process.exe.starts_with(place))
            && its.as_ref().is_ok_and(|its| its.uid() == 0);
        let why = if process.pid == 1 || stat.is_kernel() {
            "it is the system itself"
        } else if process.pid.unsigned_abs() == std::process::id()
            || file(&own).is_some_and(|own| Some(own) == file(&its))
            || program(&own_path.to_string_lossy()) == program(&process.exe)
        {
            "it is Thymus"
        } else if self.never.contains(exe) {
            "the policy names it"
        } else if is_systems && name.is_some_and(|name| NEEDED.contains(&name)) {
            "the machine is managed by it"
        } else if stat.is_login(process.pid) {
            "somebody sits at a terminal before it"
        } else {
            return None;
        };
        Some(why.to_owned())
    }
}

/// Who talks as these patterns say, having begun, and for which decision.
fn talking(wanted: &Holds) -> BTreeSet<(i32, DecisionId)> {
    let mut by_socket: BTreeMap<u64, BTreeSet<DecisionId>> = BTreeMap::new();
    let patterns: Vec<(DecisionId, &Cut)> = wanted
        .iter()
        .flat_map(|(id, hold)| hold.cuts.iter().map(|cut| (*id, cut)))
        .filter(|(_, cut)| matches!(cut, Cut::Pattern { .. }))
        .collect();
    if patterns.is_empty() {
        return BTreeSet::new();
    }
    for socket in proc::begun() {
        let talk = Talk {
            client: socket.local.0.to_canonical(),
            server: socket.remote.0.to_canonical(),
            transport: socket.transport,
            port: socket.remote.1,
        };
        // A pattern without a service is one of both directions; here only what began here counts.
        let fits = patterns.iter().filter(|(_, cut)| {
            let is_client =
                matches!(cut, Cut::Pattern { client, .. } if client.contains(&talk.client));
            is_client && cut.cuts(&talk)
        });
        for (id, _) in fits {
            by_socket.entry(socket.inode).or_default().insert(*id);
        }
    }
    if by_socket.is_empty() {
        return BTreeSet::new();
    }
    let holders = proc::holders(&by_socket.keys().copied().collect());
    let mut talking = BTreeSet::new();
    for (pid, sockets) in holders {
        let of = sockets.iter().filter_map(|inode| by_socket.get(inode));
        talking.extend(of.flatten().map(|id| (pid, *id)));
    }
    talking
}
