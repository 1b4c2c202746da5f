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

/// `fermyon:spin@2.0.0`: what guests of Spin 2 and 3 import.
pub mod spin_2 {
    wasmtime::component::bindgen!({
        path: "../wit/deps/fermyon-spin",
        inline: "
            package wharf:host;
            world spin-two {
                import fermyon:spin/key-value@2.0.0;
                import fermyon:spin/llm@2.0.0;
                import fermyon:spin/mqtt@2.0.0;
                import fermyon:spin/mysql@2.0.0;
                import fermyon:spin/postgres@2.0.0;
                import fermyon:spin/redis@2.0.0;
                import fermyon:spin/sqlite@2.0.0;
                import fermyon:spin/variables@2.0.0;
            }
        ",
        world: "wharf:host/spin-two",
        imports: { default: async | trappable },
        with: {
            "fermyon:spin/key-value.store": crate::runtime::views::keyvalue::Bucket,
            "fermyon:spin/postgres.connection": crate::runtime::views::spin::postgres::Connection,
            "fermyon:spin/redis.connection": crate::runtime::views::spin::redis::Connection,
            "fermyon:spin/sqlite.connection": crate::runtime::views::spin::sqlite::Connection,
            "fermyon:spin/mqtt.connection": crate::runtime::views::spin::unserved::Connection,
            "fermyon:spin/mysql.connection": crate::runtime::views::spin::unserved::Connection,
        },
        require_store_data_send: true,
    });
}

/// `spin:*`: what guests of Spin 3 and 4 import. Most of their functions are asynchronous, which needs
/// an engine with concurrency.
pub mod spin_3 {
    wasmtime::component::bindgen!({
        path: [
            "../wit/deps/spin-key-value",
            "../wit/deps/spin-mqtt",
            "../wit/deps/spin-mysql",
            "../wit/deps/spin-postgres",
            "../wit/deps/spin-redis",
            "../wit/deps/spin-sqlite",
            "../wit/deps/spin-variables",
        ],
        inline: "
            package wharf:host;
            world spin-three {
                import spin:key-value/key-value@3.0.0;
                import spin:mqtt/mqtt@3.0.0;
                import spin:mysql/mysql@3.0.0;
                import spin:postgres/postgres@4.2.0;
                import spin:redis/redis@3.0.0;
                import spin:sqlite/sqlite@3.1.0;
                import spin:variables/variables@3.0.0;
            }
        ",
        world: "wharf:host/spin-three",
        imports: { default: async | trappable },
        with: {
            "spin:key-value/key-value.store": crate::runtime::views::keyvalue::Bucket,
            "spin:postgres/postgres.connection": crate::runtime::views::spin::postgres::Connection,
            "spin:postgres/postgres.connection-builder": crate::runtime::views::spin::postgres::Builder,
            "spin:redis/redis.connection": crate::runtime::views::spin::redis::Connection,
            "spin:sqlite/sqlite.connection": crate::runtime::views::spin::sqlite::Connection,
            "spin:mqtt/mqtt.connection": crate::runtime::views::spin::unserved::Connection,
            "spin:mysql/mysql.connection": crate::runtime::views::spin::unserved::Connection,
        },
        require_store_data_send: true,
    });
}

/// `spin:postgres@3.0.0`, which is not on the track of the later ones.
pub mod spin_postgres_3 {
    wasmtime::component::bindgen!({
        path: "../wit/deps/spin-postgres-3",
        inline: "
            package wharf:host;
            world spin-postgres-three {
                import spin:postgres/postgres@3.0.0;
            }
        ",
        world: "wharf:host/spin-postgres-three",
        imports: { default: async | trappable },
        with: {
            "spin:postgres/postgres.connection": crate::runtime::views::spin::postgres::Connection,
        },
        require_store_data_send: true,
    });
}

/// `fermyon:spin/inbound-redis`: the handler of guests of Spin 2 and 3.
pub mod spin_redis_handler_2 {
    wasmtime::component::bindgen!({
        path: "../wit/deps/fermyon-spin-1",
        inline: "
            package wharf:host;
            world redis-handler-two {
                export fermyon:spin/inbound-redis;
            }
        ",
        world: "wharf:host/redis-handler-two",
        exports: { default: async },
        require_store_data_send: true,
    });
}

/// `spin:redis/inbound-redis@3.0.0`: the handler of guests of Spin 4.
pub mod spin_redis_handler_3 {
    wasmtime::component::bindgen!({
        path: "../wit/deps/spin-redis",
        inline: "
            package wharf:host;
            world redis-handler-three {
                export spin:redis/inbound-redis@3.0.0;
            }
        ",
        world: "wharf:host/redis-handler-three",
        exports: { default: async },
        with: { "spin:redis/redis": crate::runtime::bindings::spin_3::spin::redis::redis },
        require_store_data_send: true,
    });
}

/// `fermyon:spin/inbound-http`: requests and responses that are whole.
pub mod spin_http_handler {
    wasmtime::component::bindgen!({
        path: "../wit/deps/fermyon-spin-1",
        inline: "
            package wharf:host;
            world http-handler {
                export fermyon:spin/inbound-http;
            }
        ",
        world: "wharf:host/http-handler",
        exports: { default: async },
        require_store_data_send: true,
    });
}
