//! `capsule:store`: the entries that an owner keeps between its instances.

use super::CapsuleCtxView;
use super::bindings::capsule::store::keyvalue::{ErrorCode, Host, Page, Swap};
use super::ctx::State;
use super::error::StoreError;
use crate::keyvalue::{self, Error, Store};

type Answer<T> = Result<T, StoreError>;

impl State {
    fn store(&self) -> Answer<&Store> {
        self.store.as_ref().ok_or(StoreError::Unavailable)
    }
}

impl Host for CapsuleCtxView<'_> {
    fn convert_error_code(&mut self, error: StoreError) -> wasmtime::Result<ErrorCode> {
        Ok(match error {
            StoreError::Unavailable => ErrorCode::Unavailable,
            StoreError::Cancelled => ErrorCode::Cancelled,
            StoreError::Answer(Error::InvalidInput(_)) => ErrorCode::InvalidInput(error.to_string()),
            StoreError::Answer(Error::TooLarge) => ErrorCode::TooLarge,
            StoreError::Answer(Error::Quota) => ErrorCode::Quota,
            StoreError::Answer(Error::NotAuthenticated) => ErrorCode::NotAuthenticated,
            StoreError::Answer(Error::Damaged { .. }) => ErrorCode::Damaged,
            StoreError::Answer(Error::Busy) => ErrorCode::Busy,
            StoreError::Answer(Error::Host(_)) => ErrorCode::Unknown(error.to_string()),
        })
    }

    async fn get(&mut self, key: String) -> Answer<Option<Vec<u8>>> {
        let call = self.call("get").of_key(&key, None);
        call.wait(async |access| {
            let state = &*access.state;
            Ok(state.store()?.get(state.scope.owner(), &key).await?)
        })
        .await
    }

    async fn set(&mut self, key: String, value: Vec<u8>) -> Answer<()> {
        let call = self.call("set").of_key(&key, Some(&value));
        call.wait(async |access| {
            let state = &*access.state;
            Ok(state.store()?.set(state.scope.owner(), &key, value).await?)
        })
        .await
    }

    async fn delete(&mut self, key: String) -> Answer<bool> {
        let call = self.call("delete").of_key(&key, None);
        call.wait(async |access| {
            let state = &*access.state;
            Ok(state.store()?.delete(state.scope.owner(), &key).await?)
        })
        .await
    }

    async fn compare_and_set(&mut self, key: String, expected: Option<Vec<u8>>, new: Option<Vec<u8>>) -> Answer<Swap> {
        let call = self.call("compare-and-set").of_key(&key, new.as_deref());
        call.wait(async |access| {
            let state = &*access.state;
            let swap = (state.store()?).compare_and_set(state.scope.owner(), &key, expected, new);
            Ok(swap.await?.into())
        })
        .await
    }

    async fn list(&mut self, prefix: String, after: Option<String>, limit: u32) -> Answer<Page> {
        let call = self.call("list").of_key(&prefix, None);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        call.wait(async |access| {
            let state = &*access.state;
            let page = (state.store()?).list(state.scope.owner(), &prefix, after.as_deref(), limit);
            Ok(page.await?.into())
        })
        .await
    }
}

impl From<keyvalue::Swap> for Swap {
    fn from(swap: keyvalue::Swap) -> Self {
        match swap {
            keyvalue::Swap::Swapped => Self::Swapped,
            keyvalue::Swap::Mismatch(present) => Self::Mismatch(present),
        }
    }
}

impl From<keyvalue::Page> for Page {
    fn from(page: keyvalue::Page) -> Self {
        Self {
            keys: page.keys,
            more: page.more,
        }
    }
}
