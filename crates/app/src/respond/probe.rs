//! Health probes: what has to go on working after an action. One that worked before and fails now speaks against
//! whatever began since and is not confirmed.

use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

const WAIT: Duration = Duration::from_secs(2);
/// So many rounds in a row without a failure confirm.
const ROUNDS: u32 = 3;

/// What a round of probes says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// All that worked before works.
    Good,
    /// Something that worked before does not.
    Harmed(String),
}

/// Probes in a thread of their own, asked for one round at a time.
pub(super) struct Probes {
    ask: SyncSender<Vec<String>>,
    answers: Receiver<Vec<bool>>,
    targets: Vec<String>,
    /// Which worked at the last round that nothing spoke against.
    worked: Vec<bool>,
    is_asked: bool,
    good: u32,
}

impl Probes {
    pub(super) fn new() -> Self {
        let (ask, asked) = sync_channel::<Vec<String>>(1);
        let (answer, answers) = sync_channel(1);
        thread::spawn(move || {
            for targets in asked {
                let works: Vec<bool> = targets.iter().map(|target| works(target)).collect();
                if answer.send(works).is_err() {
                    return;
                }
            }
        });
        Self {
            ask,
            answers,
            targets: Vec::new(),
            worked: Vec::new(),
            is_asked: false,
            good: 0,
        }
    }

    /// Another round, and what the last one said; `is_waited` when something waits to be confirmed.
    pub(super) fn round(&mut self, targets: &[String], is_waited: bool) -> Option<Health> {
        let works = self.answers.try_recv().ok();
        if self.targets != targets {
            self.targets = targets.to_vec();
            self.worked.clear();
        }
        let health = works.and_then(|works| {
            self.is_asked = false;
            self.judge(works, is_waited)
        });
        if !self.is_asked && !self.targets.is_empty() {
            self.is_asked = self.ask.try_send(self.targets.clone()).is_ok();
        }
        health
    }

    fn judge(&mut self, works: Vec<bool>, is_waited: bool) -> Option<Health> {
        if works.len() != self.targets.len() {
            return None;
        }
        let mut pairs = self.worked.iter().zip(&works).zip(&self.targets);
        let failed = pairs.find(|((before, now), _)| **before && !**now);
        if let (Some((_, target)), true) = (failed, is_waited) {
            self.good = 0;
            return Some(Health::Harmed(format!(
                "{target} worked before and fails now"
            )));
        }
        self.good = if is_waited { self.good + 1 } else { 0 };
        self.worked = works;
        (self.good >= ROUNDS && self.worked.contains(&true)).then_some(Health::Good)
    }
}

fn works(target: &str) -> bool {
    let address = target.strip_prefix("tcp://").unwrap_or(target);
    let addresses = address.to_socket_addrs();
    addresses.is_ok_and(|mut all| all.any(|at| TcpStream::connect_timeout(&at, WAIT).is_ok()))
}
