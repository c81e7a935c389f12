#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ppsp_peer_proto::fuzzing::live_endpoint(data));
