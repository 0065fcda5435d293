//! Why a component was not loaded, in words for the one who uploaded it.

use thiserror::Error;

/// Why a component was not loaded. What ran before keeps running.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LoadError {
    /// More bytes than a component may have.
    #[error("the component has {bytes} bytes; at most {bytes_max} are allowed (component_bytes_max)")]
    TooLarge {
        /// What it has.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// Not WebAssembly at all, or cut short or damaged.
    #[error("this is not a WebAssembly component: {message}")]
    NotWasm {
        /// What the decoder found.
        message: String,
    },
    /// A core module, not yet wrapped as a component.
    #[error(
        "this is a core WebAssembly module, not a component; make a component of it with `wasm-tools component new \
         policy.wasm -o policy.component.wasm`, or build it with the headworks-policy SDK"
    )]
    CoreModule,
    /// Speaks a version of the contract that this runtime does not.
    #[error("the component speaks {wanted}, but what is offered here is {offered}; rebuild it against {offered}")]
    ContractVersion {
        /// What it wants.
        wanted: String,
        /// What there is.
        offered: String,
    },
    /// Imports what no policy is given.
    #[error("the component imports {name}, which a policy is not given{hint}")]
    UnknownImport {
        /// The import.
        name: String,
        /// What to do about it; begins with a separator or is empty.
        hint: String,
    },
    /// Imports an interface of the contract with other functions or types than it has.
    #[error("the component's imports do not match {contract}: {message}")]
    WrongImport {
        /// The contract's name and version.
        contract: String,
        /// What differs.
        message: String,
    },
    /// Has no hook that is ever asked.
    #[error("the component exports no hook; export at least one of admit, place or observe")]
    NoHook,
    /// Says it has a hook that it does not export.
    #[error("the component describes the hook {hook}, but does not export {export}")]
    HookMissing {
        /// The hook's name.
        hook: &'static str,
        /// The export to add.
        export: String,
    },
    /// Exports a hook with other types than the contract's.
    #[error("the export {export} does not match the contract: {message}")]
    WrongSignature {
        /// The export.
        export: String,
        /// What differs.
        message: String,
    },
    /// Exports nothing of the contract at all.
    #[error(
        "the component exports nothing of {contract}, so there is no policy in it; in Rust `headworks_policy::export!(Mine: \
         place)` at the end of src/lib.rs exports one, in TypeScript `export default definePolicy(…)`, in Python \
         `export(Mine)`"
    )]
    NothingExported {
        /// The contract's name and version.
        contract: String,
    },
    /// Does not say who it is.
    #[error("the component does not export {export}; every policy must say its name, version and mode")]
    NoDescribe {
        /// The export to add.
        export: String,
    },
    /// Says who it is in a way that cannot be used.
    #[error("the component's description cannot be used: {message}")]
    BadDescription {
        /// What to change.
        message: String,
    },
    /// Says what configurations it takes, and has no hook to take one.
    #[error(
        "the component has a schema for its configuration but no configure hook to take one; add configure to what it \
         exports (in Rust `export!(Mine: configure, …)`, in TypeScript and Python a function of that name), or remove \
         the schema"
    )]
    SchemaWithoutConfigure,
    /// Was given a configuration but takes none, or one that is not JSON.
    #[error("the configuration cannot be given to the policy: {message}")]
    BadConfig {
        /// What to change.
        message: String,
    },
    /// Refused its configuration.
    #[error("the policy refuses its configuration{}: {message}", if field.is_empty() { String::new() } else { format!(", field `{field}`") })]
    ConfigRefused {
        /// The field it names; empty when it names none.
        field: String,
        /// Its reason.
        message: String,
    },
    /// Trapped while it was tried out.
    #[error("the policy trapped in {during}: {message}")]
    Trapped {
        /// What it was doing.
        during: String,
        /// The trap's message, bounded.
        message: String,
    },
    /// Did not come to an end while it was tried out.
    #[error("the policy did not return from {during} within {limit}; it may loop for ever")]
    DidNotReturn {
        /// What it was doing.
        during: String,
        /// The deadline or the tank it used up.
        limit: String,
    },
    /// Wanted more memory than an instance may have.
    #[error("the policy asked for more than {memory_bytes_max} bytes of memory in {during}")]
    OutOfMemory {
        /// What it was doing.
        during: String,
        /// The bound.
        memory_bytes_max: u64,
    },
    /// Answered what no policy may answer.
    #[error("the policy's answer to {during} cannot be used: {message}")]
    BadAnswer {
        /// What it was asked.
        during: String,
        /// What is wrong with it.
        message: String,
    },
    /// More slots than the runtime keeps state for.
    #[error("there are already {slots_max} policy slots; use one of them or raise slots_max")]
    TooManySlots {
        /// The bound.
        slots_max: usize,
    },
    /// The runtime itself could not do it; not the component's fault.
    #[error("the policy runtime could not load the component: {message}")]
    Internal {
        /// What happened.
        message: String,
    },
}
