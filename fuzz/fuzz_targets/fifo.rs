//! The target `fifo` of src/fuzzing.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nullbeat::fuzzing::Target::named("fifo").run(data));
