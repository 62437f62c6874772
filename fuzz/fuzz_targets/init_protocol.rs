//! The protocol between host and init: whatever bytes come, they are a message of this version or refused, and a message
//! that was understood is the same after another trip.

#![no_main]

use capsule_init::{Command, Config, HEADER, MAX_PAYLOAD, Report, decode, encode, payload_length};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    round_trip::<Config>(data);
    round_trip::<Report>(data);

    // The stream as a receiver sees it: frames one after another, and commands in one byte each.
    let mut rest = data;
    while let Some((header, behind)) = rest.split_first_chunk::<HEADER>() {
        let Ok(length) = payload_length(*header) else {
            assert!(u32::from_le_bytes(*header) as usize > MAX_PAYLOAD);
            break;
        };
        assert!(length <= MAX_PAYLOAD);
        let Some((payload, behind)) = behind.split_at_checked(length) else {
            break;
        };
        round_trip::<Config>(payload);
        round_trip::<Report>(payload);
        rest = behind;
    }
    for &byte in data {
        let command = Command::from_byte(byte);
        assert_eq!(command.is_some(), byte <= 64);
        assert!(command.is_none_or(|command| command.to_byte() == byte));
    }
});

fn round_trip<T>(payload: &[u8])
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let Ok(message) = decode::<T>(payload) else {
        return;
    };
    let frame = encode(&message).expect("it fitted into fewer bytes than these");
    let (header, again) = frame.split_first_chunk::<HEADER>().expect("a frame has a header");
    assert_eq!(payload_length(*header), Ok(again.len()));
    assert_eq!(decode::<T>(again).as_ref(), Ok(&message));
    // Cut short, or with something behind it, it is no message.
    assert!(decode::<T>(&again[..again.len() - 1]).is_err());
    assert!(decode::<T>(&[again, &[0]].concat()).is_err());
}
