//! `thymus response-freezer`: the process that stops others for the enforcer, which starts it before it gives up its own
//! rights, and only where the policy names the freezer.
//!
//! Nothing in the kernel lets a stopped process go in time. So this one does, whatever becomes of the enforcer: it goes
//! by the times in the book, and where the enforcer was killed it stays until the last of them is over or another one
//! of its kind has taken the book over. Who ends it in good order has everybody let go; where it is killed itself, the
//! next start of the enforcer or `thymus panic` does that.

use std::collections::BTreeSet;
use std::io::{BufRead, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use thymus_respond::{Asked, DecisionId, Freezer, Hand, Policy, Realm, Responder, Verb};
use thymus_schema::Timestamp;

use super::{Reader, apart, folder};
use crate::Found;
use crate::cli::DoorArgs;
use crate::replay::now;
use crate::run::{Stop, now_nanos};

/// Nothing waits longer to be looked after.
const TICK: Duration = Duration::from_millis(500);

/// The enforcer's side.
pub(super) struct Helper {
    hand: Hand,
    child: Child,
}

impl Helper {
    /// Lets go whom an earlier enforcer stopped and no decision wants stopped now; and starts the process, where the
    /// policy names the freezer. To be done before rights are given up.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(state: &Path, policy: &Policy, is_confined: bool) -> Result<Option<Self>> {
        if let Err(error) = let_go(state, policy) {
            eprintln!("thymus: {error}");
        }
        if !policy.reaches(Realm::Processes) {
            return Ok(None);
        }
        let mut child = apart("response-freezer", state, is_confined)?
            // Ctrl-C is for the others: the enforcer says when it ends.
            .process_group(0)
            .spawn()
            .context("cannot start the process that stops others")?;
        let (asks, answers) = child
            .stdin
            .take()
            .zip(child.stdout.take())
            .context("the process that stops others has no ends")?;
        let hand = Hand::new(Box::new(asks), Box::new(answers));
        Ok(Some(Self { hand, child }))
    }

    /// Where it is asked.
    pub(super) fn hand(&self) -> Hand {
        self.hand.clone()
    }

    /// Whether it has ended, though nobody asked it to.
    pub(super) fn is_gone(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

/// Whom no decision wants stopped goes on.
fn let_go(state: &Path, policy: &Policy) -> Result<()> {
    let ledger = Reader::new(state).ledger(clock())?;
    let wanted: BTreeSet<DecisionId> = ledger
        .active()
        .filter(|one| one.verb == Verb::FreezeProcess && policy.carries_out(one.verb))
        .map(|one| one.id)
        .collect();
    let freed = Freezer::new(&folder(state), BTreeSet::new()).keep_only(&wanted)?;
    if freed > 0 {
        eprintln!("thymus: {freed} processes that an earlier enforcer had stopped go on");
    }
    Ok(())
}

/// The time of day.
fn clock() -> Timestamp {
    Timestamp::from_nanos(now_nanos())
}

/// Runs the process.
///
/// # Errors
/// When it cannot be confined, or its book cannot be used.
pub(crate) fn freezer(args: &DoorArgs) -> Result<Found> {
    let folder = folder(&args.state);
    if !args.no_sandbox {
        thymus_sensor::confine_freezer()?;
    }
    let stop = Stop::listen()?;
    let freezer = Freezer::new(&folder, BTreeSet::new());
    freezer.take_over()?;
    let asked = listen();
    let mut looked = now();
    loop {
        match asked.recv_timeout(TICK) {
            Ok(line) => {
                let mut answer = answer(&folder, &line)?;
                answer.push(b'\n');
                let mut out = std::io::stdout().lock();
                // An enforcer that is gone is noticed at the other pipe.
                let _is_heard = out.write_all(&answer).and_then(|()| out.flush()).is_ok();
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if stop.is_due() {
            break;
        }
        if looked.elapsed() >= TICK {
            looked = now();
            freezer.expire(clock())?;
        }
    }
    while !stop.is_due() && freezer.is_needed()? {
        freezer.expire(clock())?;
        thread::sleep(TICK);
    }
    if stop.is_due() {
        freezer.keep_only(&BTreeSet::new())?;
    }
    Ok(Found::Nothing)
}

/// The lines of standard input, until its other end is gone.
fn listen() -> Receiver<String> {
    let (into, asked) = sync_channel(1);
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if into.send(line).is_err() {
                return;
            }
        }
    });
    asked
}

fn answer(folder: &Path, line: &str) -> Result<Vec<u8>> {
    Ok(match serde_json::from_str(line) {
        Ok(Asked::Hold { wanted, never }) => said(Freezer::new(folder, never).hold(&wanted)),
        Ok(Asked::Rehearse { cuts, never }) => {
            said(Freezer::new(folder, never).rehearse(Verb::FreezeProcess, &cuts))
        }
        Ok(Asked::Remove) => said(Freezer::new(folder, BTreeSet::new()).remove()),
        Err(error) => said(Err::<(), _>(error)),
    }?)
}

fn said<T: Serialize, E: ToString>(done: Result<T, E>) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&done.map_err(|error| error.to_string()))
}
