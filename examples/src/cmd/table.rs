//! Lists: columns for people, a JSON object a line for programs.

use serde_json::Value;

use crate::cli::output::{Output, one_line};

/// Shows rows under these headings; each comes with the fields of its event.
pub(super) fn show<const N: usize>(out: &Output, event: &str, heads: [&str; N], rows: &[(Value, [String; N])]) {
    if out.is_json() {
        rows.iter().for_each(|(fields, _)| out.event(event, fields));
        return;
    }
    let cells: Vec<[String; N]> = rows.iter().map(|(_, row)| std::array::from_fn(|at| one_line(&row[at]))).collect();
    let width = |at: usize| cells.iter().map(|row| row[at].chars().count()).chain([heads[at].len()]).max();
    let widths: [usize; N] = std::array::from_fn(|at| width(at).unwrap_or(0));
    let line = |row: &[&str; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    if rows.is_empty() {
        out.say("none");
        return;
    }
    out.line(line(&heads));
    for row in &cells {
        out.line(line(&std::array::from_fn(|at| row[at].as_str())));
    }
}

/// A Unix second for people, in UTC.
pub(super) fn time(unix: u64) -> String {
    let date = i64::try_from(unix).ok().and_then(|unix| time::OffsetDateTime::from_unix_timestamp(unix).ok());
    date.map_or_else(String::new, |date| {
        let (day, clock) = (date.date(), date.time());
        format!("{day} {:02}:{:02} UTC", clock.hour(), clock.minute())
    })
}
