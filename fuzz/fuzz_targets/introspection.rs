#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ppsp_auth::fuzzing::introspection(data));
