use std::io::Read;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use crate::cli::exit::Failure;

/// Set for the processes of `demo` and `bench`: they end when the one that started them does.
pub(super) const EXIT_WITH_STDIN: &str = "PPSP_EXIT_WITH_STDIN";

/// What ends a command early: SIGINT and SIGTERM, from the moment this is made.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `true` once standard input has ended, where that matters.
    eof: watch::Receiver<bool>,
    /// Keeps the other half alive where nobody watches standard input.
    _eof: Option<watch::Sender<bool>>,
}

impl Signals {
    pub(super) fn new() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|e| Failure::other(format!("cannot listen for signals: {e}")));
        let (sender, eof) = watch::channel(false);
        let watched = std::env::var_os(EXIT_WITH_STDIN).is_some();
        let kept = if watched {
            std::thread::spawn(move || {
                while matches!(std::io::stdin().lock().read(&mut [0; 64]), Ok(1..)) {}
                _ = sender.send(true);
            });
            None
        } else {
            Some(sender)
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            eof,
            _eof: kept,
        })
    }

    /// Does this, unless one of them comes first.
    pub(super) async fn unless<T>(&mut self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            () = self.any() => Err(Failure::interrupted()),
            done = work => done,
        }
    }

    /// Waits for any of them.
    pub(super) async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.eof.wait_for(|ended| *ended) => {}
        }
    }
}
