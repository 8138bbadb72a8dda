//! One incident as one page that stands alone: no script, nothing loaded from anywhere.

use std::fmt::Write as _;

use serde_json::Value;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem;\
    color:#1a1d21;background:#fff}h1{line-height:1.2}table{border-collapse:collapse;width:100%}\
    td,th{text-align:left;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid #d5d9de}\
    .dim{color:#59626c}pre{white-space:pre-wrap;font:inherit}\
    @media(prefers-color-scheme:dark){body{color:#e6e8ea;background:#15181b}\
    td,th{border-color:#353b42}.dim{color:#a2abb5}}";

/// The page.
pub(crate) fn page(incident: &Value) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _written = write(incident, &mut out);
    out
}

fn write(incident: &Value, out: &mut String) -> std::fmt::Result {
    let title = escaped(text(incident, "title"));
    write!(
        out,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style><h1>{title}</h1>"
    )?;
    write!(
        out,
        "<p class=\"dim\">{} confidence · {} to {} · incident {}</p><p>{}</p>",
        escaped(text(incident, "confidence")),
        escaped(text(incident, "first_seen")),
        escaped(text(incident, "last_seen")),
        escaped(text(incident, "id")),
        escaped(text(incident, "hypothesis"))
    )?;
    write!(
        out,
        "<h2>What happened</h2><pre>{}</pre><h2>Who</h2><table><tr><th>Name<th>Part",
        escaped(text(incident, "narrative"))
    )?;
    for part in list(incident, "affected") {
        let acts = part.get("suspected").and_then(Value::as_bool) == Some(true);
        let acts = if acts { "suspected" } else { "affected" };
        let name = escaped(text(part, "name"));
        write!(out, "<tr><td>{name}<td>{acts}")?;
    }
    out.push_str("</table><h2>Evidence</h2>");
    for alert in list(incident, "alerts") {
        write!(
            out,
            "<h3>{} <span class=\"dim\">{} · {} · p = {}</span></h3><p>{}</p>",
            escaped(text(alert, "detector")),
            escaped(text(alert, "phase")),
            escaped(text(alert, "first_seen")),
            rarity(alert),
            escaped(text(alert, "statement"))
        )?;
        let normal = text(alert, "counterfactual");
        if !normal.is_empty() {
            write!(
                out,
                "<p class=\"dim\">What would have been normal: {}</p>",
                escaped(normal)
            )?;
        }
        out.push_str("<table>");
        for fact in list(alert, "evidence") {
            let (key, value) = (escaped(text(fact, "key")), escaped(text(fact, "text")));
            write!(out, "<tr><th>{key}<td>{value}")?;
        }
        out.push_str("</table>");
    }
    lines(incident, "next_steps", "Next steps", out)?;
    case(incident, out)?;
    out.push_str("</html>\n");
    Ok(())
}

/// The probability, which comes as its −log10.
fn rarity(alert: &Value) -> String {
    let exponent = alert.get("p_value").and_then(Value::as_f64).unwrap_or(0.0);
    format!("10^-{exponent:.1}")
}

fn lines(incident: &Value, key: &str, title: &str, out: &mut String) -> std::fmt::Result {
    write!(out, "<h2>{title}</h2><ul>")?;
    for line in list(incident, key).filter_map(Value::as_str) {
        write!(out, "<li>{}", escaped(line))?;
    }
    out.push_str("</ul>");
    Ok(())
}

fn case(incident: &Value, out: &mut String) -> std::fmt::Result {
    let Some(case) = incident.get("case") else {
        return Ok(());
    };
    write!(
        out,
        "<h2>Work on it</h2><p>State: {}. Verdict: {}. {}</p>",
        escaped(text(case, "state")),
        escaped(
            case.get("verdict")
                .and_then(Value::as_str)
                .unwrap_or("none")
        ),
        escaped(text(case, "reason"))
    )?;
    for comment in list(case, "comments") {
        write!(
            out,
            "<p><span class=\"dim\">{} {}</span><br>{}</p>",
            escaped(text(comment, "at")),
            escaped(text(comment, "user")),
            escaped(text(comment, "text"))
        )?;
    }
    Ok(())
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(object: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    object
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// Text that is only text in HTML; what turns the direction of writing is shown as a mark.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            c if c.is_control() && c != '\n' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hostile_names_are_text() {
        let page = page(
            &json!({"title": "<script>alert(1)</script>\u{202e}", "affected":
            [{"name": "\"><img src=x onerror=alert(1)>", "suspected": true}],
            "next_steps": ["</style><script>"]}),
        );
        assert!(!page.contains("<script"), "{page}");
        assert!(!page.contains("<img"), "{page}");
        assert!(!page.contains('\u{202e}'), "{page}");
    }
}
