//! What nft says is there: libnftables-json(5).

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;
use thymus_schema::Transport;

use super::script::{name, sets};
use crate::cut::Port;
use crate::table::{Element, Rest};

/// An element that is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct There {
    /// Seconds until it ends by itself.
    pub(super) expires: Option<u64>,
    /// Packets and bytes it has matched.
    pub(super) counted: (u64, u64),
}

/// The table as it is.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Its elements.
    pub(super) elements: BTreeMap<Element, There>,
    /// Digest of its sets and rules without what changes by itself.
    pub(super) shape: Option<blake3::Hash>,
    /// Elements that are none of ours: their set and their JSON.
    pub(super) foreign: Vec<(String, Value)>,
}

/// Reads `nft -j list table`; nothing when it is no such answer.
pub(super) fn listing(json: &[u8]) -> Option<Listing> {
    let answer: Value = serde_json::from_slice(json).ok()?;
    let mut listing = Listing::default();
    let known: BTreeMap<String, _> = sets()
        .map(|(set, is_v4, is_wide)| (name(set, is_v4, is_wide), set))
        .collect();
    let mut shape = blake3::Hasher::new();
    for object in answer.get("nftables")?.as_array()? {
        let Some((kind, object)) = object.as_object().and_then(|object| object.iter().next())
        else {
            continue;
        };
        if kind == "metainfo" {
            continue;
        }
        let mut object = object.clone();
        if let Some(fields) = object.as_object_mut() {
            fields.remove("handle");
            let elements = fields.remove("elem");
            let of = fields
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
            for element in elements
                .as_ref()
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                let read = known.get(&of).and_then(|set| read(*set, element));
                match read {
                    Some((element, there)) => {
                        listing.elements.insert(element, there);
                    }
                    None if kind == "set" => listing.foreign.push((of.clone(), element.clone())),
                    None => {}
                }
            }
        }
        still(&mut object);
        shape.update(kind.as_bytes());
        shape.update(object.to_string().as_bytes());
    }
    listing.shape = Some(shape.finalize());
    Some(listing)
}

/// Reads what nft might say; for the fuzzer.
pub fn fuzz_listing(json: &[u8]) {
    let _listing = listing(json);
}

/// Takes away what counts by itself, and handles, which a list in braces has too.
fn still(object: &mut Value) {
    match object {
        Value::Object(fields) => {
            for key in ["packets", "bytes", "handle"] {
                fields.remove(key);
            }
            fields.values_mut().for_each(still);
        }
        Value::Array(items) => items.iter_mut().for_each(still),
        _ => {}
    }
}

fn read(set: crate::table::Set, element: &Value) -> Option<(Element, There)> {
    let (value, there) = match element.get("elem") {
        Some(inner) => {
            let counter = inner.get("counter");
            let count = |key| {
                counter
                    .and_then(|counter| counter.get(key))
                    .and_then(Value::as_u64)
            };
            let there = There {
                expires: inner.get("expires").and_then(Value::as_u64),
                counted: (count("packets").unwrap_or(0), count("bytes").unwrap_or(0)),
            };
            (inner.get("val")?, there)
        }
        None => (element, There::default()),
    };
    let parts = match value.get("concat") {
        Some(parts) => parts.as_array()?.as_slice(),
        None => std::slice::from_ref(value),
    };
    let (addrs, rest) = set.shape();
    let more = match rest {
        Rest::Nothing => 0,
        Rest::Transport => 1,
        Rest::Service => 2,
    };
    if parts.len() != addrs + more {
        return None;
    }
    let (nets, service) = parts.split_at_checked(addrs)?;
    let nets: Option<Vec<IpNet>> = nets.iter().map(net).collect();
    let port = match service {
        [of] => Some(Port::agreed(transport(of)?)),
        [of, port] => Some(Port {
            transport: transport(of)?,
            port: u16::try_from(port.as_u64()?).ok()?,
        }),
        _ => None,
    };
    let element = Element {
        set,
        nets: nets?,
        port,
    };
    Some((element, there))
}

fn transport(name: &Value) -> Option<Transport> {
    match name.as_str()? {
        "tcp" => Some(Transport::Tcp),
        "udp" => Some(Transport::Udp),
        "sctp" => Some(Transport::Sctp),
        _ => None,
    }
}

fn net(value: &Value) -> Option<IpNet> {
    if let Some(prefix) = value.get("prefix") {
        let addr: IpAddr = prefix.get("addr")?.as_str()?.parse().ok()?;
        let length = u8::try_from(prefix.get("len")?.as_u64()?).ok()?;
        return IpNet::new(addr, length).ok();
    }
    value
        .as_str()?
        .parse()
        .ok()
        .map(|addr: IpAddr| IpNet::from(addr))
}
