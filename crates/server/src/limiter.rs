//! How often an address may ask, and how often somebody may try a password.
//!
//! A password that fails costs the address a try; ten in five minutes shut it out for the rest of them. Tries for one
//! user from many addresses are bounded too, but never for an address from which that user has logged in since
//! the start: so nobody can shut the admin out of their own desk, and any lock is over within a minute.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Requests a second from one address in the long run, and at once.
const RATE: f64 = 100.0;
const BURST: f64 = 400.0;
const ADDRESS_TRIES: u32 = 10;
const ADDRESS_WINDOW: Duration = Duration::from_mins(5);
const USER_TRIES: u32 = 20;
const USER_WINDOW: Duration = Duration::from_mins(1);
const ENTRIES_MAX: usize = 20_000;

#[derive(Debug, Default)]
pub(crate) struct Limiter {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    buckets: BTreeMap<IpAddr, (f64, Instant)>,
    failed: BTreeMap<Key, (u32, Instant)>,
    trusted: BTreeMap<(String, IpAddr), Instant>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Address(IpAddr),
    User(String),
}

impl Limiter {
    /// Whether this address may ask now; else in how many seconds.
    pub(crate) fn ask(&self, address: IpAddr, now: Instant) -> Result<(), u64> {
        let mut inner = self.lock();
        bound(&mut inner.buckets);
        let (left, at) = inner.buckets.entry(address).or_insert((BURST, now));
        let earned = now.saturating_duration_since(*at).as_secs_f64() * RATE;
        *left = (*left + earned).min(BURST);
        *at = now;
        if *left < 1.0 {
            return Err(1);
        }
        *left -= 1.0;
        Ok(())
    }

    /// Whether a password may be tried; else in how many seconds.
    pub(crate) fn may_try(&self, user: &str, address: IpAddr, now: Instant) -> Result<(), u64> {
        let inner = self.lock();
        let over = |key: &Key, tries: u32, window: Duration| {
            inner.failed.get(key).and_then(|(count, since)| {
                let left = window.checked_sub(now.saturating_duration_since(*since))?;
                (*count >= tries).then_some(left.as_secs() + 1)
            })
        };
        if let Some(secs) = over(&Key::Address(address), ADDRESS_TRIES, ADDRESS_WINDOW) {
            return Err(secs);
        }
        if inner.trusted.contains_key(&(user.to_owned(), address)) {
            return Ok(());
        }
        over(&Key::User(user.to_owned()), USER_TRIES, USER_WINDOW).map_or(Ok(()), Err)
    }

    /// Notes a password that was wrong.
    pub(crate) fn failed(&self, user: &str, address: IpAddr, now: Instant) {
        let mut inner = self.lock();
        bound(&mut inner.failed);
        for (key, window) in [
            (Key::Address(address), ADDRESS_WINDOW),
            (Key::User(user.to_owned()), USER_WINDOW),
        ] {
            let (count, since) = inner.failed.entry(key).or_insert((0, now));
            if now.saturating_duration_since(*since) > window {
                (*count, *since) = (0, now);
            }
            *count += 1;
        }
    }

    /// Notes one that was right.
    pub(crate) fn succeeded(&self, user: &str, address: IpAddr, now: Instant) {
        let mut inner = self.lock();
        bound(&mut inner.trusted);
        inner.trusted.insert((user.to_owned(), address), now);
        inner.failed.remove(&Key::Address(address));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever fills a table forgets all in it, which costs attackers their memory of nothing and others a try.
fn bound<K: Ord, V>(table: &mut BTreeMap<K, V>) {
    if table.len() >= ENTRIES_MAX {
        table.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later(now: Instant, secs: u64) -> Instant {
        now + Duration::from_secs(secs)
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a point to count from")]
    fn guessing_is_stopped_and_the_admin_is_not_shut_out_of_their_desk() {
        let (limiter, now) = (Limiter::default(), std::time::Instant::now().into());
        let desk: IpAddr = [10, 0, 0, 1].into();
        limiter.succeeded("admin", desk, now);
        let attackers: Vec<IpAddr> = (0..30u8).map(|n| [192, 0, 2, n].into()).collect();
        for attacker in &attackers {
            limiter.failed("admin", *attacker, now);
        }
        assert!(
            limiter
                .may_try("admin", [198, 51, 100, 1].into(), now)
                .is_err()
        );
        assert!(limiter.may_try("admin", desk, now).is_ok());
        assert!(
            limiter
                .may_try("admin", [198, 51, 100, 1].into(), later(now, 61))
                .is_ok()
        );
        for _ in 0..10 {
            limiter.failed("x", attackers[0], now);
        }
        assert!(limiter.may_try("other", attackers[0], now).is_err());
        assert!(
            limiter
                .may_try("other", attackers[0], later(now, 301))
                .is_ok()
        );
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a point to count from")]
    fn one_address_may_ask_so_often() {
        let (limiter, now) = (Limiter::default(), std::time::Instant::now().into());
        let address: IpAddr = [10, 0, 0, 1].into();
        let granted = (0..1_000)
            .filter(|_| limiter.ask(address, now).is_ok())
            .count();
        assert_eq!(granted, 400);
        assert!(limiter.ask(address, later(now, 1)).is_ok());
    }
}
