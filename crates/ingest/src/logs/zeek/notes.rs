//! `notice.log`, `weird.log`, `tunnel.log`: what Zeek itself found worth a note.

use thymus_parsers::zeek::{ZeekField as F, ZeekRow};
use thymus_schema::{EventBody, Observation, Operation, QuirkSeen};

use super::{ZeekCx, conn_of, text};
use crate::logs::Decoded;
use crate::logs::record::entity;

pub(super) fn notice(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let name = text(row, F::Note);
    let category = name.split("::").next().unwrap_or_default().into();
    let message = row.text(F::Msg);
    let sub = row.text(F::Sub);
    let detail = if sub.is_empty() {
        message.into()
    } else {
        format!("{message}; {sub}").into()
    };
    let about = if conn_of(row).is_some() {
        Vec::new()
    } else {
        let named = [F::Src, F::Dst]
            .into_iter()
            .filter_map(|field| row.addr(field));
        named.map(|addr| entity(addr, cx.local)).collect()
    };
    let observation = Observation {
        source: "zeek notice".into(),
        name,
        category,
        severity: 0,
        detail,
        about,
        techniques: Vec::new(),
        file: None,
    };
    cx.emit(row, EventBody::Observation(Box::new(observation)))
}

pub(super) fn weird(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let quirk = text(row, F::Name);
    cx.emit(
        row,
        EventBody::Quirk(QuirkSeen {
            parser: "zeek".into(),
            quirk,
        }),
    )
}

pub(super) fn tunnel(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let body = Operation {
        verb: "tunnel".into(),
        object: text(row, F::TunnelType),
        detail: text(row, F::Action),
        ..Operation::default()
    };
    cx.emit(row, EventBody::Operation(Box::new(body)))
}
