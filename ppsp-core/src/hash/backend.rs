use core::sync::atomic::{AtomicU8, Ordering};

use super::kernel;

/// What hashes: the best that this processor has, found out at run time.
///
/// Results never depend on it. It can be named and changed so that tests hold the backends against each other, and
/// measurements say what each is worth, in one process.
///
/// ```
/// use ppsp_core::HashBackend;
///
/// println!("hashing by {:?}", HashBackend::current());
/// assert!(HashBackend::Portable.select());
/// assert_eq!(HashBackend::current(), HashBackend::Portable);
/// assert!(HashBackend::best().select());
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum HashBackend {
    /// One message after the other by the crates `sha1` and `sha2`, which know SHA instructions of their own.
    Portable,
    /// x86-64 with SHA extensions: up to four messages interleaved for SHA-1, SHA-224 and SHA-256.
    ShaExtensions,
    /// x86-64 with AVX-512 (F and BW): sixteen messages in the lanes of registers, eight for SHA-384 and SHA-512, and
    /// what is left as by [`ShaExtensions`](Self::ShaExtensions), where the processor has them.
    Avx512,
}

impl HashBackend {
    /// Every backend, the better ones later.
    pub const ALL: [Self; 3] = [Self::Portable, Self::ShaExtensions, Self::Avx512];

    /// The best one available: what hashes if nobody selects another.
    pub fn best() -> Self {
        Self::ALL.into_iter().rev().find(|backend| backend.is_available()).unwrap_or(Self::Portable)
    }

    /// The one that hashes now.
    pub fn current() -> Self {
        match Self::ALL.get(usize::from(CURRENT.load(Ordering::Relaxed))) {
            Some(&backend) => backend,
            None => {
                let best = Self::best();
                // One selected meanwhile stays.
                let _ = CURRENT.compare_exchange(UNDECIDED, best as u8, Ordering::Relaxed, Ordering::Relaxed);
                best
            }
        }
    }

    /// Has it what it needs on this processor?
    pub fn is_available(self) -> bool {
        kernel::is_available(self)
    }

    /// Hashes by this one from now on, in the whole process; `false` and no change where it is not available.
    pub fn select(self) -> bool {
        let available = self.is_available();
        if available {
            CURRENT.store(self as u8, Ordering::Relaxed);
        }
        available
    }
}

/// Index in [`HashBackend::ALL`].
static CURRENT: AtomicU8 = AtomicU8::new(UNDECIDED);

const UNDECIDED: u8 = u8::MAX;
