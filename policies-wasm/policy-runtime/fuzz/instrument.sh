#!/bin/sh
# Calls rustc, and puts libFuzzer's counters into our own crates: in wasmtime's they would make its build and every run
# dearer and lead the fuzzer away from our code. The flags are those of `cargo fuzz --sanitizer none`.
case " $* " in
*" --crate-name policy_runtime "* | *" --crate-name policy_fuzz "* | \
    *" --crate-name engine_model "* | *" --crate-name model_fuzz "*)
    exec "$@" --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1
    ;;
esac
exec "$@"
