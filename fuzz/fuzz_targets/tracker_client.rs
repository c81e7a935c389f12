#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ppsp_tracker_proto::fuzzing::tracker_client(data));
