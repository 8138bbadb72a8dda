#![no_main]

libfuzzer_sys::fuzz_target!(|frame: &[u8]| thymus_respond::fuzz_frame(frame));
