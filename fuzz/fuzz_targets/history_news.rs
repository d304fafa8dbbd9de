//! The target `history_news` of src/fuzzing.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nullbeat::fuzzing::Target::named("history_news").run(data));
