//! What is generated from the contract's text: one world per hook, so that a component exports only what it means.

pub mod senses {
    wit_bindgen::generate!({
        path: "../../policies-wasm/wit/policy@0.1.0",
        world: "senses",
        generate_unused_types: true,
    });
}

pub mod described {
    wit_bindgen::generate!({
        path: "../../policies-wasm/wit/policy@0.1.0",
        world: "described",
        pub_export_macro: true,
        export_macro_name: "export_hook",
    });
}

pub mod configured {
    wit_bindgen::generate!({
        path: "../../policies-wasm/wit/policy@0.1.0",
        world: "configured",
        pub_export_macro: true,
        export_macro_name: "export_hook",
    });
}

pub mod admitting {
    wit_bindgen::generate!({
        path: "../../policies-wasm/wit/policy@0.1.0",
        world: "admitting",
        pub_export_macro: true,
        export_macro_name: "export_hook",
        with: {
            "headworks:policy/types@0.1.0": crate::bindings::senses::headworks::policy::types,
            "headworks:policy/request@0.1.0": crate::bindings::senses::headworks::policy::request,
        },
    });
}

pub mod placing {
    wit_bindgen::generate!({
        path: "../../policies-wasm/wit/policy@0.1.0",
        world: "placing",
        pub_export_macro: true,
        export_macro_name: "export_hook",
        with: {
            "headworks:policy/types@0.1.0": crate::bindings::senses::headworks::policy::types,
            "headworks:policy/request@0.1.0": crate::bindings::senses::headworks::policy::request,
        },
    });
}

pub mod observing {
    wit_bindgen::generate!({
        path: "../../policies-wasm/wit/policy@0.1.0",
        world: "observing",
        pub_export_macro: true,
        export_macro_name: "export_hook",
        with: { "headworks:policy/types@0.1.0": crate::bindings::senses::headworks::policy::types },
    });
}

pub mod restorable {
    wit_bindgen::generate!({
        path: "../../policies-wasm/wit/policy@0.1.0",
        world: "restorable",
        pub_export_macro: true,
        export_macro_name: "export_hook",
    });
}
