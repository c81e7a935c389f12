use std::{fs::File, path::Path};

use ppsp_core::{Bin, SwarmMetadata, TreeBuilder};

use super::{
    FileError, Notice, Observer, Places, check::Checker, io_error, places::stamp_of, state::State,
    tree_file::read_up_to,
};

/// Hashes a file and compares it with what a swarm shares. Returns its length.
///
/// # Errors
///
/// [`FileError::Different`] where it is not the same, with the first place that is known to be wrong: where the file has a
/// hash tree of the right content beside it, that is the first wrong chunk.
pub fn compare(path: &Path, metadata: &SwarmMetadata, observer: &mut Observer<'_>) -> Result<u64, FileError> {
    let places = Places::new(path, None);
    let file = super::open::open_content(&places)?;
    let failed = |e| io_error(path, "read", e);
    let length = stamp_of(&file).map_err(failed)?.size;
    let different = |what: String| FileError::Different { path: path.to_owned(), what };
    if let Some(expected) = metadata.content_length.filter(|&expected| expected != length) {
        return Err(different(format!("it has {length} bytes, the content {expected}")));
    }
    let mut builder = TreeBuilder::new(metadata.hash, metadata.chunk_size);
    let mut buffer = vec![0; metadata.chunk_size as usize * 1024];
    let mut done = 0;
    let mut sink = |_: Bin, _: &_| {};
    loop {
        let read = read_up_to(&file, &mut buffer, done).map_err(failed)?;
        builder.push(&buffer[..read], &mut sink);
        done += read as u64;
        observer(Notice::Hashing { done, total: length.max(done) });
        if read < buffer.len() {
            break;
        }
    }
    let built = builder.finish(&mut sink);
    if built.root.as_bytes() == metadata.id.as_bytes() {
        return Ok(done);
    }
    Err(different(match first_bad_chunk(&places, &file, metadata, length) {
        Some(chunk) => {
            format!("chunk {chunk}, from byte {} on, is the first that differs", chunk * u64::from(metadata.chunk_size))
        }
        None => "its root hash is another".to_owned(),
    }))
}

/// Needs the tree of the right content, as a seed or a download leaves it.
fn first_bad_chunk(places: &Places, file: &File, metadata: &SwarmMetadata, length: u64) -> Option<u64> {
    let state = State::decode(&std::fs::read(&places.state).ok()?).ok()?;
    let same = state.complete && state.metadata.id == metadata.id && state.metadata.chunk_size == metadata.chunk_size;
    let stored = File::open(&places.tree).ok().filter(|_| same && state.metadata.hash == metadata.hash)?;
    // The check mends the tree where it can; here it must not touch the file.
    let mut scratch = tempfile::tempfile().ok()?;
    std::io::copy(&mut std::io::BufReader::new(stored), &mut scratch).ok()?;
    let mut tree = super::tree_file::TreeFile::new(std::sync::Arc::new(scratch), metadata.hash.len());
    let chunks = state.chunks?;
    let checker = Checker {
        file,
        tree: &mut tree,
        alg: metadata.hash,
        chunk_size: metadata.chunk_size,
        chunks,
        guessed: false,
        length,
        claimed: state.held,
        trust_content: false,
        hashed: 0,
        observer: &mut |_| {},
    };
    let (good, _) = checker.check(metadata.id.as_bytes()).ok()?;
    good.next_gap(0).map(|gap| gap.first()).filter(|&first| first < chunks && !good.is_empty())
}
