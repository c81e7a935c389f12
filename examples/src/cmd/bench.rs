//! Measurements of the whole: two processes, real sockets, real files.

use std::{fs::File, path::Path};

use serde_json::{Value, json};

use super::{child::Child, demo::write_bytes, parse_link, signals::Signals};
use crate::{
    cli::{args::LoopbackArgs, exit::Failure, output::Output, units},
    store::compare,
};

/// `ppsp bench loopback`.
pub(super) async fn run(args: LoopbackArgs, out: &mut Output) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    tokio::select! {
        biased;
        () = signals.any() => Err(Failure::interrupted()),
        done = measure(args, out) => done,
    }
}

/// Refuses what does not fit: content, a copy, and a hash tree for each.
fn check_size(size: u64, dir: &Path) -> Result<(), Failure> {
    if size == 0 {
        return Err(Failure::usage("--size 0: there is nothing to measure"));
    }
    let Ok(space) = rustix::fs::statvfs(dir) else { return Ok(()) };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let needed = size.saturating_mul(2).saturating_add(size / 4);
    if needed <= free {
        return Ok(());
    }
    let base = dir.parent().unwrap_or(dir).display();
    Err(Failure::usage(format!(
        "--size: two copies of {} and their hash trees do not fit in {base}, where {} are free; choose less, or another --dir",
        units::bytes(size),
        units::bytes(free)
    )))
}

async fn measure(args: LoopbackArgs, out: &mut Output) -> Result<(), Failure> {
    let memory = Path::new("/dev/shm");
    let base = match &args.dir {
        Some(dir) => dir.clone(),
        None if memory.is_dir() => memory.to_owned(),
        None => std::env::temp_dir(),
    };
    let dir = tempfile::Builder::new()
        .prefix("ppsp-bench-")
        .tempdir_in(&base)
        .map_err(|e| Failure::other(format!("{}: cannot make a temporary directory: {e}", base.display())))?;
    check_size(args.size.0, dir.path())?;
    let (content, copy) = (dir.path().join("content"), dir.path().join("copy"));
    let size = args.size.0;
    let unwritten = |e| Failure::other(format!("{}: {e}", content.display()));
    let file = File::create(&content).map_err(unwritten)?;
    out.detail_event("writing", &json!({ "bytes": size }));
    // In a thread: a signal is heard meanwhile. It makes no file, so that the directory can go at any moment.
    let written = tokio::task::spawn_blocking(move || write_bytes(file, size)).await.map_err(Failure::other)?;
    written.map_err(unwritten)?;
    let (chunk_size, hash) = (args.chunk_size.0.to_string(), args.hash.to_string());

    let mut seed = Child::spawn(
        "seed",
        [
            "seed".as_ref(),
            content.as_os_str(),
            "--listen".as_ref(),
            "127.0.0.1:0".as_ref(),
            "--chunk-size".as_ref(),
            chunk_size.as_ref(),
            "--hash".as_ref(),
            hash.as_ref(),
        ],
    )?;
    // The link comes after the hashing: processor time up to there does not count.
    let linked = seed.wait_for("link").await?;
    let link = linked["link"].as_str().unwrap_or_default().to_owned();
    let mut get = Child::spawn(
        "get",
        [
            "get".as_ref(),
            link.as_ref(),
            "--output".as_ref(),
            copy.as_os_str(),
            "--listen".as_ref(),
            "127.0.0.1:0".as_ref(),
        ],
    )?;
    let complete = get.wait_for("complete").await?;
    get.reap().await;
    seed.stop();
    let closed = seed.wait_for("closed").await?;
    seed.reap().await;

    let metadata = parse_link(&link)?.metadata;
    let length = args.size.0;
    tokio::task::spawn_blocking(move || compare(&copy, &metadata, &mut |_| {})).await.map_err(Failure::other)??;

    let cpu = |value: &Value| value["cpu_seconds"].as_f64().unwrap_or(0.0);
    let (seed_cpu, get_cpu) = (cpu(&closed) - cpu(&linked), cpu(&complete));
    let seconds = complete["seconds"].as_f64().unwrap_or(0.0).max(1e-9);
    let rate = length as f64 / 1e6 / seconds;
    let per_gib = (seed_cpu + get_cpu) / (length.max(1) as f64 / f64::from(1 << 30));
    let round = |value: f64| (value * 1000.0).round() / 1000.0;
    let rss = &complete["peak_rss_mib"];
    out.event(
        "bench",
        &json!({
            "bytes": length,
            "chunk_size": args.chunk_size.0,
            "hash": hash,
            "seconds": round(seconds),
            "mb_per_s": round(rate),
            "cpu_s_per_gib": round(per_gib),
            "seed_cpu_s": round(seed_cpu),
            "get_cpu_s": round(get_cpu),
            "peak_rss_mib": rss,
            "seed_peak_rss_mib": closed["peak_rss_mib"],
            "verified": true,
        }),
    );
    if !out.is_json() {
        let row = |name: &str, value: String| out.line(format_args!("{name:<26}{value}"));
        row("moved and verified", format!("{} in {seconds:.2} s", units::bytes(length)));
        row("rate", format!("{rate:.1} MB/s"));
        row("processor, both sides", format!("{per_gib:.2} s per GiB (seed {seed_cpu:.2} s, get {get_cpu:.2} s)"));
        row("most memory of get", rss.as_f64().map_or("not known here".to_owned(), |mib| format!("{mib} MiB")));
    }
    Ok(())
}
