//! What SQL can say here beyond SQLite: addresses, times, and what statistics need.

use std::net::IpAddr;
use std::sync::Mutex;

use ipnet::IpNet;
use rusqlite::functions::{Aggregate, Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, Result};
use thymus_schema::LocalNetworks;

use super::time::{self, TimeText};

/// The functions, as help names them.
pub(super) const FUNCTIONS: &[(&str, &str)] = &[
    (
        "ago(span)",
        "the time so long before now: ago('1h'), ago('7d')",
    ),
    (
        "cidr(addr, net)",
        "whether an address is in a network: cidr(client_addr, '10.0.0.0/8')",
    ),
    ("entropy(text)", "bits a character, high for random names"),
    ("epoch(ts)", "a time in seconds since 1970"),
    (
        "ip_is_local(addr)",
        "whether an address is of a local network",
    ),
    ("median(x)", "the middle of a group"),
    ("now()", "the present time"),
    (
        "percentile(x, p)",
        "the value that p per cent of a group do not exceed",
    ),
    (
        "time_bucket(span, ts)",
        "the beginning of the span that a time is in: time_bucket('5m', ts)",
    ),
];

/// Numbers that one query may hold for percentiles.
const SAMPLES_MAX: usize = 8 << 20;

/// Makes the functions and the collation `time` known.
pub(super) fn register(connection: &Connection, local: LocalNetworks, now: i64) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_collation("time", time::compare)?;
    connection.create_scalar_function("cidr", 2, flags, cidr)?;
    connection.create_scalar_function("ip_is_local", 1, flags, move |ctx| {
        let addr = text(ctx, 0).and_then(|text| text.parse::<IpAddr>().ok());
        Ok(addr.map(|addr| local.contains(addr)))
    })?;
    connection.create_scalar_function("epoch", 1, flags, |ctx| {
        Ok(text(ctx, 0)
            .and_then(time::parse)
            .map(|nanos| nanos as f64 / 1e9))
    })?;
    connection.create_scalar_function("time_bucket", 2, flags, bucket)?;
    connection.create_scalar_function("entropy", 1, flags, |ctx| Ok(text(ctx, 0).map(entropy)))?;
    connection.create_scalar_function("now", 0, flags, move |_| {
        Ok(TimeText::default().of(now).to_owned())
    })?;
    connection.create_scalar_function("ago", 1, flags, move |ctx| {
        let secs = span(ctx, 0)?;
        let then = now.saturating_sub((secs * 1e6) as i64);
        Ok(TimeText::default().of(then).to_owned())
    })?;
    connection.create_aggregate_function("percentile", 2, flags, Percentile::of(None))?;
    connection.create_aggregate_function("median", 1, flags, Percentile::of(Some(50.0)))
}

fn text<'a>(ctx: &'a Context<'_>, at: usize) -> Option<&'a str> {
    ctx.get_raw(at).as_str().ok()
}

fn wrong(message: String) -> Error {
    Error::UserFunctionError(message.into())
}

fn span(ctx: &Context<'_>, at: usize) -> Result<f64> {
    let secs = match ctx.get_raw(at) {
        ValueRef::Integer(secs) if secs > 0 => Some(secs as f64),
        ValueRef::Real(secs) if secs > 0.0 => Some(secs),
        other => other.as_str().ok().and_then(time::span_secs),
    };
    secs.ok_or_else(|| {
        wrong("a span is written as '30s', '5m', '1h', '7d' or in seconds".to_owned())
    })
}

fn cidr(ctx: &Context<'_>) -> Result<Option<bool>> {
    let net = ctx.get_or_create_aux(1, |value: ValueRef<'_>| {
        let text = value.as_str().unwrap_or_default();
        // An address alone is a network of one.
        let net = text
            .parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        net.map_err(|_| wrong(format!("'{text}' is no network; write it as '10.0.0.0/8'")))
    })?;
    let addr = text(ctx, 0).and_then(|text| text.parse::<IpAddr>().ok());
    Ok(addr.map(|addr| net.contains(&addr)))
}

fn bucket(ctx: &Context<'_>) -> Result<Option<String>> {
    let width = ((span(ctx, 0)? * 1e6) as i64).max(1);
    let Some(nanos) = text(ctx, 1).and_then(time::parse) else {
        return Ok(None);
    };
    let micros = nanos
        .div_euclid(1_000)
        .div_euclid(width)
        .saturating_mul(width);
    Ok(Some(TimeText::default().of(micros).to_owned()))
}

/// Bits a character of `text`.
fn entropy(text: &str) -> f64 {
    let mut counts = [0u32; 256];
    for byte in text.bytes() {
        counts[usize::from(byte)] += 1;
    }
    let all = text.len() as f64;
    let bits = |count: &u32| {
        let share = f64::from(*count) / all;
        -share * share.log2()
    };
    counts.iter().filter(|count| **count > 0).map(bits).sum()
}

/// The nearest-rank percentile with interpolation, over numbers that are held.
struct Percentile {
    fixed: Option<f64>,
    held: Mutex<usize>,
}

impl Percentile {
    fn of(fixed: Option<f64>) -> Self {
        Self {
            fixed,
            held: Mutex::new(0),
        }
    }
}

/// The numbers of one group.
struct Group {
    values: Vec<f64>,
    share: f64,
}

impl Aggregate<Group, Option<f64>> for Percentile {
    fn init(&self, _: &mut Context<'_>) -> Result<Group> {
        Ok(Group {
            values: Vec::new(),
            share: 0.5,
        })
    }

    fn step(&self, ctx: &mut Context<'_>, group: &mut Group) -> Result<()> {
        let number = |at: usize| match ctx.get_raw(at) {
            ValueRef::Integer(int) => Some(int as f64),
            ValueRef::Real(real) => Some(real),
            _ => None,
        };
        let percent = self
            .fixed
            .or_else(|| number(1))
            .filter(|p| (0.0..=100.0).contains(p));
        let percent = percent.ok_or_else(|| {
            wrong("percentile wants a number from 0 to 100 as its second argument".to_owned())
        })?;
        group.share = percent / 100.0;
        let Some(value) = number(0) else {
            return Ok(());
        };
        let mut held = self
            .held
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *held += 1;
        if *held > SAMPLES_MAX {
            let message =
                format!("percentile holds at most {SAMPLES_MAX} numbers; narrow the time");
            return Err(wrong(message));
        }
        group.values.push(value);
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, group: Option<Group>) -> Result<Option<f64>> {
        let Some(mut group) = group.filter(|group| !group.values.is_empty()) else {
            return Ok(None);
        };
        let mut held = self
            .held
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *held = held.saturating_sub(group.values.len());
        group.values.sort_by(f64::total_cmp);
        let rank = group.share * (group.values.len() - 1) as f64;
        let (low, high) = (rank.floor() as usize, rank.ceil() as usize);
        let at = |rank: usize| group.values.get(rank).copied().unwrap_or(0.0);
        Ok(Some(at(low) + (at(high) - at(low)) * rank.fract()))
    }
}
