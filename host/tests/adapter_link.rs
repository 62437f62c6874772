//! A component that imports every function of the WIT files, made from them by tools of others, links against the
//! functions that the adapter serves, and fails to link if one is missing.
//!
//! A linker cannot be asked whether the adapter serves more. The adapter adds to it by the generated functions only,
//! which have the functions of the WIT files; `clippy.toml` forbids the methods by which others could be added.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failure of a test shows where"
)]

use std::collections::BTreeSet;

use capsule_host::{CapsuleCtxView, CapsuleView};
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine};
use wit_component::{ComponentEncoder, DecodedWasm, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{InterfaceId, LiftLowerAbi, ManglingAndAbi, PackageId, Resolve, WorldItem};

/// Only its type matters; nothing is called.
struct Data;

impl CapsuleView for Data {
    fn capsule(&mut self) -> CapsuleCtxView<'_> {
        unreachable!("nothing is called")
    }
}

fn wit() -> (Resolve, PackageId) {
    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit"))
        .unwrap();
    (resolve, package)
}

fn component() -> Vec<u8> {
    let (resolve, package) = wit();
    let world = resolve.select_world(&[package], Some("host")).unwrap();
    // The standard mangling names only the major version, so that the two versions of `astrid:process` would get one
    // name.
    let mut module = dummy_module(&resolve, world, ManglingAndAbi::Legacy(LiftLowerAbi::Sync));
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default()
        // The two versions would get one name here, too.
        .merge_imports_based_on_semver(false)
        .module(&module)
        .unwrap()
        .validate(true)
        .encode()
        .unwrap()
}

#[test]
fn everything_imported_is_served() {
    let engine = Engine::new(&Config::new()).unwrap();
    let bytes = component();
    let DecodedWasm::Component(resolve, world) = wit_component::decode(&bytes).unwrap() else {
        panic!("not a component");
    };
    let imported = resolve.worlds[world].imports.values().map(|item| match item {
        WorldItem::Interface { id, .. } => *id,
        WorldItem::Function(_) | WorldItem::Type { .. } => panic!("not an interface: {item:?}"),
    });
    let (wit, _) = wit();
    let declared = wit.interfaces.iter().map(|(id, _)| id);
    let (imported, declared) = (functions(&resolve, imported), functions(&wit, declared));
    let different: Vec<_> = imported.symmetric_difference(&declared).collect();
    assert!(
        different.is_empty(),
        "in the component or in wit/, and not in both: {different:?}"
    );

    let component = Component::new(&engine, bytes).unwrap();
    let mut linker = Linker::<Data>::new(&engine);
    capsule_host::add_to_linker_async(&mut linker).unwrap();
    linker.instantiate_pre(&component).unwrap();
}

/// The functions of interfaces, as `interface function`.
fn functions(resolve: &Resolve, interfaces: impl Iterator<Item = InterfaceId>) -> BTreeSet<String> {
    interfaces
        .flat_map(|id| {
            let interface = resolve.id_of(id).unwrap();
            let functions = resolve.interfaces[id].functions.keys();
            functions.map(move |function| format!("{interface} {function}"))
        })
        .collect()
}

#[test]
fn each_part_is_needed_and_can_be_had_alone() {
    type Add = fn(&mut Linker<Data>) -> wasmtime::Result<()>;

    let parts: [Add; 7] = [
        capsule_host::add_only_process_to_linker_async,
        capsule_host::add_only_poll_to_linker_async,
        capsule_host::add_only_ipc_to_linker_async,
        capsule_host::add_only_sys_to_linker_async,
        capsule_host::add_only_net_to_linker_async,
        capsule_host::add_only_store_to_linker_async,
        capsule_host::add_only_sync_to_linker_async,
    ];
    // The packages that a host may lack are the last ones.
    let optional = [
        "capsule:net/net@0.1.0",
        "capsule:store/keyvalue@0.1.0",
        "capsule:sync/lock@0.1.0",
    ];
    let engine = Engine::new(&Config::new()).unwrap();
    let component = Component::new(&engine, component()).unwrap();
    for without in 0..=parts.len() {
        let mut linker = Linker::<Data>::new(&engine);
        for (at, add) in parts.iter().enumerate() {
            if at != without {
                add(&mut linker).unwrap();
            }
        }
        let linked = linker.instantiate_pre(&component);
        assert_eq!(linked.is_ok(), without == parts.len(), "without part {without}");
        let named = without.checked_sub(parts.len() - optional.len());
        if let Some(name) = named.and_then(|at| optional.get(at)) {
            let refused = linked.err().map(|error| format!("{error:#}")).unwrap_or_default();
            assert!(refused.contains(name), "by another name than {name}: {refused}");
        }
    }
}
