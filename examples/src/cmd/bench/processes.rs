//! `ppsp seed` and `ppsp get` as people use them.

use std::path::Path;

use serde_json::Value;

use super::{
    Figures, Plan,
    cores::{self, Pinned},
};
use crate::{
    cli::exit::Failure,
    cmd::{child::Child, parse_link},
    net::Counters,
    store::compare,
};

/// Moves `content` to copies in `dir`, which are compared with the link and removed.
pub(super) async fn transfer(plan: &Plan, dir: &Path, content: &Path) -> Result<Figures, Failure> {
    let (chunk_size, sockets) = (plan.chunk_size.to_string(), plan.sockets.to_string());
    let mut seed = {
        let _pinned = Pinned::to(if plan.sockets > 1 { &plan.cores } else { cores::of(&plan.cores, 0) });
        Child::spawn(
            "seed",
            [
                "seed".as_ref(),
                content.as_os_str(),
                "--listen".as_ref(),
                "127.0.0.1:0".as_ref(),
                "--chunk-size".as_ref(),
                chunk_size.as_ref(),
                "--hash".as_ref(),
                plan.hash.name().as_ref(),
                "--sockets".as_ref(),
                sockets.as_ref(),
                "--pex".as_ref(),
                "off".as_ref(),
            ],
        )?
    };
    // The link comes after the hashing: processor time up to there does not count.
    let linked = seed.wait_for("link").await?;
    let link = linked["link"].as_str().unwrap_or_default().to_owned();
    let home = |number: usize| dir.join(format!("leecher-{number}"));
    let mut leechers = Vec::new();
    for number in 1..=plan.leechers {
        std::fs::create_dir_all(home(number)).map_err(|e| Failure::other(format!("{}: {e}", dir.display())))?;
        let copy = home(number).join("copy");
        let _pinned = Pinned::to(cores::of(&plan.cores, number));
        // Each from the seed alone: what leechers give each other is measured elsewhere.
        leechers.push(Child::spawn(
            "get",
            [
                "get".as_ref(),
                link.as_ref(),
                "--output".as_ref(),
                copy.as_os_str(),
                "--listen".as_ref(),
                "127.0.0.1:0".as_ref(),
                "--pex".as_ref(),
                "off".as_ref(),
            ],
        )?);
    }
    let mut figures = Figures::default();
    for get in &mut leechers {
        let complete = get.wait_for("complete").await?;
        let seen = network(&complete);
        figures.seconds = figures.seconds.max(number(&complete["seconds"]));
        figures.get_cpu += number(&complete["cpu_seconds"]);
        let most = [figures.peak_rss_mib, complete["peak_rss_mib"].as_f64()];
        figures.peak_rss_mib = most.into_iter().flatten().reduce(f64::max);
        figures.network.datagrams_in += seen.datagrams_in;
        figures.network.runs_in += seen.runs_in;
    }
    for get in &mut leechers {
        get.reap().await;
    }
    seed.stop();
    let closed = seed.wait_for("closed").await?;
    seed.reap().await;
    figures.seed_cpu = number(&closed["cpu_seconds"]) - number(&linked["cpu_seconds"]);
    figures.seed_peak_rss_mib = closed["peak_rss_mib"].as_f64();
    figures.network = Counters {
        datagrams_out: network(&closed).datagrams_out,
        runs_out: network(&closed).runs_out,
        ..figures.network
    };

    let metadata = parse_link(&link)?.metadata;
    for number in 1..=plan.leechers {
        let (home, metadata) = (home(number), metadata.clone());
        let check = move || compare(&home.join("copy"), &metadata, &mut |_| {}).map(|_| std::fs::remove_dir_all(home));
        _ = tokio::task::spawn_blocking(check).await.map_err(Failure::other)??;
    }
    Ok(figures)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

fn network(value: &Value) -> Counters {
    let count = |name: &str| value[name].as_u64().unwrap_or(0);
    Counters {
        datagrams_out: count("datagrams_out"),
        runs_out: count("runs_out"),
        datagrams_in: count("datagrams_in"),
        runs_in: count("runs_in"),
        ..Counters::default()
    }
}
