//! The only door to the contract's WIT types: what is generated from the text, and its translation to policy-api.

mod hooks;
mod imports;
mod tell;

pub(crate) use hooks::{Described, Exports, Hooks, ProbeError, Refusal};
pub(crate) use imports::add_to_linker;

/// Stands for the request of the call that is going on; the facts themselves are in [`crate::state::State`].
pub struct RequestHandle;

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit/policy@0.1.0",
        inline: "
            package headworks:host;
            world host {
                include headworks:policy/senses@0.1.0;
                include headworks:policy/described@0.1.0;
                include headworks:policy/configured@0.1.0;
                include headworks:policy/admitting@0.1.0;
                include headworks:policy/placing@0.1.0;
                include headworks:policy/observing@0.1.0;
                include headworks:policy/restorable@0.1.0;
            }
        ",
        world: "headworks:host/host",
        with: { "headworks:policy/request.request": super::RequestHandle },
    });
}
