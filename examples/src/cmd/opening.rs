use tokio::sync::mpsc;

use super::signals::Signals;
use crate::{
    cli::{exit::Failure, output::Output},
    store::{Notice, Observer},
};

/// A [`Notice`] that can leave its thread.
enum Told {
    Hashing(u64, u64),
    Checking(u64, u64),
    Warning(String),
}

/// Runs work on files in its own thread; shows what it tells meanwhile. Ends early when interrupted.
pub(super) async fn watched<T: Send + 'static>(
    out: &mut Output,
    signals: &mut Signals,
    work: impl FnOnce(&mut Observer<'_>) -> T + Send + 'static,
) -> Result<T, Failure> {
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut last = None;
    let task = tokio::task::spawn_blocking(move || {
        work(&mut |notice| {
            // A few a second are enough for the eye.
            let now = std::time::Instant::now();
            let due = last.is_none_or(|last| now.duration_since(last).as_millis() >= 80);
            let notice = match notice {
                Notice::Warning(text) => Told::Warning(text.to_owned()),
                Notice::Hashing { done, total } if due || done == total => Told::Hashing(done, total),
                Notice::Checking { done, total } if due => Told::Checking(done, total),
                _ => return,
            };
            last = Some(now);
            _ = tell.send(notice);
        })
    });
    tokio::pin!(task);
    loop {
        tokio::select! {
            biased;
            () = signals.any() => return Err(Failure::interrupted()),
            Some(notice) = told.recv() => match notice {
                Told::Hashing(done, total) => out.notice(Notice::Hashing { done, total }),
                Told::Checking(done, total) => out.notice(Notice::Checking { done, total }),
                Told::Warning(text) => out.notice(Notice::Warning(&text)),
            },
            done = &mut task => {
                out.clear();
                return done.map_err(|e| Failure::other(format!("work on files broke off: {e}")));
            }
        }
    }
}
