//! The commands, one file each.

mod at_portal;
mod bench;
mod catalogue;
mod child;
mod content;
mod demo;
mod entry;
mod gateway;
mod get;
mod info;
mod key;
mod live;
mod login;
mod membership;
mod metrics;
mod opening;
mod play;
mod playing;
mod portal;
mod publish;
mod recorded;
mod seed;
mod serving;
mod session;
mod sessions;
mod signals;
mod source;
mod split;
mod table;
mod tracker;
mod trackers;
mod usage;
mod user;
mod verify;
mod watch;
mod workers;

use std::process::ExitCode;

use ppsp_core::{IntegrityMethod, Link};

use crate::cli::{
    args::{BenchCommand, Cli, Command},
    config::{ConfigFile, DEFAULTS},
    exit::{Exit, Failure},
    output::Output,
};

/// Runs the command that was asked for, and says what became of it.
pub fn run(mut cli: Cli) -> ExitCode {
    let config = cli.common.config.as_deref().map_or(Ok(ConfigFile::default()), ConfigFile::read);
    if let Ok(config) = &config {
        config.fill_common(&mut cli.common);
    }
    let mut out = Output::new(&cli.common);
    let done = config.and_then(|config| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Failure::other(format!("cannot start: {e}")))?;
        let done = runtime.block_on(dispatch(cli.command, config, &mut out));
        runtime.block_on(crate::account::settle());
        // Hashing may be under way in a thread; nobody waits for it any more.
        runtime.shutdown_background();
        done
    });
    match done {
        Ok(()) => {
            out.clear();
            Exit::Done.into()
        }
        Err(failure) => {
            out.fail(&failure);
            failure.exit.into()
        }
    }
}

async fn dispatch(command: Command, config: ConfigFile, out: &mut Output) -> Result<(), Failure> {
    match command {
        Command::Seed(mut args) => {
            config.fill_seed(&mut args);
            seed::run(args, out).await
        }
        Command::Get(mut args) => {
            config.fill_portal(&mut args.at);
            config.fill_get(&mut args);
            get::run(args, out).await
        }
        Command::Publish(mut args) => {
            config.fill_portal(&mut args.entry.at);
            config.fill_seed(&mut args.seed);
            publish::run(args, out).await
        }
        Command::Login(args) => login::run(args, out).await,
        Command::Logout(mut args) => {
            config.fill_portal(&mut args.at);
            login::out_again(args, out).await
        }
        Command::Catalogue(mut args) => {
            config.fill_portal(&mut args.at);
            catalogue::run(args, out).await
        }
        Command::User(mut command) => {
            config.fill_portal(command.at());
            user::run(command, out).await
        }
        Command::Content(mut command) => {
            config.fill_portal(command.at());
            content::run(command, out).await
        }
        Command::Sessions(mut command) => {
            config.fill_portal(command.at());
            sessions::run(command, out).await
        }
        Command::Trackers(mut command) => {
            config.fill_portal(command.at());
            trackers::run(command, out).await
        }
        Command::Play(mut args) => {
            config.fill_portal(&mut args.at);
            config.fill_playing(&mut args.fetch);
            play::run(args, out).await
        }
        Command::Gateway(mut args) => {
            config.fill_portal(&mut args.at);
            config.fill_playing(&mut args.fetch);
            gateway::run(args, out).await
        }
        Command::Info { link } => info::run(&link, out),
        Command::Verify { file, link } => verify::run(file, &link, out).await,
        Command::Live(mut args) => {
            config.fill_live(&mut args);
            live::run(args, out).await
        }
        Command::Key(command) => key::run(&command, out),
        Command::Split { manifest } => split::run(manifest, out).await,
        Command::Portal(args) => portal::run(args, out).await,
        Command::Tracker(args) => tracker::run(args, out).await,
        Command::Demo(args) => demo::run(args, out).await,
        Command::Bench(BenchCommand::Loopback(args)) => bench::run(args, out).await,
        Command::Bench(BenchCommand::Tracker(args)) => bench::run_tracker(args, out).await,
        Command::Bench(BenchCommand::Gateway(args)) => bench::run_gateway(args, out).await,
        Command::Config => {
            out.line(DEFAULTS.trim_end());
            Ok(())
        }
    }
}

/// Reads a link, and refuses those that this version cannot follow.
fn parse_link(text: &str) -> Result<Link, Failure> {
    let link: Link = text.parse().map_err(|e| Failure::usage(format!("not a usable link: {e}")))?;
    if link.version != Link::VERSION {
        return Err(Failure::usage(format!(
            "the link asks for version {} of the peer protocol; this ppsp speaks version {}",
            link.version,
            Link::VERSION
        )));
    }
    Ok(link)
}

/// Refuses links to content that is not static.
fn only_static(link: &Link) -> Result<(), Failure> {
    match link.metadata.integrity {
        IntegrityMethod::MerkleTree => Ok(()),
        method if method.is_live() => {
            Err(Failure::usage("the link is to a live stream; this ppsp fetches static content only"))
        }
        _ => Err(Failure::usage(
            "the link is to content without integrity protection; this ppsp does not fetch such content",
        )),
    }
}
