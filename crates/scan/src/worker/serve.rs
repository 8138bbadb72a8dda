//! The worker: confines itself, then looks at one file after the other until its parent hangs up.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use super::confine::{close_others, confine, filter_calls};
use super::protocol::{
    Ready, Start, Task, receive, receive_model, receive_rules, receive_task, send, send_report,
};
use crate::read::take;
use crate::run::STACK_BYTES;
use crate::{FileReport, Judge, Reason, RuleMatcher, ScanPolicy, Scanner};

/// Serves the parent at the other end of standard input until it hangs up. `clock` tells milliseconds
/// since some moment; `make_judge` makes the judge that the policy asks for, with the models that the parent
/// sends: those whose signatures it checked; `read_rules` reads the rules that the parent compiled. Nothing hostile is read before the process is confined.
///
/// # Errors
/// When standard input is no such parent, or the process could not be confined, which the parent is
/// told.
pub fn serve(
    make_judge: impl FnOnce(&ScanPolicy, Vec<Vec<u8>>) -> io::Result<Box<dyn Judge>>,
    read_rules: impl FnOnce(&[u8]) -> io::Result<Box<dyn RuleMatcher>>,
    clock: &(dyn Fn() -> u64 + Sync),
) -> io::Result<()> {
    close_others();
    // What a decoder says as it gives up is for nobody; the report says that it did.
    std::panic::set_hook(Box::new(|_| {}));
    let socket: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
    let mut stream = UnixStream::from(socket);
    let start: Start = receive(&mut stream)?;
    let models = (0..start.models).map(|_| receive_model(&mut stream));
    let models = models.collect::<io::Result<_>>()?;
    let rules = start.has_rules.then(|| receive_rules(&mut stream));
    // They are code for this machine, which can only be made room for before the filter.
    let rules = rules
        .transpose()?
        .map(|rules| read_rules(&rules))
        .transpose()?;
    let Start { policy, limits, .. } = start;
    let mut judge = make_judge(&policy, models)?;
    let confinement = match confine(limits) {
        Ok(confinement) => confinement,
        Err(trouble) => return give_up(&stream, &trouble),
    };
    thread::scope(|scope| {
        let work = || {
            // The last moment: the filter ends the starting of threads.
            if limits.threads > 1 {
                judge.start_threads(limits.threads);
            }
            if let Some(Err(why)) = rules.as_ref().map(|rules| rules.start()) {
                return give_up(&stream, &why);
            }
            if let Err(trouble) = filter_calls() {
                return give_up(&stream, &trouble);
            }
            send(&stream, &Ready::Confined(confinement))?;
            let scanner = Scanner::new(&policy, Some(&*judge)).with_rules(rules.as_deref());
            work(&stream, &scanner, clock)
        };
        let worker = thread::Builder::new().stack_size(STACK_BYTES);
        let ended = worker.spawn_scoped(scope, work)?.join();
        ended.map_err(|_| io::Error::other("the worker panicked"))?
    })
}

fn give_up(stream: &UnixStream, trouble: &impl fmt::Display) -> io::Result<()> {
    let trouble = trouble.to_string();
    send(stream, &Ready::Failed(trouble.clone()))?;
    Err(io::Error::other(trouble))
}

fn work(stream: &UnixStream, scanner: &Scanner<'_>, clock: &dyn Fn() -> u64) -> io::Result<()> {
    while let Some((task, file)) = receive_task(stream)? {
        let report = look(scanner, &task, File::from(file), clock);
        send_report(stream, report, scanner.policy())?;
    }
    Ok(())
}

fn look(scanner: &Scanner<'_>, task: &Task, file: File, clock: &dyn Fn() -> u64) -> FileReport {
    let policy: &ScanPolicy = scanner.policy();
    let began = clock();
    let is_over = || clock().saturating_sub(began) > policy.millis_max;
    let look = || match take(file, task.bytes, policy.file_bytes_max) {
        Ok(bytes) => scanner.scan(&task.path, &bytes, &is_over),
        Err((bytes, reason)) => FileReport::not_judged(bytes, reason),
    };
    catch_unwind(AssertUnwindSafe(look))
        .unwrap_or_else(|_| FileReport::not_judged(task.bytes, Reason::DecoderPanicked))
}
