//! Generated bindings of the interfaces that the host provides beside WASI's own.
//!
//! One module per draft: drafts are not on one semver track, so each has its own types, and the
//! `views` turn them all into one capability trait.

/// `wasi:keyvalue@0.2.0-draft`, as wasmtime and wasmCloud have it.
pub mod keyvalue_draft {
    wasmtime::component::bindgen!({
        path: "../wit/deps/keyvalue",
        world: "wasi:keyvalue/imports",
        imports: { default: async | trappable },
        with: { "wasi:keyvalue/store.bucket": crate::runtime::views::keyvalue::Bucket },
        require_store_data_send: true,
    });
}

/// `wasi:keyvalue@0.2.0-draft2`, as Spin has it; it adds compare-and-swap.
pub mod keyvalue_draft2 {
    wasmtime::component::bindgen!({
        path: "../wit/deps/keyvalue-draft2",
        world: "wasi:keyvalue/imports",
        imports: { default: async | trappable },
        with: {
            "wasi:keyvalue/store.bucket": crate::runtime::views::keyvalue::Bucket,
            "wasi:keyvalue/atomics.cas": crate::runtime::views::keyvalue::Cas,
        },
        require_store_data_send: true,
    });
}

/// `wasi:blobstore@0.2.0-draft`.
pub mod blobstore {
    wasmtime::component::bindgen!({
        path: ["../wit/deps/io", "../wit/deps/blobstore"],
        world: "wasi:blobstore/imports",
        imports: { default: async | trappable },
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "wasi:blobstore/container.container": crate::runtime::views::blobstore::Container,
            "wasi:blobstore/container.stream-object-names": crate::runtime::views::blobstore::ObjectNames,
            "wasi:blobstore/types.outgoing-value": crate::runtime::views::blobstore::OutgoingValue,
            "wasi:blobstore/types.incoming-value": crate::runtime::views::blobstore::IncomingValue,
        },
        require_store_data_send: true,
    });
}

/// `wasi:config@0.2.0-rc.1`, as wasmtime and wasmCloud have it.
pub mod config_rc1 {
    wasmtime::component::bindgen!({
        path: "../wit/deps/config",
        world: "wasi:config/imports",
        imports: { default: trappable },
    });
}

/// `wasi:config@0.2.0-draft-2024-09-27`, as Spin has it.
pub mod config_2024_09_27 {
    wasmtime::component::bindgen!({
        path: "../wit/deps/config-2024-09-27",
        world: "wasi:config/imports",
        imports: { default: trappable },
    });
}

/// `wasi:config@0.2.0-draft`, as older guests have it.
pub mod config_draft {
    wasmtime::component::bindgen!({
        path: "../wit/deps/config-draft",
        world: "wasi:config/imports",
        imports: { default: trappable },
    });
}

/// `wasi:logging@0.1.0-draft`.
pub mod logging {
    wasmtime::component::bindgen!({
        path: "../wit/deps/logging",
        world: "wasi:logging/imports",
        imports: { default: trappable },
    });
}

/// `wasmcloud:secrets@0.1.0-draft`.
pub mod secrets {
    wasmtime::component::bindgen!({
        path: "../wit/deps/secrets",
        inline: "
            package wharf:host;
            world secrets {
                import wasmcloud:secrets/store@0.1.0-draft;
                import wasmcloud:secrets/reveal@0.1.0-draft;
            }
        ",
        world: "wharf:host/secrets",
        imports: { default: trappable },
        with: { "wasmcloud:secrets/store.secret": crate::runtime::views::secrets::HeldSecret },
    });
}

/// `wasmcloud:messaging@0.2.0`: publishing, and the handler that a subscription calls.
pub mod messaging {
    wasmtime::component::bindgen!({
        path: "../wit/deps/messaging",
        inline: "
            package wharf:host;
            world messages {
                import wasmcloud:messaging/consumer@0.2.0;
                export wasmcloud:messaging/handler@0.2.0;
            }
        ",
        world: "wharf:host/messages",
        imports: { default: async | trappable },
        exports: { default: async },
        require_store_data_send: true,
    });
}

/// `wharf:lifecycle@0.1.0`: what a component may export to take part in its own replacement.
pub mod lifecycle {
    wasmtime::component::bindgen!({
        path: "../wit/deps/lifecycle",
        inline: "
            package wharf:host;
            world migrating {
                export wharf:lifecycle/migration@0.1.0;
            }
        ",
        world: "wharf:host/migrating",
        exports: { default: async },
        require_store_data_send: true,
    });
}
