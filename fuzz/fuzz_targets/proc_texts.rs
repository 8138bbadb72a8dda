#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| thymus_respond::fuzz_proc(text));
