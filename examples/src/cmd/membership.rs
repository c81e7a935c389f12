//! Which trackers are asked about a swarm, and as whom.

use std::{net::SocketAddr, sync::Arc};

use ppsp_auth::digest::DigestClient;
use ppsp_core::{Identifier, Link, SwarmMetadata, descriptor::Descriptor};

use crate::{
    account::Account,
    cli::{
        args::NetArgs,
        exit::Failure,
        output::{Output, one_line},
        secret,
    },
    http::Identity,
    net::local_addresses,
    tracker::doors::{Digest, of_certificate},
    trackers::{self, Credentials, Membership, Trackers},
};

/// The password for trackers, for who is not there to type it. No flag: other users see those.
const TRACKER_PASSWORD: &str = "PPSP_TRACKER_PASSWORD";

/// A way to trackers, which can be gone more than once.
#[derive(Clone)]
pub(super) struct Joining {
    client: Identifier,
    tiers: Vec<Vec<String>>,
    credentials: Arc<Credentials>,
    insecure: bool,
}

impl Joining {
    /// By the flags and a link. Trackers of a link are asked where nothing is shown to them: no token of a Portal, no password, no
    /// certificate. `None` where there is no tracker.
    pub(super) async fn of_link(args: &NetArgs, link: &Link, out: Option<&Output>) -> Result<Option<Self>, Failure> {
        let insecure = args.insecure_http.unwrap_or(false);
        check_flags(args)?;
        let shows = args.tracker_user.is_some() || args.tracker_cert.is_some() || args.tracker_key.is_some();
        if shows && args.tracker.is_empty() {
            return Err(Failure::usage(
                "name the trackers that may see who you are with --tracker: those of a link are a stranger's word",
            ));
        }
        let named = link.trackers.iter().filter(|url| !args.tracker.contains(url)).cloned().collect();
        // Who relays what we show to another tracker is us there.
        let named = if shows { Vec::new() } else { named };
        let tiers = usable([args.tracker.clone(), named], insecure, out);
        if tiers.is_empty() {
            return Ok(None);
        }
        let (client, credentials) = match (&args.tracker_user, &args.tracker_cert, &args.tracker_key) {
            (None, Some(chain), Some(key)) => {
                let identity = Identity::read(chain, key).map_err(Failure::other)?;
                (of_certificate(&identity.pin()).client, Credentials::Certificate(Box::new(identity)))
            }
            (None, None, None) => {
                let mut bytes = [0; 12];
                getrandom::fill(&mut bytes).map_err(Failure::other)?;
                (Identifier::from_bytes(bytes), Credentials::None)
            }
            (Some(name), None, None) => {
                let kept = std::env::var(TRACKER_PASSWORD).ok().filter(|text| !text.is_empty());
                let password = match kept.map(zeroize::Zeroizing::new) {
                    Some(text) => ppsp_auth::Password::new(&text).map_err(Failure::usage)?,
                    None => secret::ask(format!("password of {name} at the tracker")).await?,
                };
                let client = DigestClient::new(name, password).map_err(Failure::usage)?;
                (Digest::principal(name).client, Credentials::Digest(Box::new(client.into())))
            }
            _ => {
                return Err(Failure::usage(
                    "--tracker-cert and --tracker-key belong together, and neither goes with --tracker-user",
                ));
            }
        };
        Ok(Some(Self { client, tiers, credentials: Arc::new(credentials), insecure }))
    }

    /// By the descriptor of content that a Portal signed: its trackers get tokens that open this content alone.
    pub(super) async fn of_content(
        args: &NetArgs,
        account: &Account,
        content: &str,
        descriptor: &Descriptor,
        out: Option<&Output>,
    ) -> Result<Option<Self>, Failure> {
        let login = account.login().await;
        let client = login.client_id.parse().map_err(Failure::other)?;
        // Where the Portal is spoken to without TLS, its trackers may be too: all on this machine.
        let insecure = args.insecure_http.unwrap_or(false) || login.portal.starts_with("http://");
        let tiers = usable(descriptor.trackers(), insecure, out);
        if tiers.is_empty() {
            return Ok(None);
        }
        let credentials = Arc::new(Credentials::tokens(account.clone(), content.to_owned()));
        Ok(Some(Self { client, tiers, credentials, insecure }))
    }

    /// Registers the peer that listens at this address.
    pub(super) fn start(&self, metadata: &SwarmMetadata, addr: SocketAddr, seeds: bool) -> Trackers {
        let membership = Membership {
            swarm: metadata.id.to_string(),
            client: self.client,
            addrs: local_addresses(addr),
            seeds,
            tiers: self.tiers.clone(),
        };
        Trackers::start(membership, Arc::clone(&self.credentials), self.insecure)
    }
}

/// Trackers that the user names have to make sense.
pub(super) fn check_flags(args: &NetArgs) -> Result<(), Failure> {
    let insecure = args.insecure_http.unwrap_or(false);
    args.tracker.iter().try_for_each(|url| trackers::check(url, insecure)).map_err(Failure::usage)
}

/// Those that can be asked, without tiers that have none. What is left out is said, or logged where nobody reads along.
fn usable(tiers: impl IntoIterator<Item = Vec<String>>, insecure: bool, out: Option<&Output>) -> Vec<Vec<String>> {
    let good = |url: &String| match trackers::check(url, insecure) {
        Ok(()) => true,
        Err(error) => {
            let why = one_line(&error.to_string());
            match out {
                Some(out) => out.warn(format_args!("a tracker is left out: {why}")),
                None => tracing::warn!("a tracker is left out: {why}"),
            }
            false
        }
    };
    let good = |tier: Vec<String>| tier.into_iter().filter(good).collect::<Vec<_>>();
    tiers.into_iter().map(good).filter(|tier| !tier.is_empty()).collect()
}
