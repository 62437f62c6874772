//! The bindings with which the host calls a capsule: world `capsule:worlds/entry`.

wasmtime::component::bindgen!({
    path: "wit",
    world: "capsule:worlds/entry",
    exports: { default: async },
    require_store_data_send: true,
});
