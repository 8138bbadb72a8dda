//! Questions with what they brought, for protocols told as [`Operation`]s: the same question asked
//! again is one event with the sums, so that a poller of years and a flood both stay small.

use thymus_schema::{EventBody, Operation, Outcome};

use crate::analyzer::{Analyzer, AnalyzerCx, Side};

/// Most operations told of a conversation; later ones are added to the last.
pub(super) const CALLS_MAX: u32 = 64;

/// The operation at hand.
#[derive(Default)]
pub(super) struct Calls {
    open: Option<Operation>,
    told: u32,
}

impl Calls {
    /// A message of `len` bytes came: the answer with `outcome`, or a question.
    pub(super) fn message(
        &mut self,
        len: usize,
        answer: Option<Outcome>,
        operation: impl FnOnce() -> Operation,
        cx: &mut AnalyzerCx<'_>,
    ) {
        let len = len as u64;
        if let Some(outcome) = answer {
            return self.answer(len, outcome, operation);
        }
        let operation = Operation {
            request_len: len,
            ..operation()
        };
        self.ask(operation, cx);
    }

    /// Something was asked: tells what was asked before, unless it was the same.
    pub(super) fn ask(&mut self, operation: Operation, cx: &mut AnalyzerCx<'_>) {
        if let Some(open) = &mut self.open {
            let same = open.verb == operation.verb
                && open.object == operation.object
                && open.detail == operation.detail;
            if same || self.told >= CALLS_MAX {
                open.request_len = open.request_len.saturating_add(operation.request_len);
                return;
            }
        }
        self.close(cx);
        self.open = Some(operation);
    }

    /// An answer came; `unasked` describes it when its question was not seen.
    pub(super) fn answer(
        &mut self,
        len: u64,
        outcome: Outcome,
        unasked: impl FnOnce() -> Operation,
    ) {
        let open = self.open.get_or_insert_with(unasked);
        open.response_len = open.response_len.saturating_add(len);
        if outcome != Outcome::Unknown {
            open.outcome = outcome;
        }
    }

    /// Whether an operation waits.
    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether so many were told that the rest does not matter.
    pub(super) const fn is_full(&self) -> bool {
        self.told >= CALLS_MAX
    }

    /// Tells what is still open.
    pub(super) fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        if let Some(operation) = self.open.take() {
            self.told = self.told.saturating_add(1);
            cx.emit(EventBody::Operation(Box::new(operation)));
        }
    }
}

/// For protocols that are only recognised: nothing more is wanted.
pub(super) struct Recognised;

impl Analyzer for Recognised {
    fn data(&mut self, _side: Side, _bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        cx.detach();
    }
}
