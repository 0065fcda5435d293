#![no_main]
//! GGUF files: whatever the bytes, reading them ends with an error or a description, never with a panic.

use engine_model::Gguf;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Ok(file) = Gguf::of_bytes("fuzzed.gguf".as_ref(), input.to_vec()) else {
        return;
    };
    // Only that they come back matters.
    let _ = file.config();
    let _ = file.text();
});
