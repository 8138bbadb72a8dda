//! `modbus.log`, `dnp3.log`.

use thymus_parsers::zeek::{ZeekField as F, ZeekRow};
use thymus_schema::{EventBody, IcsCall, Service};

use super::ZeekCx;
use crate::logs::Decoded;
use crate::logs::names::{dnp3_function, modbus_exception, modbus_function};

pub(super) fn modbus(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let exception = row.text(F::Exception);
    let exception = (!exception.is_empty()).then(|| modbus_exception(&exception));
    // Newer versions write the request and the response; only an exception adds something.
    let is_response = row.raw(F::PduType) == Some(b"RESP");
    if is_response && exception.is_none() {
        return Decoded::Unused("modbus_response");
    }
    // An exception's name carries the suffix of the answer's function.
    let name = row.text(F::Func);
    let name = name.trim_end_matches("_EXCEPTION");
    let (function, write) = modbus_function(name);
    let call = IcsCall {
        protocol: Some(Service::Modbus),
        unit: row.u16(F::Unit).unwrap_or(0),
        function,
        name: name.to_ascii_lowercase().into(),
        write,
        exception,
        ..IcsCall::default()
    };
    cx.emit(row, EventBody::Ics(Box::new(call)))
}

pub(super) fn dnp3(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let name = row.text(F::FcRequest);
    if name.is_empty() {
        return Decoded::Unused("dnp3_response_alone");
    }
    let (function, write) = dnp3_function(&name);
    let call = IcsCall {
        protocol: Some(Service::Dnp3),
        function,
        name: name.to_ascii_lowercase().into(),
        write,
        ..IcsCall::default()
    };
    cx.emit(row, EventBody::Ics(Box::new(call)))
}
