//! Where records go. A sink is one file and one line in [`SINKS`].
//!
//! A sink sends and says what became of it. It keeps no queue, waits no longer than its time-outs, and retries nothing:
//! [`crate::Outlet`] does all of that. Opening one reads files and connects to nothing, so that a wrong option is told
//! at once and a receiver that is down is not in the way.

mod datagram;
mod file;
mod mail;
mod stream;
mod webhook;

use std::path::PathBuf;
use std::time::Duration;

use crate::format::{Format, FormatError};
use crate::outlet::Clock;
use crate::record::Record;
use crate::target::{Target, TargetError};

/// All kinds of sinks, by id.
pub static SINKS: &[SinkKind] = &[
    datagram::KIND,
    file::KIND,
    mail::KIND,
    stream::KIND,
    webhook::KIND,
];

/// How long a receiver may take to answer, and to take a connection.
const ANSWER_TIME: Duration = Duration::from_secs(30);
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// A kind of sink.
#[derive(Clone, Copy, Debug)]
pub struct SinkKind {
    /// Its name.
    pub id: &'static str,
    /// How its addresses begin.
    pub schemes: &'static [&'static str],
    /// What it is.
    pub about: &'static str,
    /// The format that is meant when none is said.
    pub format: &'static str,
    /// Whether there is a choice of formats.
    pub has_formats: bool,
    /// Makes one.
    pub open: fn(&mut Target, &Opening<'_>) -> Result<Opened, TargetError>,
}

/// What a sink is made with.
pub struct Opening<'a> {
    /// How records are written.
    pub format: &'static Format,
    /// How this host calls itself.
    pub host: &'a str,
    /// The time of day.
    pub clock: &'a Clock,
}

/// A sink, and what its process has to be allowed.
pub struct Opened {
    /// The sink.
    pub sink: Box<dyn Sink>,
    /// A folder it writes to.
    pub folder: Option<PathBuf>,
    /// A port it connects to by TCP.
    pub port: Option<u16>,
}

/// Where records go.
pub trait Sink: Send {
    /// Sends records in their order, and returns when the receiver has them, as far as it says so. Must not wait
    /// longer than its time-outs, and must not retry.
    ///
    /// # Errors
    /// When not all were taken: how many were, and whose fault it is.
    fn send(&mut self, records: &[Record]) -> Result<(), Failure>;

    /// Looks after a connection that nothing was sent over for a while.
    ///
    /// # Errors
    /// When something that was sent has to be taken for lost, and could not be sent again.
    fn check(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// Whose fault it is that a record was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Nobody took anything: it is tried until somebody does.
    Unreachable,
    /// The receiver does not want this record now: it is tried some times.
    Rejected,
    /// The receiver will never take this record.
    Never,
}

/// Why not all records were taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How many were, from the first on.
    pub done: usize,
    /// Why the next was not.
    pub why: String,
    /// Whose fault that is.
    pub blame: Blame,
    /// The receiver asks not to be tried before.
    pub not_before: Option<Duration>,
}

impl Failure {
    /// Nothing was taken, and it is not the record's fault.
    pub fn unreachable(why: impl Into<String>) -> Self {
        Self {
            done: 0,
            why: why.into(),
            blame: Blame::Unreachable,
            not_before: None,
        }
    }

    fn blaming(mut self, blame: Blame) -> Self {
        self.blame = blame;
        self
    }

    fn after(mut self, done: usize) -> Self {
        self.done = done;
        self
    }

    /// A record that cannot be written.
    fn unwritable(error: &FormatError) -> Self {
        Self::unreachable(error.to_string()).blaming(Blame::Never)
    }

    /// A record that is too long for the receiver, whatever is left out.
    fn too_long(bytes_max: usize) -> Self {
        Self::unreachable(format!("a record does not fit into {bytes_max} bytes"))
            .blaming(Blame::Never)
    }
}

/// Writes each record; where one cannot be, those before it are sent first and it is refused then.
fn written<T>(
    records: &[Record],
    write: impl Fn(&Record) -> Result<T, Failure>,
    mut send: impl FnMut(Vec<T>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut out = Vec::with_capacity(records.len());
    let mut wrong = None;
    for (at, record) in records.iter().enumerate() {
        match write(record) {
            Ok(text) => out.push(text),
            Err(failure) => {
                wrong = Some(failure.after(at));
                break;
            }
        }
    }
    if !out.is_empty() {
        send(out)?;
    }
    wrong.map_or(Ok(()), Err)
}
