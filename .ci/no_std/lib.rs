//! A program without std around the no_std crates. Were std anywhere below, there would be two panic handlers.
#![no_std]

use core::{
    alloc::{GlobalAlloc, Layout},
    panic::PanicInfo,
};

use ppsp_core::{
    Instant,
    signature::{PrivateKey, Signer},
};
use ppsp_peer_proto::{Endpoint, EndpointConfig};

struct Nothing;

// SAFETY: every allocation fails, which an allocator may do.
unsafe impl GlobalAlloc for Nothing {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Nothing = Nothing;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

/// So that something of the crates is used.
#[unsafe(no_mangle)]
pub extern "C" fn ppsp_no_std(seed: &[u8; 32]) -> bool {
    let now = Instant::from_micros(0);
    Endpoint::new(EndpointConfig::default(), *seed, now).poll_timeout().is_some()
}

/// The same of keys and signatures.
#[unsafe(no_mangle)]
pub extern "C" fn ppsp_no_std_signature(seed: &[u8; 32]) -> bool {
    PrivateKey::generate(Default::default(), seed).is_ok_and(|mut key| key.sign(&[seed]).is_ok())
}
