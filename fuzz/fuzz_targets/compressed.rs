//! The target `compressed` of src/fuzzing.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nullbeat::fuzzing::Target::named("compressed").run(data));
