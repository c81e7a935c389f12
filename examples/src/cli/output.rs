//! What the command says: for people on standard error, for programs as JSON lines on standard output.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};

use super::{args::CommonArgs, exit::Failure, units};
use crate::store::Notice;

/// Between two progress lines.
const LINE_EVERY: Duration = Duration::from_secs(1);

const JSON_EVERY: Duration = Duration::from_millis(400);
/// A tick that comes a little early still counts.
const SLACK: Duration = Duration::from_millis(50);

/// Where words go.
#[derive(Debug)]
pub struct Output {
    json: bool,
    verbose: bool,
    quiet: bool,
    bar: ProgressBar,
    bar_kind: &'static str,
    last_line: Option<Instant>,
}

/// How a transfer stands.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Progress {
    /// Bytes held.
    pub bytes: u64,
    /// Bytes in all, once known.
    pub total: Option<u64>,
    /// Peers that are up.
    pub peers: usize,
    /// Bytes of content received a second.
    pub down: u64,
    /// Bytes of content sent a second.
    pub up: u64,
    /// Bytes of content received, since the start.
    pub downloaded: u64,
    /// Bytes of content sent, since the start.
    pub uploaded: u64,
}

impl Progress {
    /// Peers, what comes and what goes, as people read them.
    fn words(&self) -> [String; 3] {
        let peers = if self.peers == 1 { "1 peer".to_owned() } else { format!("{} peers", self.peers) };
        [peers, units::rate(self.down), units::rate(self.up)]
    }
}

impl Output {
    /// As the flags say.
    pub fn new(args: &CommonArgs) -> Self {
        Self {
            json: args.json.unwrap_or(false),
            verbose: args.verbose.unwrap_or(false),
            quiet: args.quiet.unwrap_or(false),
            bar: ProgressBar::hidden(),
            bar_kind: "",
            last_line: None,
        }
    }

    /// Is it JSON that is wanted?
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Are more words wanted?
    pub fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// A line on standard output. One that nobody reads any more is no reason to stop.
    pub fn line(&self, text: impl Display) {
        self.to_stdout(harmless(&text.to_string()));
    }

    fn to_stdout(&self, text: impl Display) {
        self.bar.suspend(|| {
            let mut out = io::stdout().lock();
            _ = writeln!(out, "{text}").and_then(|()| out.flush());
        });
    }

    /// A JSON object on standard output, if JSON is wanted.
    pub fn event(&self, event: &str, fields: &impl Serialize) {
        if !self.json {
            return;
        }
        // The kind comes first, so that people can read it too.
        let fields = serde_json::to_string(fields).unwrap_or_default();
        match fields.strip_prefix('{') {
            Some("}") | None => self.to_stdout(format_args!("{{\"event\":\"{event}\"}}")),
            Some(rest) => self.to_stdout(format_args!("{{\"event\":\"{event}\",{rest}")),
        }
    }

    /// Does it say things to people?
    pub fn talks(&self) -> bool {
        !self.quiet && !self.json
    }

    /// A sentence for people.
    pub fn say(&self, text: impl Display) {
        if self.talks() {
            self.to_stderr(text);
        }
    }

    /// What people have to know, also those who want few words.
    pub fn secret(&self, text: impl Display) {
        if !self.json {
            self.to_stderr(text);
        }
    }

    /// A sentence for people who asked for more of them.
    pub fn detail(&self, text: impl Display) {
        if self.verbose && !self.json {
            self.to_stderr(text);
        }
    }

    /// An event for programs that asked for more of them.
    pub fn detail_event(&self, name: &str, fields: &Value) {
        if self.verbose {
            self.event(name, fields);
        }
    }

    /// Something is not as it should be; work goes on.
    pub fn warn(&self, text: impl Display) {
        self.event("warning", &json!({ "message": text.to_string() }));
        if !self.quiet {
            self.to_stderr(format_args!("ppsp: warning: {text}"));
        }
    }

    /// The last word of a command that failed.
    pub fn fail(&mut self, failure: &Failure) {
        self.clear();
        self.event("error", &json!({ "message": failure.message, "code": failure.exit as u8 }));
        if failure.exit != super::exit::Exit::Interrupted {
            self.to_stderr(format_args!("ppsp: {}", failure.message));
        }
    }

    /// The socket is open.
    pub fn listening(&self, addr: SocketAddr) {
        self.event("listening", &json!({ "addr": addr }));
        self.detail(format_args!("listening on {addr}"));
    }

    /// The link of what is shared: the one thing that people get on standard output.
    pub fn link(&self, link: &str, fields: &Value) {
        self.event("link", fields);
        if !self.json {
            self.line(link);
        }
    }

    /// A peer is up.
    pub fn peer_up(&self, addr: SocketAddr) {
        self.event("peer", &json!({ "addr": addr, "state": "up" }));
        self.detail(format_args!("peer {addr} is up"));
    }

    /// A tracker took the registration.
    pub fn registered(&self, tracker: &str, peer_id: &str, reflexive: Option<SocketAddr>) {
        let peer_id = one_line(peer_id);
        self.event("registered", &json!({ "tracker": tracker, "peer_id": peer_id, "reflexive": reflexive }));
        self.detail(format_args!("registered at {tracker} as {peer_id}"));
    }

    /// A tracker is of no help. `again`: as the one before.
    pub fn tracker_failed(&self, tracker: &str, why: &str, again: bool) {
        let (tracker, why) = (one_line(tracker), one_line(why));
        self.event("tracker_failed", &json!({ "tracker": tracker, "why": why }));
        // Once in a row is enough for people.
        if !again {
            self.say(format_args!("tracker {tracker}: {why}"));
        }
    }

    /// A peer is gone: why, in a word for programs and in words for people.
    pub fn peer_down(&self, addr: SocketAddr, reason: &str, words: &str) {
        self.event("peer", &json!({ "addr": addr, "state": "down", "reason": reason }));
        self.detail(format_args!("peer {addr} {words}"));
    }

    /// What opening a store tells.
    pub fn notice(&mut self, notice: Notice<'_>) {
        match notice {
            Notice::Hashing { done, total } => self.work("hashing", done, total),
            Notice::Checking { done, total } => self.work("checking", done, total),
            Notice::Warning(text) => self.warn(text),
        }
    }

    /// The last state of a transfer, whenever the one before was told.
    pub fn progress_ended(&mut self, now: &Progress) {
        self.last_line = None;
        self.progress(true, now);
    }

    /// Work on a file: a bar with rate and time left on a terminal, a line a second elsewhere.
    fn work(&mut self, what: &'static str, done: u64, total: u64) {
        if self.json || self.quiet {
            return;
        }
        self.bar_of(
            what,
            "{prefix:9} [{wide_bar:.cyan/blue}] {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta}",
        );
        self.bar.set_length(total);
        self.bar.set_position(done);
        if self.bar.is_hidden() && self.line_is_due(LINE_EVERY) {
            self.to_stderr(format_args!("{what}: {} of {}", units::bytes(done), units::bytes(total)));
        }
    }

    /// How a transfer stands. `fetching`: a bar up to the end; else what is sent.
    pub fn progress(&mut self, fetching: bool, now: &Progress) {
        if self.json && self.line_is_due(JSON_EVERY) {
            self.event("progress", now);
        }
        if !self.talks() {
            return;
        }
        let [peers, down, up] = now.words();
        let flow = format!("{peers}  ↓ {down}  ↑ {up}");
        if !fetching {
            self.bar_of("seeding", "{spinner:.green} {prefix}  {wide_msg}");
            self.bar.set_message(format!("{flow}  sent {}", units::bytes(now.uploaded)));
            self.bar.tick();
        } else if let Some(total) = now.total {
            self.bar_of(
                "fetching",
                "[{bar:10.green/blue}] {percent:>3}%  {binary_bytes}/{binary_total_bytes}  {wide_msg}",
            );
            self.bar.set_length(total);
            self.bar.set_position(now.bytes);
            let left = total.saturating_sub(now.bytes).checked_div(now.down);
            let eta = left.filter(|_| now.bytes < total).map_or(String::new(), |s| format!("  {}", clock(s)));
            // What matters least stands last: a narrow terminal cuts it off.
            self.bar.set_message(format!("↓ {down}{eta}  {peers}  ↑ {up}"));
        } else {
            self.bar_of("looking", "{spinner:.green} looking for peers  {wide_msg}");
            self.bar.set_message(flow.clone());
            self.bar.tick();
        }
        if self.bar.is_hidden() && self.line_is_due(LINE_EVERY) {
            let share = match now.total {
                Some(total) if fetching && total > 0 => format!("{:3}%  ", now.bytes * 100 / total),
                _ => String::new(),
            };
            let moved = if fetching { now.bytes } else { now.uploaded };
            self.to_stderr(format_args!("{share}{}  {flow}", units::bytes(moved)));
        }
    }

    /// How a live stream stands that is watched.
    pub fn watching(&mut self, now: &Progress) {
        if self.json && self.line_is_due(JSON_EVERY) {
            self.event("progress", now);
        }
        if !self.talks() {
            return;
        }
        let [peers, down, up] = now.words();
        self.bar_of("live", "{spinner:.green} {prefix}  {wide_msg}");
        let text = format!("{}  ↓ {down}  {peers}  ↑ {up}", units::bytes(now.bytes));
        self.bar.set_message(text.clone());
        self.bar.tick();
        if self.bar.is_hidden() && self.line_is_due(LINE_EVERY) {
            self.to_stderr(format_args!("live  {text}"));
        }
    }

    /// Takes the bar away.
    pub fn clear(&mut self) {
        self.bar.finish_and_clear();
        self.bar = ProgressBar::hidden();
        self.bar_kind = "";
    }

    fn bar_of(&mut self, kind: &'static str, template: &str) {
        if self.bar_kind == kind {
            return;
        }
        self.clear();
        self.bar_kind = kind;
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
            .with_style(style.progress_chars("━╸─"))
            .with_prefix(kind);
    }

    fn line_is_due(&mut self, every: Duration) -> bool {
        let now = Instant::now();
        let due = self.last_line.is_none_or(|last| now.duration_since(last) + SLACK >= every);
        if due {
            self.last_line = Some(now);
        }
        due
    }

    fn to_stderr(&self, text: impl Display) {
        let text = harmless(&text.to_string());
        self.bar.suspend(|| _ = writeln!(io::stderr().lock(), "{text}"));
    }
}

/// Text from a stranger as one line without anything that a terminal obeys: control characters, and those that change
/// the direction of text, are written as escapes.
pub fn one_line(text: &str) -> String {
    escape(text, |c| c.is_control())
}

/// The same for words of our own around it, which may stand on several lines.
fn harmless(text: &str) -> String {
    escape(text, |c| c.is_control() && !matches!(c, '\n' | '\t'))
}

fn escape(text: &str, control: impl Fn(char) -> bool) -> String {
    let turns =
        |c| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if control(c) || turns(c) {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
    }
    plain
}

/// Is standard error a terminal?
pub fn on_terminal() -> bool {
    io::stderr().is_terminal()
}

/// `1:02:03`.
fn clock(seconds: u64) -> String {
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if h > 0 { format!("{h}:{m:02}:{s:02}") } else { format!("{m}:{s:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_shown() {
        assert_eq!(one_line("a\u{1b}[31m\n\u{9b}é\u{202e}x\u{2066}"), r"a\u{1b}[31m\n\u{9b}é\u{202e}x\u{2066}");
        assert_eq!(harmless("a\nb\r\u{7f}\u{200f} ↑ ━"), "a\nb\\r\\u{7f}\\u{200f} ↑ ━");
    }
}
