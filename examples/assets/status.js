// What a gateway's status says of some swarms: who is there, what came from whom, what is held.

/** The status of these swarms as one. `label` names a swarm. */
export function summary({ swarms }, wanted, label) {
  const ours = wanted.map((id) => swarms.find(({ swarm }) => swarm === id)).filter(Boolean);
  const sum = (values) => values.reduce((all, value) => all + value, 0);
  // A peer has one address for all swarms.
  const peers = new Map();
  for (const peer of ours.flatMap((swarm) => swarm.peers)) {
    const known = peers.get(peer.addr);
    if (!known) peers.set(peer.addr, { ...peer, seedOfSome: peer.seed });
    else {
      for (const name of ["downloaded", "uploaded", "download_rate", "upload_rate"]) known[name] += peer[name];
      known.up ||= peer.up;
      known.seed &&= peer.seed;
      known.seedOfSome ||= peer.seed;
      known.rtt_ms ??= peer.rtt_ms;
    }
  }
  // Who moves most first: an order that seldom changes.
  const moved = (peer) => peer.downloaded + peer.uploaded;
  const here = [...peers.values()].filter(({ up }) => up).sort((a, b) => moved(b) - moved(a));
  return {
    peers: here,
    down: sum(here.map((peer) => peer.download_rate)),
    up: sum(here.map((peer) => peer.upload_rate)),
    uploaded: sum(ours.map((swarm) => swarm.uploaded)),
    fromSeeds: sum(ours.map((swarm) => swarm.from_seeds)),
    fromPeers: sum(ours.map((swarm) => swarm.from_peers)),
    fromOrigin: sum(ours.map((swarm) => swarm.from_origin ?? 0)),
    /** What is wrong with where it comes from when peers do not give it. */
    trouble: ours.map((swarm) => swarm.origin?.trouble).find(Boolean),
    held: ours.map((swarm) => {
      const length = swarm.length ?? 0;
      const part = (place) => (length ? Math.min(place / length, 1) : 0);
      return {
        label: label(swarm.swarm) ?? swarm.name ?? `Swarm ${swarm.swarm.slice(0, 8)}`,
        bytes: swarm.held_bytes,
        length,
        runs: swarm.held.map(([from, end]) => [part(from), part(end)]),
        reading: swarm.reading.map(part),
      };
    }),
  };
}
