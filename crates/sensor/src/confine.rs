//! What a process that captures gives up once its socket is open: rights, other processes, the network but
//! for what asks about interfaces, and files but for the folders it is given. To be called while there is one
//! thread: those started later inherit it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};
use nix::libc;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};

use crate::error::SensorError;

/// The newest rules of Landlock (landlock(7)) that are asked for; the kernel takes what it knows.
const LANDLOCK: ABI = ABI::V7;
/// Root keeps this one, so that it can go on writing to folders of others; Landlock says which.
const KEPT: CapabilitySet = CapabilitySet::DAC_OVERRIDE;

/// What only an intruder calls here; it ends the process.
const DEADLY: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_connect,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_bpf,
    libc::SYS_io_uring_setup,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_open_by_handle_at,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_capset,
];

/// Confines this process to what a capture and its analysis take, to writing below the folders `written`
/// and reading below `read`. Whether the kernel has Landlock is told; without it files are not confined.
///
/// # Errors
/// When a folder cannot be opened, or the system refuses a step.
pub fn confine(written: &[PathBuf], read: &[PathBuf]) -> Result<bool, SensorError> {
    confine_to(written, read, &Kept::default())
}

/// The same for a process that only listens: it touches no file, and takes connections.
///
/// # Errors
/// When the system refuses a step.
pub fn confine_listener() -> Result<bool, SensorError> {
    confine_server(&[])
}

/// The same for a process that serves, on a socket it opened before, what lies below `written`.
///
/// # Errors
/// As [`confine`].
pub fn confine_server(written: &[PathBuf]) -> Result<bool, SensorError> {
    let kept = Kept {
        calls: &[libc::SYS_accept, libc::SYS_accept4],
        ..Kept::default()
    };
    confine_to(written, &[], &kept)
}

/// The same for a process that tells others: it takes no connections, and makes them by TCP to these ports alone, as
/// far as the kernel can tell ports apart; names are looked up at the usual port besides.
///
/// # Errors
/// As [`confine`].
pub fn confine_client(
    written: &[PathBuf],
    read: &[PathBuf],
    ports: &[u16],
) -> Result<bool, SensorError> {
    const NAMES: u16 = 53;
    let ports: Vec<u16> = ports.iter().copied().chain([NAMES]).collect();
    let kept = Kept {
        calls: &[libc::SYS_connect],
        ports: Some(&ports),
        ..Kept::default()
    };
    confine_to(written, read, &kept)
}

/// The same for the process that changes the packet filter: it keeps the rights that takes, starts programs, which are
/// confined as it is, and takes and makes connections; it reads any file, and writes below `written` alone. Where it
/// `gives_files` back to their owners it keeps the rights that takes, too.
///
/// # Errors
/// As [`confine`].
pub fn confine_enforcer(written: &[PathBuf], gives_files: bool) -> Result<bool, SensorError> {
    let packets = CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW;
    let files = CapabilitySet::CHOWN | CapabilitySet::FOWNER | CapabilitySet::FSETID;
    let kept = Kept {
        rights: if gives_files {
            packets | files
        } else {
            packets
        },
        calls: &[
            libc::SYS_execve,
            libc::SYS_connect,
            libc::SYS_listen,
            libc::SYS_accept,
            libc::SYS_accept4,
        ],
        ports: None,
    };
    confine_to(written, &[PathBuf::from("/")], &kept)
}

/// The same for the process that stops others: it takes and makes no connections and starts nothing. It is not confined to
/// files: Landlock would keep it from looking at any process that is less confined, which are all.
///
/// # Errors
/// When the system refuses a step.
pub fn confine_freezer() -> Result<(), SensorError> {
    let kept = Kept {
        rights: CapabilitySet::SYS_PTRACE | CapabilitySet::KILL,
        calls: &[libc::SYS_pidfd_send_signal],
        ports: Some(&[]),
    };
    give_up(&kept)?;
    let filter = filter(kept.calls).map_err(at("seccomp"))?;
    apply_filter_all_threads(&filter).map_err(at("seccomp"))
}

/// What a process keeps that others give up.
struct Kept<'a> {
    rights: CapabilitySet,
    calls: &'a [i64],
    /// Ports that are connected to by TCP; any without.
    ports: Option<&'a [u16]>,
}

impl Default for Kept<'_> {
    fn default() -> Self {
        Self {
            rights: CapabilitySet::empty(),
            calls: &[],
            ports: Some(&[]),
        }
    }
}

fn confine_to(written: &[PathBuf], read: &[PathBuf], kept: &Kept<'_>) -> Result<bool, SensorError> {
    give_up(kept)?;
    let has_landlock = shut_files(written, read, kept.ports)?;
    let filter = filter(kept.calls).map_err(at("seccomp"))?;
    apply_filter_all_threads(&filter).map_err(at("seccomp"))?;
    Ok(has_landlock)
}

/// Rights that are not kept go, for good.
fn give_up(kept: &Kept<'_>) -> Result<(), SensorError> {
    for capability in CapabilitySet::all().difference(kept.rights).iter() {
        let _is_shut = remove_capability_from_bounding_set(capability).is_ok();
    }
    let _is_clear = clear_ambient_capability_set().is_ok();
    let held = capabilities(None).map_err(at("capabilities"))?;
    let own = KEPT | kept.rights;
    let fewer = CapabilitySets {
        effective: held.effective & own,
        permitted: held.permitted & own,
        inheritable: held.permitted & kept.rights,
    };
    set_capabilities(None, fewer).map_err(at("capabilities"))?;
    // Who is not root hands them on to the programs it starts.
    for capability in (held.permitted & kept.rights).iter() {
        configure_capability_in_ambient_set(capability, true).map_err(at("capabilities"))?;
    }
    set_no_new_privs(true).map_err(at("no_new_privs"))
}

fn at<E: fmt::Display>(step: &'static str) -> impl Fn(E) -> SensorError {
    move |error| SensorError::Confine {
        step,
        why: error.to_string(),
    }
}

fn shut_files(
    written: &[PathBuf],
    read: &[PathBuf],
    ports: Option<&[u16]>,
) -> Result<bool, SensorError> {
    let landlock = at("Landlock");
    let created = Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK))
        .and_then(|rules| match ports {
            Some(_) => rules.handle_access(AccessNet::from_all(LANDLOCK)),
            None => Ok(rules),
        })
        .and_then(|rules| rules.scope(Scope::from_all(LANDLOCK)))
        .and_then(Ruleset::create);
    let mut rules: RulesetCreated = created.map_err(&landlock)?;
    let written = written
        .iter()
        .map(|folder| (folder, AccessFs::from_all(LANDLOCK)));
    let read = read
        .iter()
        .map(|folder| (folder, AccessFs::from_read(LANDLOCK)));
    for (folder, access) in written.chain(read) {
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        let open = PathFd::new(folder).map_err(|error| SensorError::Folder {
            path: folder.display().to_string(),
            why: error.to_string(),
        })?;
        let rule = PathBeneath::new(open, access);
        rules = rules.add_rule(rule).map_err(&landlock)?;
    }
    for port in ports.unwrap_or_default() {
        let rule = NetPort::new(*port, AccessNet::ConnectTcp);
        rules = rules.add_rule(rule).map_err(&landlock)?;
    }
    let status = rules.restrict_self().map_err(&landlock)?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

fn filter(allowed: &[i64]) -> Result<BpfProgram, seccompiler::BackendError> {
    let deadly = DEADLY.iter().filter(|call| !allowed.contains(call));
    let rules: BTreeMap<i64, _> = deadly.map(|call| (*call, Vec::new())).collect();
    let machine = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::KillProcess,
        machine,
    )?
    .try_into()
}
