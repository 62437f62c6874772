//! A host that does nothing but change a store, for the tests of the store: the test kills it, or runs two at once.
//!
//! `store-host DIR set` sets the value of `n` to 1, 2 and so on, each many times over, and prints each number when it is set.
//! It goes on from the number that is there. `store-host DIR increment COUNT` adds 1 to the number `n` so often.

use std::error::Error;
use std::io::{self, Write as _};

use capsule_host::keyvalue::{Store, Swap};
use capsule_host::supervisor::{Owner, Principal};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().ok_or("an argument is missing");
    let (store, mode) = (Store::open(next()?)?, next()?);
    let owner = Owner {
        principal: Principal::Named("ada".into()),
        capsule: "editor".into(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match mode.as_str() {
        "set" => runtime.block_on(set(&store, &owner)),
        "increment" => {
            let count = next()?.parse()?;
            runtime.block_on(increment(&store, &owner, count))
        }
        other => Err(format!("no such mode: {other}").into()),
    }
}

async fn set(store: &Store, owner: &Owner) -> Result<(), Box<dyn Error>> {
    let mut number = match store.get(owner, "n").await? {
        Some(value) => String::from_utf8(value)?
            .split(' ')
            .next()
            .unwrap_or_default()
            .parse()?,
        None => 0_u64,
    };
    loop {
        number += 1;
        let value = format!("{number} ").repeat(4000);
        store.set(owner, "n", value.into_bytes()).await?;
        writeln!(io::stdout(), "{number}")?;
    }
}

async fn increment(store: &Store, owner: &Owner, count: usize) -> Result<(), Box<dyn Error>> {
    let mut present = store.get(owner, "n").await?;
    for _ in 0..count {
        loop {
            let number: u64 = present
                .as_deref()
                .map_or(Ok(0), |text| String::from_utf8_lossy(text).parse())?;
            let new = Some((number + 1).to_string().into_bytes());
            match store.compare_and_set(owner, "n", present, new.clone()).await? {
                Swap::Swapped => {
                    present = new;
                    break;
                }
                Swap::Mismatch(other) => present = other,
            }
        }
    }
    Ok(())
}
