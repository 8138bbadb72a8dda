//! Standard output in a thread of its own, so that a reader who does not read holds up nothing but itself.

use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{JoinHandle, spawn};

use anyhow::{Result, anyhow};

/// Messages that may wait for a slow reader.
const WAITING_MAX: usize = 64;

/// Writes messages, one after another.
pub(super) struct Printer {
    sender: SyncSender<Vec<u8>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Printer {
    pub(super) fn start(mut out: impl Write + Send + 'static) -> Self {
        let (sender, messages) = sync_channel::<Vec<u8>>(WAITING_MAX);
        let thread = spawn(move || {
            messages.iter().try_for_each(|message| {
                out.write_all(&message)?;
                out.flush()
            })
        });
        Self {
            sender,
            thread: Some(thread),
        }
    }

    /// Whether there was room for the message: if not, it is to be given again later.
    ///
    /// # Errors
    /// When standard output cannot be written to.
    pub(super) fn print(&mut self, message: Vec<u8>) -> Result<bool> {
        match self.sender.try_send(message) {
            Ok(()) => Ok(true),
            Err(TrySendError::Full(_)) => Ok(false),
            Err(TrySendError::Disconnected(_)) => {
                self.join()?;
                Err(anyhow!("standard output is closed"))
            }
        }
    }

    /// Waits until all of it is written.
    ///
    /// # Errors
    /// When standard output cannot be written to.
    pub(super) fn finish(mut self) -> Result<()> {
        let (closed, _) = sync_channel(0);
        self.sender = closed;
        self.join()
    }

    fn join(&mut self) -> Result<()> {
        let ended = self.thread.take().map(JoinHandle::join);
        match ended {
            Some(Ok(written)) => Ok(written?),
            Some(Err(_)) => Err(anyhow!("the printing thread stopped unexpectedly")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// Takes a byte for each leave it is given.
    struct Slow(Receiver<()>, SyncSender<u8>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
            self.0.recv().map_err(gone)?;
            self.1.send(bytes[0]).map(|()| 1).map_err(io::Error::other)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_who_does_not_read_holds_up_nothing_and_loses_nothing() {
        let (leave, leaves) = channel();
        let (sender, written) = sync_channel(1_000);
        let mut printer = Printer::start(Slow(leaves, sender));
        let taken: Vec<u8> = (0..=255)
            .filter(|n| printer.print(vec![*n]).unwrap())
            .collect();
        assert!((WAITING_MAX..256).contains(&taken.len()), "{}", taken.len());
        for _ in &taken {
            leave.send(()).unwrap();
        }
        printer.finish().unwrap();
        assert_eq!(written.iter().collect::<Vec<_>>(), taken);
    }

    #[test]
    fn a_reader_who_went_away_is_an_error() {
        let (leave, leaves) = channel();
        let (sender, _written) = sync_channel(1);
        let mut printer = Printer::start(Slow(leaves, sender));
        drop(leave);
        assert!(printer.print(vec![0]).is_ok());
        let error = printer.finish().unwrap_err();
        assert!(error.downcast_ref::<io::Error>().is_some(), "{error}");
    }
}
