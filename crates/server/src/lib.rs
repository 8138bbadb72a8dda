//! The console over HTTP: an API with users, roles and an audit log, live events, and the embedded front end.
//!
//! A request passes, in this order: the bounds on connections and on the time a client may take (`listen`),
//! the check that it was meant for this host and the headers of every answer (`guard`), who asks and whether
//! they may (`auth`), and then one handler in [`api`]. What a route needs stands beside its handler and in the
//! OpenAPI document; a route that says nothing is refused. Where only pseudonyms may be seen, every answer is
//! rewritten on its way out (`veil`), so no handler can forget it.
//!
//! Must not: judge, read packets, or change what was learned.

#![forbid(unsafe_code)]

pub mod api;
mod assets;
mod auth;
mod bouncers;
mod error;
mod guard;
mod hub;
mod limiter;
mod listen;
mod report;
mod response;
mod state;
mod tls;
mod veil;

pub use error::ServerError;
pub use hub::Hub;
pub use listen::{Options, Server, TlsFiles};
pub use response::{
    ApprovalLink, CutTalk, DecisionFilter, DecisionLine, DecisionState, DecisionView, NeverView,
    RehearsalView, ResponseAsk, ResponseError, ResponseView,
};
pub use state::{Bans, Host, HostError, Metrics, Packets, Storage};
