#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| thymus_parsers::fuzz_protocol("multipart", bytes));
