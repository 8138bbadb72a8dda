#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| thymus_sensor::fuzz_ring(bytes));
