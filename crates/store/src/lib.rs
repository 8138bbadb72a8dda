//! State on disk: snapshots and the import ledger.

#![forbid(unsafe_code)]
