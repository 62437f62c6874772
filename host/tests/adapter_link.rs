//! A component that imports every function of both versions, made from the WIT files by other people's tools, links
//! against what the adapter serves, and against nothing less.

#![expect(clippy::unwrap_used, reason = "a failure of a test shows where")]

use capsule_host::{CapsuleCtxView, CapsuleView};
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine};
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve};

/// Only its type matters: nothing is called.
struct Data;

impl CapsuleView for Data {
    fn capsule(&mut self) -> CapsuleCtxView<'_> {
        unreachable!("nothing is called")
    }
}

fn component(engine: &Engine) -> Component {
    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit"))
        .unwrap();
    let world = resolve.select_world(&[package], Some("host")).unwrap();
    let mut module = dummy_module(&resolve, world, ManglingAndAbi::Standard32);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let bytes = ComponentEncoder::default()
        .module(&module)
        .unwrap()
        .validate(true)
        .encode()
        .unwrap();
    Component::new(engine, bytes).unwrap()
}

#[test]
fn everything_imported_is_served() {
    let engine = Engine::new(&Config::new()).unwrap();
    let component = component(&engine);
    let mut linker = Linker::<Data>::new(&engine);
    capsule_host::add_to_linker_async(&mut linker).unwrap();
    linker.instantiate_pre(&component).unwrap();
}

#[test]
fn each_part_is_needed_and_can_be_had_alone() {
    type Add = fn(&mut Linker<Data>) -> wasmtime::Result<()>;

    let parts: [Add; 4] = [
        capsule_host::add_only_process_to_linker_async,
        capsule_host::add_only_poll_to_linker_async,
        capsule_host::add_only_ipc_to_linker_async,
        capsule_host::add_only_sys_to_linker_async,
    ];
    let engine = Engine::new(&Config::new()).unwrap();
    let component = component(&engine);
    for without in 0..=parts.len() {
        let mut linker = Linker::<Data>::new(&engine);
        for (at, add) in parts.iter().enumerate() {
            if at != without {
                add(&mut linker).unwrap();
            }
        }
        assert_eq!(
            linker.instantiate_pre(&component).is_ok(),
            without == parts.len(),
            "without part {without}"
        );
    }
}
