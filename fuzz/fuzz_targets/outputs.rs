#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| thymus_outputs::probe::fuzz(bytes));
