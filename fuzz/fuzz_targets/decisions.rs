#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| thymus_respond::fuzz_journal(bytes));
