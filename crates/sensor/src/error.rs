//! What can go wrong, with the remedy.

use std::io;

use crate::filter::FilterError;

/// Why there is no capture, or no more.
#[derive(Debug, thiserror::Error)]
pub enum SensorError {
    /// There is no such interface.
    #[error("there is no interface {name}; there is: {}", known.join(", "))]
    NoSuchInterface {
        /// As asked for.
        name: String,
        /// The interfaces of this machine, or of this network namespace.
        known: Vec<String>,
    },
    /// The right to capture is missing.
    #[error(
        "capturing on {name} needs the capability CAP_NET_RAW: run as root, or give it to the program \
         once: sudo setcap cap_net_raw+ep PROGRAM"
    )]
    NotPermitted {
        /// The interface.
        name: String,
    },
    /// Its packets are of a kind that is not read.
    #[error(
        "packets of {name} (hardware type {hardware}) are not read; capture on an Ethernet, loopback, \
         tunnel or PPP interface"
    )]
    LinkType {
        /// The interface.
        name: String,
        /// The kernel's number (ARPHRD).
        hardware: u16,
    },
    /// The kernel has no room for the ring.
    #[error("the kernel gives no {bytes} bytes for packets of {name}; ask for less with --buffer")]
    NoRoom {
        /// The interface.
        name: String,
        /// What was asked for.
        bytes: usize,
    },
    /// The filter fits no packets of the interface.
    #[error("the filter cannot be used on {name}: {source}")]
    Filter {
        /// The interface.
        name: String,
        /// Why.
        source: FilterError,
    },
    /// What was to change while it goes on was not taken over.
    #[error("{name} goes on as it was: {why}")]
    Unchanged {
        /// What is captured.
        name: String,
        /// Why.
        why: String,
    },
    /// An address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}; name an address of this machine and a port that is free"
    )]
    Listen {
        /// The address.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// It was there, and is no more.
    #[error("interface {name} is gone; what it gave until then is judged")]
    Gone {
        /// The interface.
        name: String,
    },
    /// Anything else that the system says.
    #[error("cannot capture on {name}: {step}: {source}")]
    System {
        /// The interface.
        name: String,
        /// What was tried.
        step: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The process could not be confined.
    #[error(
        "cannot confine this process ({step}: {why}); --no-sandbox goes on without, with all the rights \
         it was started with"
    )]
    Confine {
        /// What was tried.
        step: &'static str,
        /// What the system says.
        why: String,
    },
    /// A folder to write to is not there, or cannot be opened.
    #[error("cannot write to the folder {path}: {why}; make it, or name another")]
    Folder {
        /// The folder.
        path: String,
        /// What the system says.
        why: String,
    },
    /// The recording cannot be written.
    #[error("cannot write the recording {path}: {source}; free some space, or leave --record out")]
    Record {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
}
