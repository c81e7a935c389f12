use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use ppsp_core::signature::{PrivateKey, PublicKey, SignatureAlgorithm, Signer};
use serde_json::json;
use zeroize::Zeroizing;

use crate::cli::{
    args::{KeyAlgorithm, KeyCommand},
    exit::Failure,
    output::Output,
};

/// `ppsp key`.
pub(super) fn run(command: &KeyCommand, out: &Output) -> Result<(), Failure> {
    match command {
        KeyCommand::New { algorithm, output } => {
            let key = make(*algorithm)?;
            write(output, &key)?;
            show(output, key.public_key(), out);
            out.say(format_args!(
                "{}: who has this file can send in the channel: keep it, and keep it to yourself",
                output.display()
            ));
        }
        KeyCommand::Show { file } => show(file, read(file)?.public_key(), out),
    }
    Ok(())
}

/// The private key in a file that nobody but its owner can read.
pub(super) fn read(path: &Path) -> Result<PrivateKey, Failure> {
    let name = path.display();
    let unreadable = |e: &io::Error| match e.kind() {
        io::ErrorKind::NotFound => Failure::other(format!("{name}: no such file; 'ppsp key new' makes a key")),
        _ => Failure::other(format!("{name}: cannot read the key: {e}")),
    };
    let file = File::open(path).map_err(|e| unreadable(&e))?;
    let meta = file.metadata().map_err(|e| unreadable(&e))?;
    if !meta.is_file() {
        return Err(Failure::other(format!("{name}: not a regular file")));
    }
    if meta.permissions().mode() & 0o077 != 0 {
        return Err(Failure::other(format!(
            "{name}: other users of this machine can read the key or change it; 'chmod 600 {name}' keeps it to its owner"
        )));
    }
    // As long as it gets: no piece of it stays behind where a longer text grew.
    let mut text = Zeroizing::new(String::with_capacity(PrivateKey::MAX_PEM_LEN + 1));
    let longest = PrivateKey::MAX_PEM_LEN as u64 + 1;
    file.take(longest).read_to_string(&mut text).map_err(|e| match e.kind() {
        io::ErrorKind::InvalidData => Failure::usage(format!("{name}: this is no private key in PEM")),
        _ => unreadable(&e),
    })?;
    PrivateKey::from_pem(&text).map_err(|e| Failure::usage(format!("{name}: {e}")))
}

fn make(algorithm: KeyAlgorithm) -> Result<PrivateKey, Failure> {
    let algorithm = match algorithm {
        KeyAlgorithm::P256 => SignatureAlgorithm::EcdsaP256Sha256,
        KeyAlgorithm::P384 => SignatureAlgorithm::EcdsaP384Sha384,
        KeyAlgorithm::Rsa2048 => SignatureAlgorithm::RsaSha256,
        KeyAlgorithm::Ed25519 => SignatureAlgorithm::Ed25519,
    };
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(|e| Failure::other(format!("the system gives no random numbers: {e}")))?;
    PrivateKey::generate(algorithm, &seed).map_err(Failure::other)
}

/// Writes a key as a whole or not at all, and over nothing: a key that is lost is a channel that is lost.
fn write(path: &Path, key: &PrivateKey) -> Result<(), Failure> {
    let failed = |e: &io::Error| match e.kind() {
        io::ErrorKind::AlreadyExists => Failure::other(format!(
            "{}: is there already, and a key is not written over; name another file with --output",
            path.display()
        )),
        _ => Failure::other(format!("{}: cannot write the key: {e}", path.display())),
    };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Temporary files have the mode 0600.
    let mut unfinished =
        tempfile::Builder::new().prefix(".key-").tempfile_in(directory).map_err(|e| failed(&plain(&e)))?;
    let text = key.to_pem().map_err(Failure::other)?;
    let written = unfinished.write_all(text.as_bytes()).and_then(|()| unfinished.as_file().sync_all());
    written.map_err(|e| failed(&plain(&e)))?;
    unfinished.persist_noclobber(path).map(drop).map_err(|e| failed(&e.error))
}

/// Without the name of the temporary file, which nobody asked for.
fn plain(error: &io::Error) -> io::Error {
    error.kind().into()
}

fn show(path: &Path, key: &PublicKey, out: &Output) {
    let (algorithm, swarm) = (key.algorithm(), key.swarm_id().to_string());
    if out.is_json() {
        let fields = json!({
            "path": path.to_string_lossy(),
            "algorithm": algorithm.name(),
            "algorithm_number": algorithm.code(),
            "swarm": swarm,
            "signature_length": key.signature_len(),
        });
        return out.event("key", &fields);
    }
    let row = |name: &str, value: &str| out.line(format_args!("{name:<17}{value}"));
    row("algorithm", &format!("{algorithm} ({})", algorithm.code()));
    row("swarm", &swarm);
    row("signatures", &format!("{} bytes each", key.signature_len()));
}
