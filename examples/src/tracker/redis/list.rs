//! Lists of peers: drawn by chance from Redis, by the policy of `ppsp-tracker-proto`.

use ppsp_core::{Identifier, Instant};
use ppsp_tracker_proto::{
    ListPolicy, Wanted,
    message::{PeerInfo, PeerMode},
    rank,
    registration::{Addr, Registration},
};

use super::{
    step::Wish,
    store::{RedisError, Store},
};

type Found = (Identifier, Registration<String>);

/// The peers that the one with this record is told of.
pub(super) async fn draw(
    store: &Store,
    policy: &ListPolicy,
    now: Instant,
    id: &Identifier,
    own: &Registration<String>,
    swarm: &str,
    wish: &Wish<'_>,
) -> Result<Vec<PeerInfo<'static>>, RedisError> {
    let giving = store.count_giving(swarm, now).await?;
    let wanted = Wanted {
        mode: wish.mode,
        joins: wish.joins,
        scope: wish.scope,
        addrs: &own.addrs,
        leeches_with_content: giving,
    };
    let shares = policy.shares(&wanted);
    let draws = policy.draws(&wanted, shares.all) + SPARE;
    let sample = async |mode: PeerMode| {
        let mut found = store.sample(swarm, mode, draws, now).await?;
        found.retain(|(other, peer)| other != id && !peer.is_same_peer(own));
        Ok::<_, RedisError>(sorted(&wanted, found))
    };
    let spared = shares.seeders == 0 && !shares.more_seeders;
    let mut seeders = if spared { Vec::new() } else { sample(PeerMode::Seeder).await? }.into_iter();
    let mut chosen: Vec<Found> = seeders.by_ref().take(shares.seeders).collect();
    chosen.extend(sample(PeerMode::Leech).await?.into_iter().take(shares.all - chosen.len()));
    if shares.more_seeders {
        chosen.extend(seeders.take(shares.all - chosen.len()));
    }
    let tell = |(id, peer): Found| PeerInfo {
        peer_id: id.to_string().into(),
        addrs: peer.addrs.iter().map(Addr::to_message).collect(),
    };
    Ok(chosen.into_iter().map(tell).collect())
}

/// Those that suit best first.
fn sorted(wanted: &Wanted<'_>, found: Vec<Found>) -> Vec<Found> {
    let mut order: Vec<usize> = (0..found.len()).collect();
    rank(wanted, &mut order, |at| (found[*at].1.ability, &found[*at].1.addrs[..]));
    let mut found: Vec<Option<Found>> = found.into_iter().map(Some).collect();
    order.into_iter().filter_map(|at| found[at].take()).collect()
}

/// More are drawn than are needed: some may be gone, or be the asker.
const SPARE: usize = 8;
