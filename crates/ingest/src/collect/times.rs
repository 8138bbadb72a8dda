//! When a flow was, from what its record and its datagram say, by a clock that may be wrong.

use thymus_parsers::netflow::{FlowFields, Stamp};
use thymus_schema::Timestamp;

const SECOND: i64 = 1_000_000_000;
const MILLI: i64 = 1_000_000;
/// An exporter's clock may be off by so much; beyond, its times are moved.
const SKEW_MAX: i64 = 60 * SECOND;
/// Two measures of how far a clock is off that differ by less are the same.
const SKEW_SAME: i64 = 5 * SECOND;
/// A flow that ends so long after its export is not believed.
const FUTURE_MAX: i64 = 10 * 60 * SECOND;
/// Nor one that began so long before.
const PAST_MAX: i64 = 32 * 86_400 * SECOND;
/// Milliseconds in 32 bits come back after so many.
const WRAP_MILLIS: i64 = 1 << 32;

/// How far an exporter's clock is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Skew {
    /// What is added to its times, in nanoseconds.
    pub(super) shift: i64,
    /// Times it was found to be off by another amount.
    pub(super) changes: u64,
}

impl Skew {
    /// A datagram that says it was sent at `export` was received at `received`.
    pub(super) fn measure(&mut self, export: i64, received: i64) {
        let off = received.saturating_sub(export);
        let shift = match off {
            _ if off.abs() <= SKEW_MAX => 0,
            _ if off.saturating_sub(self.shift).abs() <= SKEW_SAME => self.shift,
            _ => off,
        };
        if shift != self.shift {
            self.shift = shift;
            self.changes += 1;
        }
    }
}

/// What the times of a record refer to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Base {
    /// When the datagram was sent, by the exporter's clock, in nanoseconds.
    pub(super) export: i64,
    /// How long the exporter was up by then.
    pub(super) uptime_ms: Option<u32>,
    /// When it started, where it said so, in nanoseconds.
    pub(super) boot: Option<i64>,
    /// What is added.
    pub(super) shift: i64,
}

/// First and last packet of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: i64,
    pub(super) end: i64,
    /// Whether the record's own times were used.
    pub(super) is_believed: bool,
}

impl Base {
    /// When the flow of a record was.
    pub(super) fn span(&self, fields: &FlowFields) -> Span {
        let boot = fields
            .boot_millis
            .and_then(|millis| i64::try_from(millis).ok());
        let boot = boot
            .map(|millis| millis.saturating_mul(MILLI))
            .or(self.boot);
        let (start, end) = (self.nanos(fields.start, boot), self.nanos(fields.end, boot));
        let duration = fields.duration.and_then(|nanos| i64::try_from(nanos).ok());
        let (start, end) = match (start, end) {
            (Some(start), Some(end)) => (start, end),
            (Some(start), None) => (start, start.saturating_add(duration.unwrap_or(0))),
            (None, Some(end)) => (end.saturating_sub(duration.unwrap_or(0)), end),
            (None, None) => (self.export, self.export),
        };
        let is_believed = start <= end
            && end <= self.export.saturating_add(FUTURE_MAX)
            && start >= self.export.saturating_sub(PAST_MAX);
        let (start, end) = if is_believed {
            (start, end)
        } else {
            (self.export, self.export)
        };
        Span {
            start: start.saturating_add(self.shift),
            end: end.saturating_add(self.shift),
            is_believed,
        }
    }

    fn nanos(&self, stamp: Stamp, boot: Option<i64>) -> Option<i64> {
        match (stamp, self.uptime_ms) {
            (Stamp::None, _) => None,
            (Stamp::Nanos(nanos), _) => Some(nanos),
            (Stamp::BeforeExport(micros), _) => {
                Some(self.export.saturating_sub(i64::from(micros) * 1000))
            }
            // The difference is right also when the counter came round in between.
            (Stamp::Uptime(ms), Some(uptime)) => {
                let age = i64::from(uptime.wrapping_sub(ms).cast_signed());
                Some(self.export.saturating_sub(age.saturating_mul(MILLI)))
            }
            // The counter may have come round any number of times: the one nearest to the export counts.
            (Stamp::Uptime(ms), None) => {
                let at = boot? / MILLI + i64::from(ms);
                let away = self.export / MILLI - at;
                let rounds = (away + WRAP_MILLIS / 2).div_euclid(WRAP_MILLIS);
                Some((at + rounds * WRAP_MILLIS).saturating_mul(MILLI))
            }
        }
    }
}

/// The time as the rest of the program has it.
pub(super) const fn stamp(nanos: i64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPORT: i64 = 1_700_000_000 * SECOND;

    fn base(uptime_ms: Option<u32>) -> Base {
        Base {
            export: EXPORT,
            uptime_ms,
            boot: None,
            shift: 0,
        }
    }

    fn fields(start: Stamp, end: Stamp) -> FlowFields {
        let mut fields = FlowFields::default();
        (fields.start, fields.end) = (start, end);
        fields
    }

    fn ago(span: Span) -> (i64, i64) {
        ((EXPORT - span.start) / MILLI, (EXPORT - span.end) / MILLI)
    }

    #[test]
    fn uptime_is_counted_back_from_the_export_also_over_its_end() {
        let near = base(Some(60_000)).span(&fields(Stamp::Uptime(50_000), Stamp::Uptime(59_500)));
        assert_eq!(ago(near), (10_000, 500));
        let round =
            base(Some(1_000)).span(&fields(Stamp::Uptime(u32::MAX - 999), Stamp::Uptime(500)));
        assert_eq!(ago(round), (2_000, 500));
        assert!(round.is_believed);
    }

    #[test]
    fn uptime_without_the_exporters_own_is_counted_from_its_start() {
        let fields = fields(Stamp::Uptime(10_000), Stamp::Uptime(20_000));
        let day = 86_400 * SECOND;
        for days in [0, 60, 500] {
            // 49.7 days later the counter is at the same place again.
            let rounds = days * day / (WRAP_MILLIS * MILLI);
            let boot = EXPORT - 30 * SECOND - rounds * WRAP_MILLIS * MILLI;
            let base = Base {
                boot: Some(boot),
                ..base(None)
            };
            assert_eq!(ago(base.span(&fields)), (20_000, 10_000), "{days}");
        }
    }

    #[test]
    fn what_no_flow_can_be_is_replaced_by_the_export() {
        let wild = base(Some(0)).span(&fields(Stamp::Nanos(0), Stamp::Nanos(SECOND)));
        assert_eq!((ago(wild), wild.is_believed), ((0, 0), false));
        let backwards = base(Some(60_000)).span(&fields(Stamp::Uptime(900), Stamp::Uptime(800)));
        assert!(!backwards.is_believed);
        let nothing = base(Some(0)).span(&fields(Stamp::None, Stamp::None));
        assert_eq!((ago(nothing), nothing.is_believed), ((0, 0), true));
    }

    #[test]
    fn a_clock_that_is_far_off_is_moved_by_a_steady_amount() {
        let mut skew = Skew::default();
        skew.measure(EXPORT, EXPORT + 30 * SECOND);
        assert_eq!(skew, Skew::default());
        skew.measure(0, EXPORT);
        skew.measure(SECOND, EXPORT + 2 * SECOND);
        assert_eq!((skew.shift, skew.changes), (EXPORT, 1));
        skew.measure(EXPORT, EXPORT);
        assert_eq!((skew.shift, skew.changes), (0, 2));
    }
}
