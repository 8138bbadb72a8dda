//! Stops processes of this machine where they stand, with what they hold in memory, and lets them go on.
//!
//! A decision says which: one by its number, or whoever began a conversation of a pattern. Who that is the kernel's
//! tables say: the socket, and who has it open. By the freezer of cgroups where that can be had ([`cgroup`]), else by
//! SIGSTOP, which a process's parent sees and anybody of its user can end. Nothing in the kernel lets them go in time by
//! itself, so what is stopped stands in a book ([`kept`]) before it is, and whoever opens that next lets go whom
//! no decision wants.

mod cgroup;
mod find;
mod hand;
mod kept;
mod proc;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use thymus_schema::Timestamp;

use self::find::Claims;
use self::hand::Away;
pub use self::hand::{Asked, Hand};
use self::kept::{Book, Frozen, How};
use self::proc::Stat;
pub use self::proc::{Process, Socket, boot, fuzz_proc, sockets};
use crate::cut::Cut;
use crate::decision::{DecisionId, Realm, Verb};
use crate::responder::{Grasp, Receipt, Responder, ResponderError, ResponderSpec};
use crate::table::{Holds, Table};

pub(crate) const SPEC: ResponderSpec = ResponderSpec {
    id: "freezer",
    title: "processes of this machine are stopped where they stand",
    realm: Realm::Processes,
    build: |policy, place| {
        Ok(Box::new(Away {
            hand: place.freezer.clone(),
            never: policy.never_processes.clone(),
        }))
    },
};

/// Processes that are stopped at a time.
const FROZEN_MAX: usize = 256;
/// The responder, in a process that may look at others and stop them.
pub struct Freezer {
    folder: PathBuf,
    never: BTreeSet<PathBuf>,
    /// Where groups are, if anywhere.
    groups: Option<PathBuf>,
}

impl Freezer {
    /// One that keeps its book in the folder of the response.
    pub fn new(folder: &Path, never: BTreeSet<PathBuf>) -> Self {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Self {
            folder: folder.to_path_buf(),
            never,
            groups: cgroup::mounted(&mountinfo),
        }
    }

    /// The same, by signals alone.
    #[must_use]
    pub fn by_signals(self) -> Self {
        Self {
            groups: None,
            ..self
        }
    }

    /// Says that this very process looks after the book from now on.
    ///
    /// # Errors
    /// When the book cannot be used.
    pub fn take_over(&self) -> Result<(), ResponderError> {
        let mut book = Book::open(&self.folder)?;
        book.pages.keeper = std::process::id();
        book.write()
    }

    /// Whether this very process still looks after it, and there is something to look after.
    ///
    /// # Errors
    /// When the book cannot be used.
    pub fn is_needed(&self) -> Result<bool, ResponderError> {
        let book = Book::open(&self.folder)?;
        Ok(book.pages.keeper == std::process::id() && !book.pages.frozen.is_empty())
    }

    /// Lets go whom none of these decisions holds.
    ///
    /// # Errors
    /// When somebody could not be let go, or the book cannot be used.
    pub fn keep_only(&self, wanted: &BTreeSet<DecisionId>) -> Result<usize, ResponderError> {
        self.drop_claims(|id, _| wanted.contains(&id))
    }

    /// Lets go whose time is over.
    ///
    /// # Errors
    /// When somebody could not be let go, or the book cannot be used.
    pub fn expire(&self, now: Timestamp) -> Result<usize, ResponderError> {
        self.drop_claims(|_, until| until.is_none_or(|until| until > now))
    }

    fn drop_claims(
        &self,
        keeps: impl Fn(DecisionId, Option<Timestamp>) -> bool,
    ) -> Result<usize, ResponderError> {
        if !self.folder.exists() {
            return Ok(0);
        }
        let mut book = Book::open(&self.folder)?;
        for one in &mut book.pages.frozen {
            one.of.retain(|id, until| keeps(*id, *until));
        }
        release(&mut book)
    }

    /// Makes it so that these are stopped, and no others.
    ///
    /// # Errors
    /// When it is not so afterwards.
    pub fn hold(&self, wanted: &Holds) -> Result<Receipt, ResponderError> {
        let mut receipt = Receipt::default();
        let mut book = Book::open(&self.folder)?;
        let known = |one: &mut Frozen| {
            one.of.retain(|id, _| wanted.contains_key(id));
            for (id, until) in &mut one.of {
                *until = wanted.get(id).and_then(|hold| hold.until);
            }
        };
        book.pages.frozen.iter_mut().for_each(known);
        receipt.removed = release(&mut book)?;
        self.look_after(&mut book, &mut receipt)?;
        let (targets, spared) = self.targets(wanted);
        for (process, of) in targets.into_values() {
            let mut frozen = book.pages.frozen.iter_mut();
            if let Some(one) = frozen.find(|one| is_same(&one.process, &process)) {
                one.of.extend(of);
            } else if book.pages.frozen.len() >= FROZEN_MAX {
                receipt.trouble = Some(format!("{FROZEN_MAX} processes are frozen, and more fit"));
            } else if !Stat::of(process.pid).is_some_and(|stat| stat.is_stopped()) {
                // Who is stopped by somebody else is no danger, and not ours to let go.
                receipt.added += usize::from(self.freeze(&mut book, &process, &of)?);
            }
        }
        book.write()?;
        for one in &book.pages.frozen {
            for id in one.of.keys() {
                receipt.held.entry(*id).or_default().push(told(one));
            }
        }
        for (process, why) in spared {
            let said = format!("{process} fits and is not frozen: {why}");
            receipt.trouble = receipt.trouble.or(Some(said));
        }
        Ok(receipt)
    }

    /// Forgets who is dead, and stops again who was let go by somebody else.
    fn look_after(&self, book: &mut Book, receipt: &mut Receipt) -> Result<(), ResponderError> {
        for at in (0..book.pages.frozen.len()).rev() {
            let Some(one) = book.pages.frozen.get(at).cloned() else {
                continue;
            };
            if !is_there(&one.process) {
                thaw(&one)?;
                book.pages.frozen.remove(at);
            } else if !holds(&one) {
                book.pages.frozen.remove(at);
                let process = &one.process;
                receipt
                    .repaired
                    .push(format!("{process} was let go by somebody else"));
                // What is left of the group it was in.
                thaw(&one)?;
                self.freeze(book, &one.process, &one.of)?;
            }
        }
        Ok(())
    }

    /// Writes down, then stops; whether there was anything left to stop.
    fn freeze(
        &self,
        book: &mut Book,
        process: &Process,
        of: &Claims,
    ) -> Result<bool, ResponderError> {
        let group = self
            .groups
            .as_deref()
            .and_then(|root| cgroup::group_of(root, process.pid));
        let name = format!("thymus-{}-{}", process.pid, process.started);
        let by_group = group.map(|group| match group.parent() {
            // One of ours that a lost book forgot.
            Some(from) if group.ends_with(&name) => How::Group {
                from: from.to_path_buf(),
                own: group,
            },
            _ => How::Group {
                own: group.join(&name),
                from: group,
            },
        });
        let mut failed = None;
        for how in by_group.into_iter().chain([How::Signal]) {
            if !is_there(process) {
                return Ok(false);
            }
            let one = Frozen {
                process: process.clone(),
                how,
                of: of.clone(),
            };
            book.pages.frozen.push(one.clone());
            if let Err(error) = book.write() {
                book.pages.frozen.pop();
                return Err(error);
            }
            match stop(&one) {
                Ok(()) => return Ok(true),
                Err(error) => {
                    // Whatever it came to is undone, and it is nobody's.
                    thaw(&one)?;
                    book.pages.frozen.pop();
                    failed = Some(error);
                }
            }
        }
        book.write()?;
        match failed.filter(|_| is_there(process)) {
            Some(source) => Err(ResponderError::System {
                doing: format!("freeze {process}"),
                source,
            }),
            None => Ok(false),
        }
    }
}

impl Responder for Freezer {
    fn apply(&mut self, wanted: &Table, _: Timestamp) -> Result<Receipt, ResponderError> {
        self.hold(wanted.processes())
    }

    fn reconcile(&mut self, wanted: &Table, _: Timestamp) -> Result<Receipt, ResponderError> {
        self.hold(wanted.processes())
    }

    fn remove(&mut self) -> Result<(), ResponderError> {
        self.keep_only(&BTreeSet::new()).map(|_| ())
    }

    fn rehearse(&mut self, verb: Verb, cuts: &[Cut]) -> Result<Grasp, ResponderError> {
        if verb.realm() != Some(Realm::Processes) {
            return Ok(Grasp::default());
        }
        let hold = crate::table::Hold {
            cuts: cuts.to_vec(),
            until: None,
        };
        let (targets, spared) = self.targets(&Holds::from([(DecisionId(0), hold)]));
        Ok(Grasp {
            held: targets
                .values()
                .map(|(process, _)| process.to_string())
                .collect(),
            spared: spared
                .into_iter()
                .map(|(process, why)| (process.to_string(), why))
                .collect(),
        })
    }
}

/// Lets go whom no decision holds; how many there were.
fn release(book: &mut Book) -> Result<usize, ResponderError> {
    let (mut freed, mut failed) = (0, None);
    let mut kept = Vec::new();
    for one in std::mem::take(&mut book.pages.frozen) {
        if !one.of.is_empty() {
            kept.push(one);
            continue;
        }
        match thaw(&one) {
            Ok(()) => freed += 1,
            Err(error) => {
                failed = failed.or(Some(error));
                kept.push(one);
            }
        }
    }
    book.pages.frozen = kept;
    book.write()?;
    failed.map_or(Ok(freed), Err)
}

/// When a process began.
pub(crate) fn started(pid: i32) -> Option<u64> {
    Some(Stat::of(pid)?.started)
}

fn is_same(one: &Process, other: &Process) -> bool {
    (one.pid, one.started) == (other.pid, other.started)
}

/// Whether it is still that very process.
fn is_there(process: &Process) -> bool {
    let stat = Stat::of(process.pid);
    stat.is_some_and(|stat| stat.started == process.started && !stat.is_dead())
}

/// Whether it is stopped by us.
fn holds(one: &Frozen) -> bool {
    match &one.how {
        How::Group { own, .. } => cgroup::holds(own, one.process.pid),
        How::Signal => Stat::of(one.process.pid).is_some_and(|stat| stat.is_stopped()),
    }
}

fn told(one: &Frozen) -> String {
    let process = &one.process;
    match &one.how {
        How::Group { own, .. } if cgroup::is_frozen(own) => process.to_string(),
        How::Group { .. } => format!("{process}, which waits for a device before it stops"),
        How::Signal => format!("{process}, by SIGSTOP"),
    }
}

fn stop(one: &Frozen) -> io::Result<()> {
    match &one.how {
        How::Group { own, .. } => {
            cgroup::freeze(own, one.process.pid)?;
            // Its number may have become another's in that moment: what is there now is put back.
            is_there(&one.process)
                .then_some(())
                .ok_or_else(|| io::ErrorKind::NotFound.into())
        }
        How::Signal => signal(&one.process, Signal::STOP),
    }
}

fn thaw(one: &Frozen) -> Result<(), ResponderError> {
    let done = match &one.how {
        How::Group { own, from } => cgroup::thaw(own, from),
        How::Signal if is_there(&one.process) => signal(&one.process, Signal::CONT),
        How::Signal => Ok(()),
    };
    done.map_err(|source| ResponderError::System {
        doing: format!("let {} go on", one.process),
        source,
    })
}

/// Sends a signal to that very process, and to nobody who has its number by then.
fn signal(process: &Process, signal: Signal) -> io::Result<()> {
    let pid = Pid::from_raw(process.pid).ok_or(io::ErrorKind::InvalidInput)?;
    let gone = |error: rustix::io::Errno| error == rustix::io::Errno::SRCH;
    let open = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(error) if gone(error) => return Ok(()),
        open => open?,
    };
    if !is_there(process) {
        return Ok(());
    }
    match pidfd_send_signal(&open, signal) {
        Err(error) if !gone(error) => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
