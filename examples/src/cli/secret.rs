//! Passwords: asked for on the terminal, else read from standard input; never from the command line, which others see.

use std::io::{self, BufRead, IsTerminal, Read};

use ppsp_auth::Password;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::exit::Failure;

/// The password of an account that is there.
///
/// # Errors
///
/// Exit code 2 for what is no password; 1 where nothing can be read.
pub async fn ask(what: String) -> Result<Password, Failure> {
    let text = read(what).await?;
    Password::new(&text).map_err(Failure::usage)
}

/// A new password: asked for twice on a terminal.
///
/// # Errors
///
/// As [`ask`]; exit code 2 where the two differ.
pub async fn choose(what: String) -> Result<Password, Failure> {
    let text = read(what).await?;
    let chosen = Password::choose(&text).map_err(Failure::usage)?;
    if io::stdin().is_terminal() && read("the same again".to_owned()).await? != text {
        return Err(Failure::usage("the two passwords differ; nothing was changed"));
    }
    Ok(chosen)
}

async fn read(what: String) -> Result<Zeroizing<String>, Failure> {
    let reading = tokio::task::spawn_blocking(move || {
        if io::stdin().is_terminal() {
            return rpassword::prompt_password(format!("{what}: ")).map(Zeroizing::new);
        }
        let mut line = Zeroizing::new(String::with_capacity(LONGEST));
        io::stdin().lock().take(LONGEST as u64).read_line(&mut line)?;
        Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
    });
    let failed = |e: &dyn std::fmt::Display| Failure::other(format!("cannot read the password: {e}"));
    // Other parts of a command may have taken signals away from the terminal.
    let shown = tcgetattr(io::stdin()).ok();
    let read = tokio::select! {
        read = reading => read,
        _ = tokio::signal::ctrl_c() => {
            // What is typed is to be seen again.
            _ = shown.map(|shown| tcsetattr(io::stdin(), OptionalActions::Now, &shown));
            return Err(Failure::interrupted());
        }
    };
    let text = read.map_err(|e| failed(&e))?.map_err(|e| failed(&e))?;
    if text.is_empty() {
        return Err(Failure::usage(
            "no password was given: type it on a terminal, or send it as one line to standard input",
        ));
    }
    Ok(text)
}

/// Longer than any password.
const LONGEST: usize = 4096;
