//! What the supervisor tells the processes when settings change while they run: all that they can take over as
//! they are, so that one that was told is as one that was started with it.

use std::io::{Stdin, stdin};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use thymus_sensor::{Filter, PacketBlock, RelayReceiver, Relayed};

use crate::cli::LiveArgs;

/// Settings that a process takes over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Orders {
    pub(super) budget: f64,
    pub(super) save_every: u32,
    /// Empty where they are found.
    pub(super) local: Vec<IpNet>,
    pub(super) filter: Option<String>,
    pub(super) keep_packets: u32,
    /// The analysis that was started again so often is to save what was learned and end: another goes on
    /// from there.
    pub(super) hand_over: Option<u64>,
}

/// What became of orders, said by the capture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    /// Why the filter is as it was.
    pub(super) filter: Option<String>,
    /// Why packets are kept as they were.
    pub(super) keep_packets: Option<String>,
}

impl Orders {
    pub(super) fn of(args: &LiveArgs) -> Self {
        Self {
            budget: args.run.budget,
            save_every: args.save_every,
            local: args.run.local.clone(),
            filter: args.filter.as_ref().map(Filter::to_string),
            keep_packets: args.keep_packets,
            hand_over: None,
        }
    }

    /// Whether the analysis that was started again so often is to make room for another.
    pub(super) fn is_to_leave(&self, restarts: u64) -> bool {
        self.hand_over == Some(restarts)
    }

    /// As they are sent.
    pub(super) fn message(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// As they were sent.
    ///
    /// # Errors
    /// When they come from another version.
    pub(super) fn read(message: &[u8]) -> Result<Self> {
        serde_json::from_slice(message)
            .context("the supervisor says what this version does not know")
    }
}

/// Orders that come where nothing else does.
pub(super) struct Ear {
    receiver: RelayReceiver<Stdin>,
    block: PacketBlock,
    is_closed: bool,
    orders: Option<Arc<Orders>>,
}

impl Ear {
    /// On standard input.
    pub(super) fn open() -> Self {
        Self {
            receiver: RelayReceiver::new(stdin()),
            block: PacketBlock::default(),
            is_closed: false,
            orders: None,
        }
    }

    /// The last orders, when there are new ones.
    pub(super) fn listen(&mut self) -> Option<Arc<Orders>> {
        let mut news = None;
        while !self.is_closed {
            match self.receiver.read(&mut self.block, Duration::ZERO) {
                Ok(Relayed::Told(message)) => match Orders::read(&message) {
                    Ok(orders) => news = Some(Arc::new(orders)),
                    Err(error) => eprintln!("thymus: {error:#}"),
                },
                Ok(Relayed::Nothing) => break,
                Ok(Relayed::Packets | Relayed::Report(_)) => {}
                // Not started by a supervisor, or it is gone.
                Ok(Relayed::Closed) | Err(_) => self.is_closed = true,
            }
        }
        self.orders = news.clone().or(self.orders.take());
        news
    }

    /// The last orders there were.
    pub(super) fn orders(&self) -> Option<Arc<Orders>> {
        self.orders.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_arrive_as_they_were_given() {
        let orders = Orders {
            budget: 2.5,
            save_every: 5,
            local: vec!["192.0.2.0/24".parse().unwrap()],
            filter: Some("not port 22".to_owned()),
            keep_packets: 0,
            hand_over: Some(3),
        };
        assert_eq!(Orders::read(&orders.message()).unwrap(), orders);
        assert!(Orders::read(b"{}").is_err());
    }
}
