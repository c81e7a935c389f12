//! A swarm to look at: one seed and some leechers, each a process.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use tokio::{process::Command, sync::mpsc, time::interval};

use super::{
    child::{Child, remove_after_children},
    parse_link,
    signals::Signals,
};
use crate::{
    cli::{
        args::DemoArgs,
        exit::Failure,
        output::{Output, on_terminal},
        units,
    },
    store::compare,
};

const GENERATED: u64 = 32 << 20;
/// The seed alone would need this long for one copy. Four copies then take five times as long unless leechers share.
const SECONDS_PER_COPY: u64 = 5;
const LEAST_LIMIT: u64 = 1 << 20;

/// One process of the swarm and what it told last.
struct Member {
    name: String,
    addr: String,
    progress: Value,
    complete: Option<Value>,
    closed: Option<Value>,
    bar: ProgressBar,
}

/// What a process says, by its number; `None` when it ends.
type Said = (usize, Option<Value>);

/// `ppsp demo`.
pub(super) async fn run(args: DemoArgs, out: &mut Output) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let dir = tempfile::Builder::new()
        .prefix("ppsp-demo-")
        .tempdir()
        .map_err(|e| Failure::other(format!("cannot make a temporary directory: {e}")))?;
    // With every way out: the processes first, then their directory.
    let done = tokio::select! {
        biased;
        () = signals.any() => Err(Failure::interrupted()),
        done = show(args, out, dir.path()) => done,
    };
    remove_after_children(dir).await;
    done
}

async fn show(args: DemoArgs, out: &mut Output, dir: &Path) -> Result<(), Failure> {
    let video = match args.video {
        Some(video) => video,
        None => make_content(out, dir).await?,
    };
    let length = std::fs::metadata(&video).map_err(|e| Failure::other(format!("{}: {e}", video.display())))?.len();
    let limit = args.upload_limit.map_or((length / SECONDS_PER_COPY).max(LEAST_LIMIT), |rate| rate.0);
    let count = usize::from(args.leechers);

    let state = dir.join("seed");
    let limit_text = format!("{limit}B/s");
    let mut seed = Child::spawn(
        "seed",
        [
            "seed".as_ref(),
            video.as_os_str(),
            "--listen".as_ref(),
            "127.0.0.1:0".as_ref(),
            "--state-dir".as_ref(),
            state.as_os_str(),
            "--upload-limit".as_ref(),
            limit_text.as_ref(),
        ],
    )?;
    let seed_addr = seed.wait_for("listening").await?["addr"].as_str().unwrap_or_default().to_owned();
    let link = seed.wait_for("link").await?["link"].as_str().unwrap_or_default().to_owned();
    out.event("link", &json!({ "link": link }));
    out.say(format_args!(
        "One seed and {count} leecher{}, {} processes on this machine, share\n\
         {} ({}).\n\
         The seed sends at most {}, so that the leechers need each other.\n",
        if count == 1 { "" } else { "s" },
        count + 1,
        video.file_name().unwrap_or_default().to_string_lossy(),
        units::bytes(length),
        units::rate(limit),
    ));

    let bars = Bars::new(out, count + 1);
    let mut members = vec![Member::new("seed".to_owned(), seed_addr.clone(), bars.add("seed", None))];
    let mut children = vec![seed];
    let mut copies = Vec::new();
    for number in 1..=count {
        let name = format!("leecher {number}");
        let home = dir.join(&name);
        std::fs::create_dir(&home).map_err(|e| Failure::other(format!("{}: {e}", home.display())))?;
        let copy = home.join(video.file_name().unwrap_or_default());
        children.push(Child::spawn(
            &name,
            [
                "get".as_ref(),
                link.as_ref(),
                "--output".as_ref(),
                copy.as_os_str(),
                "--listen".as_ref(),
                "127.0.0.1:0".as_ref(),
                "--seed-after".as_ref(),
            ],
        )?);
        members.push(Member::new(name.clone(), String::new(), bars.add(&name, Some(length))));
        copies.push(copy);
    }

    let (said, mut hear) = mpsc::channel(64);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let tasks: Vec<_> = children
        .into_iter()
        .enumerate()
        .map(|(number, child)| tokio::spawn(listen(number, child, said.clone(), stopped.clone())))
        .collect();
    drop(said);
    let tasks = Tasks(tasks);

    let started = Instant::now();
    let mut line = interval(Duration::from_secs(1));
    while members.iter().skip(1).any(|member| member.complete.is_none()) {
        tokio::select! {
            Some((number, said)) = hear.recv() => members[number].hear(said, out)?,
            _ = line.tick() => bars.line(out, &members, started.elapsed()),
        }
    }
    let took = started.elapsed();
    // All is there: everyone may go.
    _ = stop.send(true);
    while let Some((number, said)) = hear.recv().await {
        if let Some(value) = said.filter(|value| value["event"] == "closed") {
            members[number].closed = Some(value);
        }
    }
    bars.clear();
    drop(tasks);

    let metadata = parse_link(&link)?.metadata;
    for copy in &copies {
        let (copy, metadata) = (copy.clone(), metadata.clone());
        tokio::task::spawn_blocking(move || compare(&copy, &metadata, &mut |_| {})).await.map_err(Failure::other)??;
    }
    report(out, &members, &seed_addr, length, took);
    Ok(())
}

/// Passes on what a process says, and ends it when all is done.
async fn listen(
    number: usize,
    mut child: Child,
    said: mpsc::Sender<Said>,
    mut stopped: tokio::sync::watch::Receiver<bool>,
) {
    let mut stopping = false;
    loop {
        tokio::select! {
            value = child.next() => {
                let ended = value.is_none();
                let value = match value {
                    Some(value) => match child.failure(&value) {
                        Some(failure) if !stopping => {
                            Some(json!({ "event": "failed", "code": failure.exit as u8, "message": failure.message }))
                        }
                        _ => Some(value),
                    },
                    None => None,
                };
                if said.send((number, value)).await.is_err() || ended {
                    break;
                }
            }
            () = wait_until(&mut stopped), if !stopping => {
                stopping = true;
                child.stop();
            }
        }
    }
    child.reap().await;
}

async fn wait_until(stopped: &mut tokio::sync::watch::Receiver<bool>) {
    _ = stopped.wait_for(|stop| *stop).await; // an error means that everything ends
}

/// Ends with what it holds: a demo that is broken off leaves no process behind.
struct Tasks(Vec<tokio::task::JoinHandle<()>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Member {
    fn new(name: String, addr: String, bar: ProgressBar) -> Self {
        Self { name, addr, progress: Value::Null, complete: None, closed: None, bar }
    }

    fn hear(&mut self, said: Option<Value>, out: &Output) -> Result<(), Failure> {
        let Some(value) = said else {
            return Err(Failure::other(format!("the {} process ended too early", self.name)));
        };
        match value["event"].as_str() {
            Some("listening") => self.addr = value["addr"].as_str().unwrap_or_default().to_owned(),
            Some("failed") => return Err(Failure::other(value["message"].as_str().unwrap_or_default())),
            Some("progress") => {
                self.progress = value;
                self.draw();
            }
            Some("complete") => {
                out.event("complete", &json!({
                    "name": self.name, "bytes": value["bytes"], "seconds": value["seconds"], "uploaded": value["uploaded"],
                }));
                self.complete = Some(value);
                self.draw();
            }
            _ => {}
        }
        Ok(())
    }

    fn number(&self, key: &str) -> u64 {
        self.progress[key].as_u64().unwrap_or(0)
    }

    fn draw(&self) {
        if self.name != "seed" {
            self.bar.set_position(self.number("bytes"));
        }
        self.bar.set_message(self.flow());
        self.bar.tick();
    }

    fn flow(&self) -> String {
        match &self.complete {
            Some(value) => format!(
                "done in {:.1} s  ↑ {}",
                value["seconds"].as_f64().unwrap_or(0.0),
                units::rate(self.number("up"))
            ),
            None if self.name == "seed" => {
                format!("↑ {}  sent {}", units::rate(self.number("up")), units::bytes(self.number("uploaded")))
            }
            None => format!(
                "{} peers  ↓ {}  ↑ {}",
                self.number("peers"),
                units::rate(self.number("down")),
                units::rate(self.number("up"))
            ),
        }
    }
}

/// One line for each process: bars on a terminal, plain lines elsewhere.
struct Bars {
    all: MultiProgress,
    plain: bool,
}

impl Bars {
    fn new(out: &Output, count: usize) -> Self {
        let plain = !on_terminal();
        let target = if plain || !out.talks() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        _ = count;
        Self { all: MultiProgress::with_draw_target(target), plain }
    }

    fn add(&self, name: &str, total: Option<u64>) -> ProgressBar {
        let template = match total {
            Some(_) => "{prefix:10} [{bar:14.green/blue}] {percent:>3}%  {wide_msg}",
            None => "{prefix:10} {wide_msg}",
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = self.all.add(ProgressBar::new(total.unwrap_or(0).max(1)));
        bar.set_style(style.progress_chars("━╸─"));
        bar.set_prefix(name.to_owned());
        bar.tick();
        bar
    }

    fn line(&self, out: &Output, members: &[Member], elapsed: Duration) {
        if !self.plain {
            return;
        }
        for member in members {
            let percent = match (member.number("bytes"), member.progress["total"].as_u64()) {
                (bytes, Some(total)) if total > 0 => bytes * 100 / total,
                _ => 0,
            };
            out.say(format_args!(
                "{:4.0} s  {:10}  {percent:3}%  {}",
                elapsed.as_secs_f64(),
                member.name,
                member.flow()
            ));
        }
    }

    fn clear(&self) {
        _ = self.all.clear();
    }
}

/// Bytes that a member received from the seed, and from others.
fn origins(member: &Member, seed: &str) -> (u64, u64) {
    // What `closed` says is newer; a process that was killed has only `complete`.
    let last = member.closed.as_ref().or(member.complete.as_ref());
    let peers = last.and_then(|value| value["peers"].as_array()).map_or(&[][..], Vec::as_slice);
    let bytes = |peer: &Value| peer["downloaded"].as_u64().unwrap_or(0);
    let from_seed = peers.iter().filter(|peer| peer["addr"] == seed).map(bytes).sum();
    (from_seed, peers.iter().map(bytes).sum::<u64>().saturating_sub(from_seed))
}

/// What was moved by whom.
fn report(out: &Output, members: &[Member], seed: &str, length: u64, took: Duration) {
    let percent = |part: u64, whole: u64| (part * 100 + whole / 2).checked_div(whole).unwrap_or(0);
    let sent = |member: &Member| member.closed.as_ref().and_then(|value| value["uploaded"].as_u64()).unwrap_or(0);
    let seconds = |member: &Member| member.complete.as_ref().and_then(|value| value["seconds"].as_f64()).unwrap_or(0.0);
    out.say(format_args!(
        "{:<10} {:>16} {:>16} {:>11} {:>7} {:>13}",
        "", "from the seed", "from leechers", "sent", "seconds", "rate"
    ));
    let mut all = (0, 0);
    for member in members {
        let (from_seed, from_peers) = origins(member, seed);
        all = (all.0 + from_seed, all.1 + from_peers);
        if member.addr == seed {
            let copies = sent(member) as f64 / length.max(1) as f64;
            out.say(format_args!(
                "{:<10} {:>16} {:>16} {:>11} {:>7} {copies:>6.2} copies",
                member.name,
                "",
                "",
                units::bytes(sent(member)),
                ""
            ));
            continue;
        }
        let received = from_seed + from_peers;
        let part = |bytes: u64| format!("{} {:>3}%", units::bytes(bytes), percent(bytes, received));
        out.say(format_args!(
            "{:<10} {:>16} {:>16} {:>11} {:>7.1} {:>13}",
            member.name,
            part(from_seed),
            part(from_peers),
            units::bytes(sent(member)),
            seconds(member),
            units::rate((received as f64 / seconds(member).max(0.001)) as u64),
        ));
    }
    let share = percent(all.1, all.0 + all.1);
    let count = members.len() - 1;
    out.say(format_args!(
        "\n{} after {:.1} s.\n{share}% of what the leechers received came from other leechers.",
        if count == 1 { "The copy is verified,".to_owned() } else { format!("All {count} copies are verified,") },
        took.as_secs_f64()
    ));
    out.event(
        "demo",
        &json!({
            "verified": count,
            "seconds": took.as_secs_f64(),
            "bytes": length,
            "seed_uploaded": members.first().map(sent),
            "from_seed": all.0,
            "from_leechers": all.1,
            "leechers": members.iter().skip(1).map(|member| {
                let (from_seed, from_leechers) = origins(member, seed);
                json!({
                    "name": member.name, "seconds": seconds(member), "uploaded": sent(member),
                    "from_seed": from_seed, "from_leechers": from_leechers,
                })
            }).collect::<Vec<_>>(),
        }),
    );
}

/// A video where ffmpeg can make one, else bytes.
async fn make_content(out: &Output, dir: &Path) -> Result<PathBuf, Failure> {
    let video = dir.join("demo.mp4");
    let args = "-loglevel error -f lavfi -i testsrc2=size=1280x720:rate=30 -f lavfi -i sine=frequency=440 -t 30 \
                -c:v libx264 -preset ultrafast -b:v 8M -minrate 8M -maxrate 8M -bufsize 8M -x264-params nal-hrd=cbr \
                -pix_fmt yuv420p -c:a aac -movflags +faststart";
    let made = Command::new("ffmpeg")
        .args(args.split_whitespace())
        .arg(&video)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let made = match made {
        Ok(mut ffmpeg) => {
            out.say("Making a video of 30 s with ffmpeg …");
            ffmpeg.wait().await.is_ok_and(|status| status.success())
        }
        Err(_) => false,
    };
    if made {
        return Ok(video);
    }
    _ = std::fs::remove_file(&video);
    let path = dir.join("demo.bin");
    File::create(&path)
        .and_then(|file| write_bytes(file, GENERATED))
        .map_err(|e| Failure::other(format!("{}: {e}", path.display())))?;
    out.say("No ffmpeg here to make a video: generated bytes instead.");
    Ok(path)
}

/// Bytes that look random and are the same every time.
pub(super) fn write_bytes(file: impl Write, length: u64) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, file);
    let mut x = 0x9e37_79b9_7f4a_7c15_u64;
    let mut left = length;
    while left > 0 {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        let take = left.min(8) as usize;
        file.write_all(&x.to_le_bytes()[..take])?;
        left -= take as u64;
    }
    file.flush()
}
