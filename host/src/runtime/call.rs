//! One call in one instance, and the reason if it fails.

use wasmtime::component::{Instance, InstancePre};
use wasmtime::{PoolConcurrencyLimitError, Store, Trap};
use wasmtime_wasi::I32Exit;

use super::bindings::EntryIndices;
use super::code::Code;
use super::error::{CallError, describe};
use super::state::{State, TimeUp};

/// The result of an action, as the capsule returned it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapsuleResult {
    /// The verdict: by convention `continue`, or `deny` or `abort` for a refusal or a failure.
    pub action: String,
    /// The data of the result, by convention JSON.
    pub data: Option<String>,
}

/// Instantiates the component and calls an action. Dropping the future at any point drops the instance.
pub(super) async fn run(
    mut store: Store<State>,
    component: &InstancePre<State>,
    entry: &EntryIndices,
    action: &str,
    payload: &[u8],
) -> Result<CapsuleResult, CallError> {
    let instance = instantiate(&mut store, component).await?;
    let entry = entry
        .load(&mut store, &instance)
        .map_err(|error| CallError::NoEntryPoint(describe(&error)))?;
    let result = entry.call_astrid_hook_trigger(&mut store, action, payload).await;
    match result {
        Ok(result) => Ok(CapsuleResult {
            action: result.action,
            data: result.data,
        }),
        Err(error) => Err(failure(&error, store.data())),
    }
}

/// Instantiates the component and calls `run`, which returns when the guest has nothing more to do. Dropping the future
/// at any point drops the instance.
pub(super) async fn run_in_background(mut store: Store<State>, code: &Code) -> Result<(), CallError> {
    let instance = instantiate(&mut store, &code.component).await?;
    let missing = || CallError::NoEntryPoint("the component has no `run`".into());
    let run = code.run.ok_or_else(missing)?;
    let run = instance
        .get_typed_func::<(), ()>(&mut store, run)
        .map_err(|error| CallError::NoEntryPoint(describe(&error)))?;
    let result = run.call_async(&mut store, ()).await;
    result.map_err(|error| failure(&error, store.data()))
}

async fn instantiate(store: &mut Store<State>, component: &InstancePre<State>) -> Result<Instance, CallError> {
    component.instantiate_async(&mut *store).await.map_err(|error| {
        // Only a start function can run guest code here, and it fails as any guest code does.
        if error.is::<Trap>()
            || error.is::<I32Exit>()
            || error.is::<TimeUp>()
            || store.data().memory.refused().is_some()
        {
            failure(&error, store.data())
        } else {
            CallError::Host(describe(&error))
        }
    })
}

/// The reason why guest code failed. An engine's error shows the place; the state knows the cause.
fn failure(error: &wasmtime::Error, state: &State) -> CallError {
    if let Some(TimeUp(limit)) = error.downcast_ref() {
        return CallError::GuestTime(*limit);
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return CallError::Host(describe(error));
    }
    if let Some(limit) = state.memory.refused() {
        return CallError::GuestMemory(limit);
    }
    let message = if error.is::<I32Exit>() {
        "it exited instead of returning a result".to_owned()
    } else if let Some(trap) = error.downcast_ref::<Trap>() {
        trap.to_string()
    } else {
        describe(error)
    };
    CallError::Trap {
        message,
        stderr: state.stderr.tail(),
    }
}
