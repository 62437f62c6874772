//! Makes a component of what a build made: as it is, or from a core module that holds the types of its world.

use tokio::task::spawn_blocking;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::ComponentEncoder;

use super::error::BuildError;

/// The first bytes of a component, and those of a core module.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// Returns the component. A module that calls WASI of the first preview, as C libraries do, gets the adapter to the second.
pub(crate) async fn from_product(product: Vec<u8>) -> Result<Vec<u8>, BuildError> {
    if product.starts_with(COMPONENT) {
        return Ok(product);
    }
    if !product.starts_with(MODULE) {
        return Err(BuildError::NotComponent("it does not begin as WebAssembly does".into()));
    }
    // A task of its own, because a hostile module that finds a bug there must not take the command along.
    match spawn_blocking(move || encode(&product)).await {
        Ok(Ok(component)) => Ok(component),
        Ok(Err(error)) => Err(BuildError::NotComponent(error)),
        Err(error) => Err(BuildError::NotComponent(error.to_string())),
    }
}

fn encode(module: &[u8]) -> Result<Vec<u8>, String> {
    let encoded = ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| {
            encoder.adapter(
                WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME,
                WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
            )
        })
        .and_then(|mut encoder| encoder.encode());
    encoded.map_err(|error| format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_component_is_told() {
        assert_eq!(from_product(COMPONENT.to_vec()).await.unwrap(), COMPONENT);
        for bytes in [&b""[..], b"\x7fELF", b"\0asm\x01\0\0\0\xff\xff"] {
            let result = from_product(bytes.to_vec()).await;
            assert!(matches!(result, Err(BuildError::NotComponent(_))), "{bytes:?}");
        }
    }
}
