#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ppsp_core::fuzzing::live(data));
