//! A timeline: rows of bars over one axis of time, as inline SVG.

use std::fmt::{self, Write as _};

use thymus_schema::{Timestamp, Value};

use super::escaped;

const WIDTH: f64 = 980.0;
const LEFT: f64 = 168.0;
const RIGHT: f64 = 16.0;
const ROW: f64 = 30.0;
const BAR_MIN: f64 = 7.0;
/// Most bars drawn in one row; more would be a block of colour anyway.
const BARS_MAX: usize = 200;

/// One row.
pub(super) struct Row {
    pub(super) label: String,
    pub(super) bars: Vec<Bar>,
}

/// One bar of a row.
pub(super) struct Bar {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) class: &'static str,
    /// Shown when the reader points at it.
    pub(super) hint: String,
}

/// Draws `rows`; nothing when there is nothing to draw.
pub(super) fn draw(rows: &[Row], title: &str, out: &mut String) -> fmt::Result {
    let bars = || rows.iter().flat_map(|row| &row.bars);
    let first = bars().map(|bar| bar.from).min();
    let last = bars().map(|bar| bar.to).max();
    let Some((first, last)) = first.zip(last) else {
        return Ok(());
    };
    let span = last.secs_since(first).max(1.0);
    let x = |ts: Timestamp| LEFT + (WIDTH - LEFT - RIGHT) * ts.secs_since(first) / span;
    let height = ROW * rows.len() as f64 + 30.0;
    write!(
        out,
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">",
        escaped(title)
    )?;
    for (index, row) in rows.iter().enumerate() {
        let top = ROW * index as f64;
        if index % 2 == 0 {
            write!(
                out,
                "<rect class=\"lane\" x=\"0\" y=\"{top}\" width=\"{WIDTH}\" height=\"{ROW}\" rx=\"4\"/>"
            )?;
        }
        write!(
            out,
            "<text x=\"8\" y=\"{:.1}\">{}</text>",
            top + ROW / 2.0 + 4.0,
            escaped(&row.label)
        )?;
    }
    ticks(first, span, ROW * rows.len() as f64, out)?;
    for (index, row) in rows.iter().enumerate() {
        let top = ROW * index as f64 + 8.0;
        for bar in row.bars.iter().take(BARS_MAX) {
            let width = (x(bar.to) - x(bar.from)).max(BAR_MIN);
            let left = x(bar.from).min(WIDTH - RIGHT - width);
            write!(
                out,
                "<rect class=\"bar {}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" \
                 height=\"14\" rx=\"3\"><title>{}</title></rect>",
                bar.class,
                escaped(&bar.hint)
            )?;
        }
    }
    out.push_str("</svg>");
    Ok(())
}

/// Grid lines at round times, at most seven, labelled by clock or by day.
fn ticks(first: Timestamp, span: f64, bottom: f64, out: &mut String) -> fmt::Result {
    const STEPS: [i64; 19] = [
        1, 2, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 43_200, 86_400,
        172_800, 604_800, 2_592_000,
    ];
    let step = STEPS
        .into_iter()
        .find(|step| span / *step as f64 <= 7.0)
        .unwrap_or(31_536_000);
    let mut at = (first.as_secs().div_euclid(step) + 1) * step;
    if span < 2.0 {
        at = first.as_secs();
    }
    let end = first.as_secs_f64() + span;
    let mut day = None;
    while (at as f64) <= end {
        let ts = Timestamp::from_secs(at);
        let x = LEFT + (WIDTH - LEFT - RIGHT) * ts.secs_since(first).max(0.0) / span;
        let label = tick_label(ts, step, &mut day);
        let anchor = if x > WIDTH - 60.0 { "end" } else { "middle" };
        write!(
            out,
            "<line class=\"grid\" x1=\"{x:.1}\" y1=\"0\" x2=\"{x:.1}\" y2=\"{bottom}\"/>\
             <text class=\"dim\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{label}</text>",
            bottom + 18.0
        )?;
        at += step;
    }
    Ok(())
}

/// `2025-05-13 14:00` where the day changes, `14:00` elsewhere; only the day for steps of days.
fn tick_label(ts: Timestamp, step: i64, day: &mut Option<i64>) -> String {
    let text = Value::Time(ts).to_string();
    let mut words = text.split(' ');
    let (date, clock) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let clock = if step < 60 {
        clock.to_owned()
    } else {
        clock.chars().take(5).collect()
    };
    let is_new_day = *day != Some(ts.day());
    *day = Some(ts.day());
    match (step >= 86_400, is_new_day) {
        (true, _) => date.to_owned(),
        (false, true) => format!("{date} {clock}"),
        (false, false) => clock,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_moment_is_drawn_too() {
        let at = Timestamp::parse("2025-05-13T12:00:00Z").unwrap();
        let bar = Bar {
            from: at,
            to: at,
            class: "p1",
            hint: "<x>".to_owned(),
        };
        let mut out = String::new();
        draw(
            &[Row {
                label: "one".to_owned(),
                bars: vec![bar],
            }],
            "t",
            &mut out,
        )
        .unwrap();
        assert!(
            out.contains("class=\"bar p1\"") && out.contains("&lt;x&gt;"),
            "{out}"
        );
        assert!(!out.contains("NaN"));
    }

    #[test]
    fn ticks_are_round_and_few() {
        let mut out = String::new();
        let first = Timestamp::parse("2025-05-13T11:43:10Z").unwrap();
        ticks(first, 5.0 * 3_600.0, 100.0, &mut out).unwrap();
        assert_eq!(out.matches("<line").count(), 5);
        assert!(
            out.contains("2025-05-13 12:00") && out.contains(">13:00<"),
            "{out}"
        );
    }
}
