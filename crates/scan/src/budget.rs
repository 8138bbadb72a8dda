//! What opening one file may cost. Every byte out of every decoder goes through here, so that bombs end.

use std::cell::Cell;
use std::io::{self, Read};

use crate::{FileType, Reason, ScanPolicy};

const STEP: usize = 64 << 10;

/// What opening one file may cost, and what it has cost. Shared by everything that opens parts of it.
pub(crate) struct Budget<'a> {
    pub(crate) policy: &'a ScanPolicy,
    is_over: &'a dyn Fn() -> bool,
    bytes_max: u64,
    decoded: Cell<u64>,
    taken: Cell<u64>,
    open: Cell<u64>,
    members: Cell<u32>,
    stopped: Cell<Option<Reason>>,
}

impl<'a> Budget<'a> {
    /// For a file of `length` bytes; `is_over` tells when its time is up.
    pub(crate) fn new(policy: &'a ScanPolicy, length: u64, is_over: &'a dyn Fn() -> bool) -> Self {
        let by_ratio = length.saturating_mul(policy.ratio_max);
        Self {
            policy,
            is_over,
            bytes_max: policy
                .unpacked_bytes_max
                .min(by_ratio.max(policy.ratio_free_bytes)),
            decoded: Cell::new(0),
            taken: Cell::new(0),
            open: Cell::new(0),
            members: Cell::new(0),
            stopped: Cell::new(None),
        }
    }

    /// Why nothing more may be opened, once that is so.
    pub(crate) fn stopped(&self) -> Option<Reason> {
        if self.stopped.get().is_none() && (self.is_over)() {
            self.stopped.set(Some(Reason::OutOfTime));
        }
        self.stopped.get()
    }

    /// Counts a member.
    pub(crate) fn count(&self) -> Result<(), Reason> {
        if let Some(reason) = self.stopped() {
            return Err(reason);
        }
        if self.members.get() >= self.policy.members_max {
            self.stopped.set(Some(Reason::TooManyMembers));
            return Err(Reason::TooManyMembers);
        }
        self.members.set(self.members.get() + 1);
        Ok(())
    }

    /// Reads a member of a file of type `within`: what could be read, and why that is not all of it.
    pub(crate) fn take(
        &self,
        within: FileType,
        reader: &mut dyn Read,
    ) -> (Held<'_>, Option<Reason>) {
        let mut held = Held {
            bytes: Vec::new(),
            open: &self.open,
        };
        let why = self.fill(within, reader, &mut held).err();
        (held, why)
    }

    fn fill(
        &self,
        within: FileType,
        reader: &mut dyn Read,
        held: &mut Held<'_>,
    ) -> Result<(), Reason> {
        let mut step = vec![0; STEP];
        loop {
            if let Some(reason) = self.stopped() {
                return Err(reason);
            }
            let read = match reader.read(&mut step) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Err(self.stopped().unwrap_or(Reason::Broken(within))),
            };
            let part = step.get(..read).unwrap_or_default();
            let length = held.bytes.len() as u64 + read as u64;
            if length > self.policy.member_bytes_max
                || self.open.get() + read as u64 > self.policy.open_bytes_max
            {
                held.clear();
                return Err(Reason::TooLarge);
            }
            self.spend(&self.taken, read as u64)?;
            self.open.set(self.open.get() + read as u64);
            held.bytes.extend_from_slice(part);
        }
    }

    fn spend(&self, counter: &Cell<u64>, bytes: u64) -> Result<(), Reason> {
        counter.set(counter.get().saturating_add(bytes));
        if counter.get() > self.bytes_max {
            self.stopped.set(Some(Reason::ExpandsTooMuch));
            return Err(Reason::ExpandsTooMuch);
        }
        Ok(())
    }

    /// Counts bytes that a decoder without a reader has given.
    pub(crate) fn decoded(&self, bytes: u64) -> Result<(), Reason> {
        self.stopped().map_or(Ok(()), Err)?;
        self.spend(&self.decoded, bytes)
    }

    /// Holds a member that was rebuilt in memory.
    pub(crate) fn hold(&self, bytes: Vec<u8>) -> Result<Held<'_>, Reason> {
        let length = bytes.len() as u64;
        if length > self.policy.member_bytes_max
            || self.open.get() + length > self.policy.open_bytes_max
        {
            return Err(Reason::TooLarge);
        }
        self.spend(&self.taken, length)?;
        self.open.set(self.open.get() + length);
        Ok(Held {
            bytes,
            open: &self.open,
        })
    }

    /// Counts what comes out of a decoder, also what is skipped there.
    pub(crate) fn meter<R: Read>(&self, reader: R) -> Metered<'_, 'a, R> {
        Metered {
            reader,
            budget: self,
        }
    }
}

/// Bytes of a member while it is looked at.
pub(crate) struct Held<'b> {
    bytes: Vec<u8>,
    open: &'b Cell<u64>,
}

impl Held<'_> {
    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn clear(&mut self) {
        self.open
            .set(self.open.get().saturating_sub(self.bytes.len() as u64));
        self.bytes = Vec::new();
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A decoder under a budget.
pub(crate) struct Metered<'b, 'a, R> {
    reader: R,
    budget: &'b Budget<'a>,
}

impl<R: Read> Read for Metered<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.budget.stopped().is_some() {
            return Err(io::Error::other("the budget is spent"));
        }
        let read = self.reader.read(buffer)?;
        self.budget
            .spend(&self.budget.decoded, read as u64)
            .map_err(|reason| io::Error::other(reason.to_string()))?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> ScanPolicy {
        ScanPolicy {
            member_bytes_max: 100,
            unpacked_bytes_max: 250,
            open_bytes_max: 150,
            ratio_free_bytes: 1000,
            members_max: 2,
            ..ScanPolicy::default()
        }
    }

    #[test]
    fn a_member_and_all_of_them_and_those_open_at_once_are_bounded() {
        let policy = policy();
        let budget = Budget::new(&policy, 1, &|| false);
        let take = |length: u64| budget.take(FileType::Zip, &mut io::repeat(1).take(length));
        assert_eq!(take(101).1, Some(Reason::TooLarge));
        let (first, why) = take(100);
        assert_eq!((first.bytes().len(), why), (100, None));
        assert_eq!(take(60).1, Some(Reason::TooLarge), "open at once");
        drop(first);
        assert_eq!(take(100).1, None);
        assert_eq!(take(100).1, Some(Reason::ExpandsTooMuch));
        assert_eq!(take(1).1, Some(Reason::ExpandsTooMuch), "it stays so");
    }

    #[test]
    fn small_files_may_expand_more_but_not_without_end() {
        let policy = ScanPolicy {
            ratio_max: 2,
            ratio_free_bytes: 10,
            ..policy()
        };
        let budget = Budget::new(&policy, 20, &|| false);
        let mut sink = Vec::new();
        let read = budget.meter(io::repeat(1)).read_to_end(&mut sink);
        assert!(read.is_err());
        assert_eq!(budget.stopped(), Some(Reason::ExpandsTooMuch));
    }

    #[test]
    fn members_and_time_are_bounded() {
        let policy = policy();
        let budget = Budget::new(&policy, 1, &|| false);
        assert_eq!(budget.count(), Ok(()));
        assert_eq!(budget.count(), Ok(()));
        assert_eq!(budget.count(), Err(Reason::TooManyMembers));
        let late = Budget::new(&policy, 1, &|| true);
        assert_eq!(late.count(), Err(Reason::OutOfTime));
    }
}
