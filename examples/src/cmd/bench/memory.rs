//! Threads with content in memory: what is left of a transfer without files and commands.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use ppsp_core::{ContentStore, MemoryStore, Read, SwarmMetadata, TreeBuilder};
use ppsp_peer_proto::{Endpoint, EndpointConfig, SwarmConfig, SwarmKey};
use rustix::time::{ClockId, clock_gettime};

use super::{
    Figures, Plan,
    cores::{self, Pinned},
};
use crate::{
    cli::exit::Failure,
    cmd::{demo::write_bytes, usage},
    net::{Clock, Counters, Driver, Socket},
};

/// Between two looks of the seed at whether all is done.
const LOOK: Duration = Duration::from_millis(5);
/// A leecher that has received nothing for so long never will.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a thread used, and its socket saw.
type Used = (f64, Counters);

/// Moves generated content.
pub(super) fn transfer(plan: &Plan) -> Result<Figures, Failure> {
    let mut content = Vec::new();
    write_bytes(&mut content, plan.size).map_err(Failure::other)?;
    let (store, tree) = MemoryStore::from_content(plan.hash, plan.chunk_size, content);
    let mut metadata = SwarmMetadata::of_root(&tree.root);
    (metadata.chunk_size, metadata.hash) = (plan.chunk_size, plan.hash);
    metadata.content_length = Some(plan.size);
    let metadata = Arc::new(metadata);
    let done = Arc::new(AtomicBool::new(false));
    let (tell, told) = mpsc::channel();
    let seed = {
        let (metadata, done, cores) = (Arc::clone(&metadata), Arc::clone(&done), cores::of(&plan.cores, 0).to_vec());
        thread::spawn(move || seed(store, &metadata, &done, &tell, &cores))
    };
    // Without an address the seed has failed, and says why in the end.
    let leechers: Vec<_> = told
        .recv()
        .into_iter()
        .flat_map(|addr| {
            let (metadata, plan) = (&metadata, &*plan);
            (1..=plan.leechers).map(move |number| {
                let (metadata, plan) = (Arc::clone(metadata), plan.clone());
                thread::spawn(move || leech(&plan, &metadata, addr, cores::of(&plan.cores, number)))
            })
        })
        .collect();
    let mut figures = Figures::default();
    let leeched: Vec<_> = leechers.into_iter().map(join).collect();
    done.store(true, Ordering::Relaxed);
    let (seed_cpu, sent) = join(seed)?;
    for leecher in leeched {
        let (seconds, (cpu, seen)) = leecher?;
        figures.seconds = figures.seconds.max(seconds);
        figures.get_cpu += cpu;
        figures.network.datagrams_in += seen.datagrams_in;
        figures.network.runs_in += seen.runs_in;
    }
    figures.seed_cpu = seed_cpu;
    figures.network = Counters { datagrams_out: sent.datagrams_out, runs_out: sent.runs_out, ..figures.network };
    figures.peak_rss_mib = usage::peak_rss_mib();
    Ok(figures)
}

fn seed(
    store: MemoryStore,
    metadata: &SwarmMetadata,
    done: &AtomicBool,
    tell: &mpsc::Sender<SocketAddr>,
    cores: &[usize],
) -> Result<Used, Failure> {
    let _pinned = Pinned::to(cores);
    runtime()?.block_on(async {
        let (mut driver, _) = open(metadata, store)?;
        _ = tell.send(driver.local_addr().map_err(Failure::network)?);
        let before = cpu_seconds();
        while !done.load(Ordering::Relaxed) {
            if let Ok(turned) = tokio::time::timeout(LOOK, driver.turn()).await {
                turned.map_err(Failure::network)?;
            }
            while driver.endpoint.poll_event().is_some() {}
        }
        Ok((cpu_seconds() - before, driver.socket().counters()))
    })
}

fn leech(plan: &Plan, metadata: &SwarmMetadata, from: SocketAddr, cores: &[usize]) -> Result<(f64, Used), Failure> {
    let _pinned = Pinned::to(cores);
    runtime()?.block_on(async {
        let store = MemoryStore::new(plan.hash, plan.chunk_size).with_limit(plan.size);
        let (before, start) = (cpu_seconds(), Instant::now());
        let (mut driver, swarm) = open(metadata, store)?;
        driver.endpoint.connect(driver.now(), swarm, from).map_err(Failure::network)?;
        let (mut last, mut downloaded) = (start, 0);
        let view =
            |driver: &Driver| driver.endpoint.swarm(swarm).map(|swarm| (swarm.is_complete(), swarm.downloaded()));
        while let Some((false, bytes)) = view(&driver) {
            if bytes != downloaded {
                (last, downloaded) = (Instant::now(), bytes);
            } else if last.elapsed() >= PATIENCE {
                return Err(Failure::network("nothing is received any more"));
            }
            if let Ok(turned) = tokio::time::timeout(PATIENCE, driver.turn()).await {
                turned.map_err(Failure::network)?;
            }
            while driver.endpoint.poll_event().is_some() {}
        }
        let (seconds, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - before);
        let network = driver.socket().counters();
        check(plan, metadata, driver.endpoint.close(driver.now(), swarm))?;
        _ = driver.flush(LOOK).await;
        Ok((seconds, (cpu, network)))
    })
}

/// Hashes a copy once more: nobody is to be believed who measures himself.
fn check(plan: &Plan, metadata: &SwarmMetadata, store: Option<Box<dyn ContentStore>>) -> Result<(), Failure> {
    let mut store = store.ok_or_else(|| Failure::other("the swarm failed"))?;
    let mut builder = TreeBuilder::new(plan.hash, plan.chunk_size);
    let mut chunk = vec![0; plan.chunk_size as usize];
    for number in 0..plan.size.div_ceil(u64::from(plan.chunk_size)) {
        if let Read::Ready(length) = store.read_chunk(number, &mut chunk).map_err(Failure::other)? {
            builder.push(&chunk[..length], &mut |_, _| {});
        }
    }
    if builder.finish(&mut |_, _| {}).root.as_bytes() == metadata.id.as_bytes() {
        Ok(())
    } else {
        Err(Failure::new(crate::cli::exit::Exit::Integrity, "the copy is not what was sent"))
    }
}

fn open(metadata: &SwarmMetadata, store: MemoryStore) -> Result<(Driver, SwarmKey), Failure> {
    let clock = Clock::new();
    let socket = Socket::bind((Ipv4Addr::LOCALHOST, 0).into())
        .map_err(|e| Failure::network(format!("cannot open a socket: {e}")))?;
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|e| Failure::other(format!("the system gives no random numbers: {e}")))?;
    let mut endpoint = Endpoint::new(EndpointConfig::default(), random, clock.now());
    let config = SwarmConfig::new(metadata.clone());
    let swarm = endpoint.open(clock.now(), config, Box::new(store)).map_err(Failure::other)?;
    Ok((Driver::new(endpoint, socket, clock), swarm))
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::other(format!("cannot start: {e}")))
}

fn join<T>(thread: thread::JoinHandle<Result<T, Failure>>) -> Result<T, Failure> {
    thread.join().unwrap_or_else(|_| Err(Failure::other("a thread broke off")))
}

/// Of this thread.
fn cpu_seconds() -> f64 {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}
