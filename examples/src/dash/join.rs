//! Several files become one.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use super::{PackageError, Piece};

/// Joins files under a name that they get once all is written. `false`: a file with these bytes has the name already.
pub(super) fn join(pieces: &[Piece], path: &Path, progress: &mut dyn FnMut(u64)) -> Result<bool, PackageError> {
    let write = |e| PackageError::io(path, "write", e);
    match File::open(path) {
        Ok(file) => return compare(pieces, path, file, progress).map(|()| false),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(PackageError::io(path, "read", e)),
    }
    let directory = path.parent().unwrap_or(Path::new(""));
    // With the rights that new files have here.
    let mut unfinished = tempfile::Builder::new()
        .prefix(".joining-")
        .make_in(directory, |path| File::create_new(path))
        .map_err(write)?;
    each_block(pieces, &mut |block| {
        unfinished.write_all(block).map_err(write)?;
        progress(block.len() as u64);
        Ok(())
    })?;
    unfinished.as_file().sync_all().map_err(write)?;
    match unfinished.persist_noclobber(path) {
        Ok(_) => Ok(true),
        Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => Err(PackageError::Exists(path.to_owned())),
        Err(e) => Err(write(e.error)),
    }
}

/// Is the file what the pieces are together?
fn compare(pieces: &[Piece], path: &Path, mut file: File, progress: &mut dyn FnMut(u64)) -> Result<(), PackageError> {
    let read = |e| PackageError::io(path, "read", e);
    let other = || PackageError::Exists(path.to_owned());
    let meta = file.metadata().map_err(read)?;
    if !meta.is_file() || meta.len() != pieces.iter().map(|piece| piece.len).sum::<u64>() {
        return Err(other());
    }
    let mut same = vec![0; BLOCK];
    each_block(pieces, &mut |block| {
        let same = &mut same[..block.len()];
        file.read_exact(same).map_err(read)?;
        progress(block.len() as u64);
        if same == block { Ok(()) } else { Err(other()) }
    })
}

/// The bytes of all pieces, one after another.
fn each_block(pieces: &[Piece], take: &mut dyn FnMut(&[u8]) -> Result<(), PackageError>) -> Result<(), PackageError> {
    let mut block = vec![0; BLOCK];
    for Piece { path, len } in pieces {
        let mut file = File::open(path).map_err(|e| PackageError::io(path, "read", e))?;
        let mut seen = 0;
        loop {
            let read = match file.read(&mut block) {
                Ok(0) => break,
                Ok(read) => read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(PackageError::io(path, "read", e)),
            };
            seen += read as u64;
            if seen > *len {
                break;
            }
            take(&block[..read])?;
        }
        if seen != *len {
            return Err(PackageError::Changed(path.clone()));
        }
    }
    Ok(())
}

/// Bytes that are read at a time.
const BLOCK: usize = 256 << 10;
