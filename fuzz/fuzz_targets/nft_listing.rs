#![no_main]

libfuzzer_sys::fuzz_target!(|json: &[u8]| thymus_respond::fuzz_listing(json));
