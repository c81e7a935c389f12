//! Measurements of the whole: real sockets, and real processes and files or threads and memory.

mod cores;
mod gateway;
mod memory;
mod processes;
mod tracker;

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use ppsp_core::HashAlg;
use serde_json::json;
use tempfile::TempDir;

use super::{demo::write_bytes, signals::Signals};
use crate::{
    cli::{
        args::{LoopbackArgs, StoreKind},
        exit::Failure,
        output::Output,
        units,
    },
    net::Counters,
};

pub(super) use gateway::run as run_gateway;
pub(super) use tracker::run as run_tracker;

/// What is to be moved, and how.
#[derive(Clone, Debug)]
struct Plan {
    size: u64,
    chunk_size: u32,
    hash: HashAlg,
    leechers: usize,
    sockets: u16,
    /// The cores to use; none: as the system likes.
    cores: Vec<usize>,
}

/// What it took.
#[derive(Clone, Debug, Default)]
struct Figures {
    /// Until the last leecher had all.
    seconds: f64,
    seed_cpu: f64,
    /// Of all leechers together.
    get_cpu: f64,
    /// Of the leecher with most.
    peak_rss_mib: Option<f64>,
    seed_peak_rss_mib: Option<f64>,
    /// What the seed sent, and the leechers received.
    network: Counters,
}

/// `ppsp bench loopback`.
pub(super) async fn run(args: LoopbackArgs, out: &mut Output) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    tokio::select! {
        biased;
        () = signals.any() => Err(Failure::interrupted()),
        done = measure(args, out) => done,
    }
}

async fn measure(args: LoopbackArgs, out: &mut Output) -> Result<(), Failure> {
    let plan = Plan {
        size: args.size.0,
        chunk_size: u32::try_from(args.chunk_size.0)
            .ok()
            .filter(|&size| size > 0)
            .ok_or_else(|| Failure::usage(ppsp_core::MetadataError::ChunkSize))?,
        hash: args.hash.0,
        leechers: usize::from(args.leechers),
        sockets: args.sockets,
        cores: cores::choose(args.cores)?,
    };
    if plan.size == 0 {
        return Err(Failure::usage("--size 0: there is nothing to measure"));
    }
    if args.store == StoreKind::Memory && plan.sockets > 1 {
        return Err(Failure::usage("--sockets: a seed in memory has one; more come with --store file"));
    }
    let content = match args.store {
        StoreKind::File => Some(make_content(&plan, args.dir.as_deref(), out).await?),
        StoreKind::Memory => None,
    };
    let mut rates = Vec::new();
    for _ in 0..args.repeat {
        let figures = match &content {
            Some((dir, content)) => processes::transfer(&plan, dir.path(), content).await?,
            None => {
                let plan = plan.clone();
                tokio::task::spawn_blocking(move || memory::transfer(&plan)).await.map_err(Failure::other)??
            }
        };
        rates.push(tell(&plan, args.store, &figures, out));
    }
    if rates.len() > 1 {
        rates.sort_by(f64::total_cmp);
        let (lowest, median, highest) = (rates[0], rates[rates.len() / 2], rates[rates.len() - 1]);
        out.event("bench_summary", &json!({ "lowest": lowest, "median": median, "highest": highest }));
        if !out.is_json() {
            out.line(format_args!("{:<26}{median:.1} MB/s ({lowest:.1} to {highest:.1})", "median of the rates"));
        }
    }
    Ok(())
}

/// Makes the file to share, in a directory that goes with the value returned.
async fn make_content(plan: &Plan, dir: Option<&Path>, out: &Output) -> Result<(TempDir, PathBuf), Failure> {
    let memory = Path::new("/dev/shm");
    let base = match dir {
        Some(dir) => dir.to_owned(),
        None if memory.is_dir() => memory.to_owned(),
        None => std::env::temp_dir(),
    };
    let dir = tempfile::Builder::new()
        .prefix("ppsp-bench-")
        .tempdir_in(&base)
        .map_err(|e| Failure::other(format!("{}: cannot make a temporary directory: {e}", base.display())))?;
    check_size(plan, dir.path())?;
    let (content, size) = (dir.path().join("content"), plan.size);
    let unwritten = |e| Failure::other(format!("{}: {e}", content.display()));
    let file = File::create(&content).map_err(unwritten)?;
    out.detail_event("writing", &json!({ "bytes": size }));
    // In a thread: a signal is heard meanwhile. It makes no file, so that the directory can go at any moment.
    let written = tokio::task::spawn_blocking(move || write_bytes(file, size)).await.map_err(Failure::other)?;
    written.map_err(unwritten)?;
    Ok((dir, content))
}

/// Refuses what does not fit: content, copies, and a hash tree for each.
fn check_size(plan: &Plan, dir: &Path) -> Result<(), Failure> {
    let Ok(space) = rustix::fs::statvfs(dir) else { return Ok(()) };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let files = 1 + plan.leechers as u64;
    let needed = plan.size.saturating_add(plan.size / 8).saturating_mul(files);
    if needed <= free {
        return Ok(());
    }
    let base = dir.parent().unwrap_or(dir).display();
    Err(Failure::usage(format!(
        "--size: {files} copies of {} and their hash trees do not fit in {base}, where {} are free; choose less, or another --dir",
        units::bytes(plan.size),
        units::bytes(free)
    )))
}

/// Says what a transfer took; its rate.
fn tell(plan: &Plan, store: StoreKind, figures: &Figures, out: &Output) -> f64 {
    let round = |value: f64| (value * 1000.0).round() / 1000.0;
    let moved = plan.size as f64 * plan.leechers as f64;
    let seconds = figures.seconds.max(1e-9);
    let rate = round(moved / 1e6 / seconds);
    let per_gib = (figures.seed_cpu + figures.get_cpu) / (moved / f64::from(1 << 30));
    let Counters { datagrams_out, runs_out, datagrams_in, runs_in, .. } = figures.network;
    let mean = |datagrams: u64, runs: u64| round(datagrams as f64 / runs.max(1) as f64);
    let (run_out, run_in) = (mean(datagrams_out, runs_out), mean(datagrams_in, runs_in));
    out.event(
        "bench",
        &json!({
            "bytes": plan.size,
            "chunk_size": plan.chunk_size,
            "hash": plan.hash.name(),
            "store": if store == StoreKind::Memory { "memory" } else { "file" },
            "leechers": plan.leechers,
            "sockets": plan.sockets,
            "cores": plan.cores.len(),
            "seconds": round(seconds),
            "mb_per_s": rate,
            "cpu_s_per_gib": round(per_gib),
            "seed_cpu_s": round(figures.seed_cpu),
            "get_cpu_s": round(figures.get_cpu),
            "datagrams": datagrams_out,
            "run_sent": run_out,
            "run_received": run_in,
            "peak_rss_mib": figures.peak_rss_mib,
            "seed_peak_rss_mib": figures.seed_peak_rss_mib,
            "verified": true,
        }),
    );
    if !out.is_json() {
        let row = |name: &str, value: String| out.line(format_args!("{name:<26}{value}"));
        let copies = if plan.leechers == 1 { String::new() } else { format!("{} × ", plan.leechers) };
        row("moved and verified", format!("{copies}{} in {seconds:.2} s", units::bytes(plan.size)));
        row("rate", format!("{rate:.1} MB/s"));
        let (seed, get) = (figures.seed_cpu, figures.get_cpu);
        row("processor, both sides", format!("{per_gib:.2} s per GiB (seed {seed:.2} s, get {get:.2} s)"));
        row(
            "datagrams from the seed",
            format!("{datagrams_out}, in runs of {run_out:.1}, received {run_in:.1} at a time"),
        );
        if let Some(mib) = figures.peak_rss_mib {
            row(if store == StoreKind::Memory { "most memory" } else { "most memory of a get" }, format!("{mib} MiB"));
        }
    }
    rate
}
