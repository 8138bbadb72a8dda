#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| thymus_scan::fuzz_format("signature", bytes));
