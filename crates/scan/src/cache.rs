//! Judgements by content: the same bytes in many places are judged once in a run. A cache belongs to one
//! scanner, whose models never change, and is never written to disk: what another version of a model said can
//! not come out of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::{FileType, Judgement};

const JUDGEMENTS_MAX: usize = 50_000;

/// SHA-256 of the bytes, and the type they are judged as.
pub(crate) type Key = ([u8; 32], FileType);

/// Judgements by content. The oldest goes first.
#[derive(Default)]
pub(crate) struct Cache {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    judgements: BTreeMap<Key, Judgement>,
    order: VecDeque<Key>,
}

impl Cache {
    /// The judgement of that content, made by `judge` where it is not known yet.
    pub(crate) fn get(
        &self,
        key: Key,
        judge: impl FnOnce() -> Option<Judgement>,
    ) -> Option<Judgement> {
        let lock = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(judgement) = lock().judgements.get(&key) {
            return Some(judgement.clone());
        }
        // Not under the lock: two threads may judge the same, to the same result.
        let judgement = judge()?;
        let mut kept = lock();
        if kept.judgements.insert(key, judgement.clone()).is_none() {
            kept.order.push_back(key);
        }
        if kept.order.len() > JUDGEMENTS_MAX
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.judgements.remove(&oldest);
        }
        Some(judgement)
    }
}
