//! The target `site_message` of src/fuzzing.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nullbeat::fuzzing::Target::named("site_message").run(data));
