//! Makes a component of a policy: the hooks it names and no others.

/// Exports a policy's hooks: `export!(MyPolicy: configure, place);`. Once per component.
///
/// A policy with a schema for its configuration must have the hook that takes one:
///
/// ```compile_fail,E0080
/// # use headworks_policy::{Fleet, Mode, Place, Placement, Policy, Request};
/// # #[derive(Default)]
/// # struct Mine;
/// # impl Place for Mine {
/// #     fn place(&mut self, _: &Request<'_>, _: &Fleet) -> Placement {
/// #         Placement::Pass
/// #     }
/// # }
/// impl Policy for Mine {
///     const NAME: &str = "mine";
///     const VERSION: &str = "0.1.0";
///     const MODE: Mode = Mode::Pooled;
///     const CONFIG_SCHEMA: &str = "{}";
/// }
///
/// headworks_policy::export!(Mine: place);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export {
    ($policy:ty: $($hook:ident),+ $(,)?) => {
        const _: () = ::std::assert!(
            <$policy as $crate::Policy>::CONFIG_SCHEMA.is_empty() || $crate::rt::has_configure(&[$(stringify!($hook)),+]),
            "the policy has a CONFIG_SCHEMA, but export! does not name `configure`, which takes what the schema describes: \
             add it to export!, or remove the schema"
        );

        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Component;

            ::std::thread_local! {
                static POLICY: ::std::cell::RefCell<$policy> = ::std::default::Default::default();
            }

            impl $crate::bindings::described::exports::headworks::policy::describe::Guest for Component {
                fn describe() -> $crate::bindings::described::exports::headworks::policy::describe::Description {
                    $crate::rt::describe::<$policy>(&[$(stringify!($hook)),+])
                }
            }
            $crate::bindings::described::export_hook!(Component with_types_in $crate::bindings::described);

            $($crate::__export_hook!($hook, $policy);)+
        };

        // On the host nothing is exported; what is named must be there all the same.
        #[cfg(not(target_family = "wasm"))]
        const _: () = {
            const fn is_a_policy<T: $crate::Policy>() {}
            is_a_policy::<$policy>();
            $($crate::__check_hook!($hook, $policy);)+
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_hook {
    (configure, $policy:ty) => {
        impl $crate::bindings::configured::exports::headworks::policy::configure::Guest for Component {
            fn configure(json: ::std::string::String) -> ::std::result::Result<(), $crate::Refusal> {
                $crate::rt::configure(&POLICY, &json)
            }
        }
        $crate::bindings::configured::export_hook!(Component with_types_in $crate::bindings::configured);
    };
    (admit, $policy:ty) => {
        impl $crate::bindings::admitting::exports::headworks::policy::admit::Guest for Component {
            fn admit(request: &$crate::rt::LentRequest) -> $crate::Admission {
                $crate::rt::admit(&POLICY, request)
            }
        }
        $crate::bindings::admitting::export_hook!(Component with_types_in $crate::bindings::admitting);
    };
    (place, $policy:ty) => {
        impl $crate::bindings::placing::exports::headworks::policy::place::Guest for Component {
            fn place(request: &$crate::rt::LentRequest) -> $crate::Placement {
                $crate::rt::place(&POLICY, request)
            }
        }
        $crate::bindings::placing::export_hook!(Component with_types_in $crate::bindings::placing);
    };
    (observe, $policy:ty) => {
        impl $crate::bindings::observing::exports::headworks::policy::observe::Guest for Component {
            fn observe(events: ::std::vec::Vec<$crate::Event>) {
                $crate::rt::observe(&POLICY, &events)
            }
        }
        $crate::bindings::observing::export_hook!(Component with_types_in $crate::bindings::observing);
    };
    (snapshot, $policy:ty) => {
        impl $crate::bindings::restorable::exports::headworks::policy::snapshot::Guest for Component {
            fn snapshot() -> ::std::vec::Vec<u8> {
                $crate::rt::snapshot(&POLICY)
            }
            fn restore(bytes: ::std::vec::Vec<u8>) -> ::std::result::Result<(), ::std::string::String> {
                $crate::rt::restore(&POLICY, &bytes)
            }
        }
        $crate::bindings::restorable::export_hook!(Component with_types_in $crate::bindings::restorable);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __check_hook {
    (configure, $policy:ty) => { $crate::__check_hook!(@ $crate::Configure, $policy); };
    (admit, $policy:ty) => { $crate::__check_hook!(@ $crate::Admit, $policy); };
    (place, $policy:ty) => { $crate::__check_hook!(@ $crate::Place, $policy); };
    (observe, $policy:ty) => { $crate::__check_hook!(@ $crate::Observe, $policy); };
    (snapshot, $policy:ty) => { $crate::__check_hook!(@ $crate::Snapshot, $policy); };
    (@ $hook:path, $policy:ty) => {
        const _: () = {
            const fn has_the_hook<T: $hook>() {}
            has_the_hook::<$policy>();
        };
    };
}

/// What [`export!`] expands to calls this; not for policies.
#[doc(hidden)]
pub mod rt {
    use std::{cell::RefCell, sync::Once, thread::LocalKey};

    use crate::{
        Admission, Admit, Configure, Event, Fleet, Observe, Place, Placement, Policy, Refusal, Request, Snapshot,
        bindings::described::exports::headworks::policy::describe::{Description, Hook},
        log::{self, Level},
    };

    pub use crate::bindings::senses::headworks::policy::request::Request as LentRequest;

    /// The contract that this SDK speaks.
    const CONTRACT: &str = "headworks:policy@0.1.0";

    thread_local! {
        static FLEET: RefCell<Fleet> = RefCell::default();
    }

    /// Where an instance keeps its policy.
    pub type Kept<P> = LocalKey<RefCell<P>>;

    /// Whether one of the hooks takes a configuration. For the compiler, which knows no loop over words yet.
    pub const fn has_configure(hooks: &[&str]) -> bool {
        let mut at = 0;
        while at < hooks.len() {
            // No two hooks begin with the same letter.
            if hooks[at].as_bytes()[0] == b'c' {
                return true;
            }
            at += 1;
        }
        false
    }

    pub fn describe<P: Policy>(hooks: &[&str]) -> Description {
        speak_before_dying();
        Description {
            name: P::NAME.to_owned(),
            version: P::VERSION.to_owned(),
            contract: CONTRACT.to_owned(),
            hooks: hooks.iter().map(|hook| hook_of(hook)).collect(),
            mode: P::MODE,
            config_schema: P::CONFIG_SCHEMA.to_owned(),
        }
    }

    pub fn configure<P: Policy + Configure>(policy: &'static Kept<P>, json: &str) -> Result<(), Refusal> {
        speak_before_dying();
        policy.with_borrow_mut(|policy| policy.configure(json))
    }

    pub fn admit<P: Policy + Admit>(policy: &'static Kept<P>, request: &LentRequest) -> Admission {
        with_fleet(|fleet| policy.with_borrow_mut(|policy| policy.admit(&Request::lent(request), fleet)))
    }

    pub fn place<P: Policy + Place>(policy: &'static Kept<P>, request: &LentRequest) -> Placement {
        with_fleet(|fleet| policy.with_borrow_mut(|policy| policy.place(&Request::lent(request), fleet)))
    }

    pub fn observe<P: Policy + Observe>(policy: &'static Kept<P>, events: &[Event]) {
        with_fleet(|fleet| policy.with_borrow_mut(|policy| policy.observe(events, fleet)))
    }

    pub fn snapshot<P: Policy + Snapshot>(policy: &'static Kept<P>) -> Vec<u8> {
        speak_before_dying();
        policy.with_borrow(Snapshot::snapshot)
    }

    pub fn restore<P: Policy + Snapshot>(policy: &'static Kept<P>, bytes: &[u8]) -> Result<(), String> {
        speak_before_dying();
        policy.with_borrow_mut(|policy| policy.restore(bytes))
    }

    fn with_fleet<T>(decide: impl FnOnce(&Fleet) -> T) -> T {
        speak_before_dying();
        FLEET.with_borrow_mut(|fleet| {
            fleet.refresh();
            decide(fleet)
        })
    }

    fn hook_of(name: &str) -> Hook {
        match name {
            "configure" => Hook::Configure,
            "admit" => Hook::Admit,
            "place" => Hook::Place,
            "observe" => Hook::Observe,
            "snapshot" => Hook::Snapshot,
            _ => unreachable!("export! takes these names only"),
        }
    }

    /// A panic's message goes to the host's log, which shows it with the trap.
    fn speak_before_dying() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| std::panic::set_hook(Box::new(|panic| log::log(Level::Error, &panic.to_string()))));
    }
}
