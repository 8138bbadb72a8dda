//! Stratum, the protocol between miners and pools: lines of JSON-RPC, in the dialects of Bitcoin
//! (`mining.*`), Ethereum (`eth_*`) and Monero (`login`, `submit`). No specification: the community's
//! descriptions (bitcoin wiki, EIP-1571).

use serde_json::Value;

use crate::text::text;

/// Longest line read, in bytes.
pub const LINE_BYTES_MAX: usize = 8 * 1024;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A call of a mining method.
    Call {
        /// The method.
        method: Box<str>,
        /// Worker, wallet or user agent: the first text among the parameters.
        subject: Box<str>,
        /// The miner's software, when given.
        agent: Box<str>,
        /// The call's id.
        id: u64,
    },
    /// An answer: whether it is an error.
    Answer {
        /// The call's id.
        id: u64,
        /// Whether the call failed.
        failed: bool,
    },
    /// Other JSON.
    Other,
}

/// Whether this method belongs to mining.
pub fn is_mining_method(method: &str) -> bool {
    method.starts_with("mining.")
        || matches!(method, "login" | "submit" | "job" | "keepalived" | "getjob")
        || matches!(
            method,
            "eth_submitLogin" | "eth_getWork" | "eth_submitWork" | "eth_submitHashrate"
        )
}

/// Reads a line; `None` when it is no JSON object.
pub fn parse(line: &[u8]) -> Option<Line> {
    let line = line.trim_ascii();
    if line.len() > LINE_BYTES_MAX || line.first() != Some(&b'{') {
        return None;
    }
    let value: Value = serde_json::from_slice(line).ok()?;
    let id = value.get("id").and_then(Value::as_u64).unwrap_or_default();
    let Some(method) = value.get("method").and_then(Value::as_str) else {
        let error = value.get("error");
        let failed = error.is_some_and(|error| !error.is_null())
            || value.get("result") == Some(&Value::Bool(false));
        let answers = value.get("result").is_some() || error.is_some();
        return Some(if answers {
            Line::Answer { id, failed }
        } else {
            Line::Other
        });
    };
    if !is_mining_method(method) {
        return Some(Line::Other);
    }
    let params = value.get("params");
    let field = |name: &str| {
        params
            .and_then(|params| params.get(name))
            .and_then(Value::as_str)
    };
    // Plain words like "login" are mining only with a miner's parameters.
    if matches!(method, "login" | "submit" | "job" | "getjob")
        && !["login", "agent", "nonce", "blob", "job_id"]
            .iter()
            .any(|name| params.is_some_and(|params| params.get(name).is_some()))
    {
        return Some(Line::Other);
    }
    let first = params
        .and_then(Value::as_array)
        .and_then(|list| list.iter().find_map(Value::as_str));
    let subject = first
        .or_else(|| field("login"))
        .or_else(|| field("id"))
        .unwrap_or_default();
    Some(Line::Call {
        method: text(method.as_bytes(), 64),
        subject: text(subject.as_bytes(), 256),
        agent: text(field("agent").unwrap_or_default().as_bytes(), 128),
        id,
    })
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    for line in bytes.split(|&byte| byte == b'\n') {
        if let Some(Line::Call { method, .. }) = parse(line) {
            debug_assert!(!method.is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn miners_of_all_dialects_are_known() {
        for line in [
            r#"{"id":1,"method":"mining.authorize","params":["w.1","x"]}"#,
            r#"{"id":1,"jsonrpc":"2.0","method":"login","params":{"login":"w.1","agent":"m/1"}}"#,
            r#"{"id":1,"method":"eth_submitLogin","params":["w.1"],"worker":"a"}"#,
        ] {
            let Some(Line::Call { subject, .. }) = parse(line.as_bytes()) else {
                panic!("{line}")
            };
            assert_eq!(&*subject, "w.1");
        }
        assert_eq!(
            parse(br#"{"method":"login","params":{"user":"a"}}"#),
            Some(Line::Other)
        );
        let refused = br#"{"id":2,"result":null,"error":[24,"no",null]}"#;
        assert_eq!(
            parse(refused),
            Some(Line::Answer {
                id: 2,
                failed: true
            })
        );
    }
}
