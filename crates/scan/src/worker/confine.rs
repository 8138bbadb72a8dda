//! Gives up, for good, what a process can do besides reading memory and answering: files, network, other
//! processes, rights, and memory without end. To be called before the first hostile byte, while there is
//! one thread.

use std::fmt;
use std::fs;

use landlock::{
    ABI, Access, AccessFs, AccessNet, RestrictionStatus, Ruleset, RulesetAttr, RulesetStatus, Scope,
};
use nix::unistd::{Gid, Uid};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};
use serde::{Deserialize, Serialize};

use super::filter;
use super::protocol::Limits;

/// Standard input, output and error, the way to the parent, and the file at hand.
const FILES_MAX: u64 = 5;
/// The user with no rights, by custom (Debian's and Fedora's `nobody`).
const NOBODY: u32 = 65_534;
/// The newest rules of Landlock (landlock(7)) that are asked for; the kernel takes what it knows.
const LANDLOCK: ABI = ABI::V7;

/// How far a worker is confined. The filter of system calls is always there: without it none starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// What became of Landlock.
    pub landlock: Landlock,
    /// Whether it left its user, as root does.
    pub changed_user: bool,
}

/// How much of Landlock the kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Landlock {
    /// All that is asked for.
    Full,
    /// Files, at least.
    Partial,
    /// None.
    Absent,
}

/// Which step failed, and how.
#[derive(Debug)]
pub(super) struct Trouble(&'static str, String);

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0, self.1)
    }
}

fn at<E: fmt::Display>(step: &'static str) -> impl Fn(E) -> Trouble {
    move |error| Trouble(step, error.to_string())
}

/// Confines this process, but for the filter of system calls.
pub(super) fn confine(limits: Limits) -> Result<Confinement, Trouble> {
    shut_capabilities();
    let changed_user = leave_user()?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none).map_err(at("capabilities"))?;
    set_no_new_privs(true).map_err(at("no_new_privs"))?;
    // Both are lost with a change of user, so after it.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(at("dumpable"))?;
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(at("pdeathsig"))?;
    let landlock = landlock().map_err(at("Landlock"))?;
    limit(limits)?;
    Ok(Confinement {
        landlock,
        changed_user,
    })
}

/// The last step, which also ends the starting of threads and processes.
pub(super) fn filter_calls() -> Result<(), Trouble> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Nproc, none).map_err(at("RLIMIT_NPROC"))?;
    filter::apply().map_err(at("seccomp"))
}

/// Closes what was inherited besides standard input, output and error.
pub(super) fn close_others() {
    let listed = fs::read_dir("/proc/self/fd").map(|listed| {
        let names = listed.flatten().map(|entry| entry.file_name());
        let numbers = names.filter_map(|name| name.to_str()?.parse().ok());
        numbers.collect::<Vec<i32>>()
    });
    for number in listed.unwrap_or_else(|_| (3..1024).collect()) {
        if number > 2 {
            // The one that listed them is closed by now, and that is no error.
            let _was_open = nix::unistd::close(number).is_ok();
        }
    }
}

/// Root becomes nobody, where the parent can still end the process then, and where there is a nobody.
fn leave_user() -> Result<bool, Trouble> {
    let held = capabilities(None).map_err(at("capabilities"))?.effective;
    let needed = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::KILL;
    if !nix::unistd::geteuid().is_root() || !held.contains(needed) {
        return Ok(false);
    }
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    let left = nix::unistd::setgroups(&[])
        .and_then(|()| nix::unistd::setresgid(group, group, group))
        .and_then(|()| nix::unistd::setresuid(user, user, user));
    Ok(left.is_ok())
}

/// Sees to it that no capability comes back. Who may not do this has none to lose.
fn shut_capabilities() {
    for capability in CapabilitySet::all().iter() {
        let _is_shut = remove_capability_from_bounding_set(capability).is_ok();
    }
    let _is_clear = clear_ambient_capability_set().is_ok();
}

fn landlock() -> Result<Landlock, landlock::RulesetError> {
    let RestrictionStatus { ruleset, .. } = Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?
        .restrict_self()?;
    Ok(match ruleset {
        RulesetStatus::FullyEnforced => Landlock::Full,
        RulesetStatus::PartiallyEnforced => Landlock::Partial,
        RulesetStatus::NotEnforced => Landlock::Absent,
    })
}

fn limit(limits: Limits) -> Result<(), Trouble> {
    let bounds = [
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Memlock, 0),
        (Resource::Msgqueue, 0),
        (Resource::Nofile, FILES_MAX),
        (Resource::Data, limits.memory_bytes_max),
        (Resource::Cpu, limits.cpu_secs_max),
    ];
    for (what, most) in bounds {
        let most = rustix::process::getrlimit(what)
            .maximum
            .map_or(most, |old| old.min(most));
        let both = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(what, both).map_err(at("rlimits"))?;
    }
    Ok(())
}
