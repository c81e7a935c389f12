//! `ppsp gateway` as a player uses it: content of a fresh swarm, then the same content once it is held.

use std::time::{Duration, Instant};

use ppsp_core::HashAlg;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    Plan,
    cores::{self, Pinned},
    make_content,
};
use crate::{
    cli::{args::GatewayBenchArgs, exit::Failure, output::Output, units},
    cmd::{
        child::{Child, remove_after_children},
        signals::Signals,
    },
};

/// `ppsp bench gateway`.
pub(in crate::cmd) async fn run(args: GatewayBenchArgs, out: &mut Output) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    // What it is about, twice, in files.
    let plan = Plan {
        size: args.size.0,
        chunk_size: 1024,
        hash: HashAlg::Sha256,
        leechers: 1,
        sockets: 1,
        cores: cores::choose(args.cores)?,
    };
    let (dir, content) = signals.unless(make_content(&plan, args.dir.as_deref(), out)).await?;
    let done = signals.unless(measure(&args, &plan, &dir, &content, out)).await;
    remove_after_children(dir).await;
    done
}

async fn measure(
    args: &GatewayBenchArgs,
    plan: &Plan,
    dir: &tempfile::TempDir,
    content: &std::path::Path,
    out: &Output,
) -> Result<(), Failure> {
    let text = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    let content = content.to_string_lossy();
    let mut seed = {
        let _pinned = Pinned::to(cores::of(&plan.cores, 1));
        Child::spawn("seed", ["seed", &content, "--listen", "127.0.0.1:0"])?
    };
    let link = seed.wait_for("link").await?["link"].as_str().unwrap_or_default().to_owned();
    let mut gateway = {
        let _pinned = Pinned::to(cores::of(&plan.cores, 0));
        let cache = text(dir.path().join("cache"));
        let words = ["gateway", &link, "--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0", "--cache", &cache];
        Child::spawn("gateway", words)?
    };
    let _pinned = Pinned::to(cores::of(&plan.cores, 1));
    let addr = gateway.wait_for("gateway").await?["addr"].as_str().unwrap_or_default().to_owned();
    let playable = gateway.wait_for("playable").await?;
    let url = playable["url"].as_str().unwrap_or_default().to_owned();
    let path = url.split_once(&addr).map_or("/", |(_, path)| path).to_owned();
    gateway.wait_for("ready").await?;

    // The swarm is opened with the first request.
    let (first_byte, fetched) = play(&addr, &path, plan.size).await?;
    let mut held = Vec::new();
    for _ in 0..args.repeat {
        held.push(play(&addr, &path, plan.size).await?.1);
    }
    held.sort_unstable();
    let held = held.get(held.len() / 2).copied().unwrap_or_default();
    let peak = gateway.peak_rss_mib();
    gateway.reap().await;
    seed.reap().await;

    let rate = |took: Duration| plan.size as f64 / 1e6 / took.as_secs_f64().max(1e-9);
    out.event(
        "bench",
        &json!({
            "bytes": plan.size, "cores": plan.cores.len(), "first_byte_ms": first_byte.as_secs_f64() * 1e3,
            "fetched_mb_per_s": rate(fetched), "held_mb_per_s": rate(held), "peak_rss_mib": peak,
        }),
    );
    if !out.is_json() {
        let row = |name: &str, value: String| out.line(format_args!("{name:<34}{value}"));
        row("played", units::bytes(plan.size));
        row("first byte of a fresh swarm", format!("{:.1} ms", first_byte.as_secs_f64() * 1e3));
        row("while it comes", format!("{:.0} MB/s", rate(fetched)));
        row("once it is held, one connection", format!("{:.0} MB/s", rate(held)));
        if let Some(peak) = peak {
            row("most memory of the gateway", format!("{peak} MiB"));
        }
    }
    Ok(())
}

/// Plays it to the end; how long the first byte took, and all of it.
async fn play(addr: &str, path: &str, size: u64) -> Result<(Duration, Duration), Failure> {
    let failed = |e: std::io::Error| Failure::network(format!("the gateway: {e}"));
    let begun = Instant::now();
    let mut stream = TcpStream::connect(addr).await.map_err(failed)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut buffer = vec![0; 1 << 20];
    let (mut received, mut body, mut first) = (0, None, Duration::ZERO);
    loop {
        let read = stream.read(&mut buffer).await.map_err(failed)?;
        if read == 0 {
            break;
        }
        received += read as u64;
        if body.is_none()
            && let Some(end) = buffer[..read].windows(4).position(|bytes| bytes == b"\r\n\r\n")
        {
            // Head and first bytes come together.
            body = Some(end as u64 + 4);
            first = begun.elapsed();
        }
    }
    let length = received - body.unwrap_or(received);
    if length != size {
        return Err(Failure::network(format!("the gateway gave {length} bytes in place of {size}")));
    }
    Ok((first, begun.elapsed()))
}
