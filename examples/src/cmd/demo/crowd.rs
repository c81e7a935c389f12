//! The processes of the demo while they run: what each says, how it stands, and which ends by itself.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{board::Board, player::Player, standing::Standing};
use crate::{
    cli::{exit::Failure, output::Output, units},
    cmd::child::Child,
    http::HttpClient,
};

/// Between two looks at a process.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// All of them. They end when this is dropped.
pub(super) struct Crowd {
    members: Vec<Member>,
    board: Board,
    say: mpsc::Sender<(usize, Told)>,
    hear: mpsc::Receiver<(usize, Told)>,
    tasks: JoinSet<()>,
}

/// One process.
struct Member {
    name: String,
    pid: Option<u32>,
    state: &'static str,
    /// Bytes a second.
    down: u64,
    up: u64,
    held: Option<u64>,
    total: u64,
    note: String,
    /// When it was looked at last, and what it had moved then.
    last: Option<(Instant, u64, u64)>,
}

/// Where it is known from how a process stands.
pub(super) enum Probe {
    /// What it says itself: the media server.
    Said,
    /// The status of a gateway, and how many bytes there are to hold.
    Status(Player, u64),
    /// The same of one that somebody watches by.
    Watched(Player, u64),
    /// A counter of a service, and what that counts.
    Counter(Box<HttpClient>, &'static str, &'static str),
}

enum Told {
    Said(Value),
    Status { standing: Standing, total: u64, watched: bool },
    Counted(u64, &'static str),
    Failed(Failure),
}

impl Crowd {
    pub(super) fn new(out: &Output) -> Self {
        let (say, hear) = mpsc::channel(64);
        Self { members: Vec::new(), board: Board::new(out), say, hear, tasks: JoinSet::new() }
    }

    /// One more that runs.
    pub(super) fn add(&mut self, name: &str, child: Child, probe: Probe, out: &Output) {
        let (number, say) = (self.members.len(), self.say.clone());
        out.event("started", &json!({ "name": name, "pid": child.pid() }));
        self.members.push(Member {
            name: name.to_owned(),
            pid: child.pid(),
            state: "runs",
            down: 0,
            up: 0,
            held: None,
            total: 0,
            note: String::new(),
            last: None,
        });
        self.board.add(name);
        self.tasks.spawn(follow(number, child, probe, say));
    }

    /// Does this for one of them; that it fails is told as if that one had ended.
    pub(super) fn on_behalf<F>(&mut self, name: &str, work: F)
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let (say, name) = (self.say.clone(), name.to_owned());
        self.tasks.spawn(async move {
            if let Err(Failure { exit, message }) = work.await {
                // Where the process has ended, that is the better word, and comes soon.
                sleep(LOOK_EVERY).await;
                _ = say.send((0, Told::Failed(Failure::new(exit, format!("{name} gets nothing: {message}"))))).await;
            }
        });
    }

    /// Shows how they stand until one of them ends by itself: that is the failure.
    pub(super) async fn watch(&mut self, out: &Output) -> Failure {
        let mut tick = interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // `say` is ours too, so that there is always one who may speak.
                Some((number, told)) = self.hear.recv() => {
                    if let Told::Failed(failure) = told {
                        return failure;
                    }
                    let Some(member) = self.members.get_mut(number) else { continue };
                    member.hear(told);
                    self.board.draw(number, &member.line());
                }
                _ = tick.tick() => {
                    if self.board.is_due() {
                        self.tell(out);
                    }
                }
            }
        }
    }

    /// A sentence above the lines of the processes.
    pub(super) fn say(&self, out: &Output, text: &str) {
        self.board.say(out, text);
    }

    /// Takes the lines away.
    pub(super) fn clear(&mut self) {
        self.board.clear();
    }

    /// Where lines do not stay in their place.
    fn tell(&self, out: &Output) {
        for member in &self.members {
            out.event("process", &member.fields());
            self.board.tell(out, &member.name, &member.line());
        }
    }
}

/// Passes on what a process says and how it stands, and that it ended.
async fn follow(number: usize, mut child: Child, probe: Probe, say: mpsc::Sender<(usize, Told)>) {
    let mut tick = interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let told = tokio::select! {
            value = child.next() => match value {
                Some(value) => Some(Told::Said(value)),
                None => Some(Told::Failed(child.ended_by_itself().await)),
            },
            _ = tick.tick() => look(&probe).await,
        };
        let over = matches!(told, Some(Told::Failed(_)));
        if let Some(told) = told
            && (say.send((number, told)).await.is_err() || over)
        {
            return;
        }
    }
}

/// What a process answers. One that does not answer has ended, or will the next time.
async fn look(probe: &Probe) -> Option<Told> {
    match probe {
        Probe::Said => None,
        Probe::Status(player, total) | Probe::Watched(player, total) => {
            let standing = Standing::read(&player.json("/status").await.ok()?);
            Some(Told::Status { standing, total: *total, watched: matches!(probe, Probe::Watched(..)) })
        }
        Probe::Counter(http, name, what) => {
            let answer = http.send(http::Request::get("/metrics").body(bytes::Bytes::new()).ok()?).await.ok()?;
            let page = String::from_utf8_lossy(answer.body()).into_owned();
            let value = |line: &str| {
                let rest = line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{']))?;
                rest.rsplit(' ').next()?.parse::<u64>().ok()
            };
            let values = page.lines().filter_map(value);
            Some(Told::Counted(values.sum(), what))
        }
    }
}

impl Member {
    fn hear(&mut self, told: Told) {
        match told {
            Told::Said(value) if value["event"] == "progress" => {
                let number = |name: &str| value[name].as_u64().unwrap_or(0);
                self.state = "serves";
                self.up = number("up");
                self.note = format!("sent {}", units::bytes(number("uploaded")));
            }
            Told::Status { standing, total, watched } => self.stand(&standing, total, watched),
            Told::Counted(count, what) => self.note = format!("{count} {what}"),
            Told::Said(_) | Told::Failed(_) => {}
        }
    }

    fn stand(&mut self, standing: &Standing, total: u64, watched: bool) {
        let now = Instant::now();
        if let Some((then, downloaded, uploaded)) = self.last {
            let span = now.duration_since(then).as_secs_f64().max(0.1);
            self.down = (standing.downloaded.saturating_sub(downloaded) as f64 / span) as u64;
            self.up = (standing.uploaded.saturating_sub(uploaded) as f64 / span) as u64;
        }
        self.last = Some((now, standing.downloaded, standing.uploaded));
        (self.held, self.total) = (Some(standing.held), total);
        self.state = match (standing.swarms, standing.held < total) {
            (0, _) => "waits",
            (_, true) if watched && (standing.is_read || self.down > 0) => "plays",
            (_, true) if !watched => "fetches",
            _ => "shares",
        };
        self.note = match standing.links {
            1 => "1 peer".to_owned(),
            links => format!("{links} peers"),
        };
    }

    /// What matters most stands first: a narrow terminal cuts off the rest.
    fn line(&self) -> String {
        let flow = match (self.last, self.state) {
            (Some(_), _) => format!("↓ {:>12}  ↑ {:>12}", units::rate(self.down), units::rate(self.up)),
            (None, "serves") => format!("{:14}  ↑ {:>12}", "", units::rate(self.up)),
            (None, _) => return format!("{:7}  {}", self.state, self.note),
        };
        let held = self.held.and_then(|held| (held.min(self.total) * 100).checked_div(self.total));
        let held = held.map_or_else(|| " ".repeat(4), |percent| format!("{percent:3}%"));
        format!("{:7}  {flow}  {held}  {}", self.state, self.note)
    }

    fn fields(&self) -> Value {
        json!({
            "name": self.name, "pid": self.pid, "state": self.state, "down": self.down, "up": self.up, "held": self.held,
            "total": self.held.map(|_| self.total),
        })
    }
}
