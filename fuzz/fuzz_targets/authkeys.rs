//! The target `authkeys` of src/fuzzing.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nullbeat::fuzzing::Target::named("authkeys").run(data));
