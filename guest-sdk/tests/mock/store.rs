//! Values that outlive an instance.

use capsule_sdk::mock::{Host, Script};
use capsule_sdk::store::{self, Error, Swap};
use capsule_sdk::{Command, Cursor, Process, ProcessId};

use crate::SECOND;

#[test]
fn v1_entries_are_set_listed_compared_and_deleted() {
    let host = Host::new();
    assert_eq!(store::get("a"), Ok(None));
    store::set("a", "1").unwrap();
    store::set_json("b", &[1, 2]).unwrap();
    assert_eq!(store::get_json::<Vec<u8>>("b"), Ok(Some(vec![1, 2])));
    assert_eq!(store::get_json::<String>("b").unwrap_err().kind().as_str(), "json");
    assert_eq!(
        store::compare_and_set("a", None, Some(b"2")),
        Ok(Swap::Mismatch(Some(b"1".to_vec())))
    );
    assert_eq!(store::compare_and_set("a", Some(b"1"), Some(b"2")), Ok(Swap::Swapped));
    assert_eq!(store::compare_and_set("c", None, Some(b"")), Ok(Swap::Swapped));
    assert_eq!(store::compare_and_set("c", Some(b""), None), Ok(Swap::Swapped));
    assert_eq!(store::list(""), Ok(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!((store::delete("a"), store::delete("a")), (Ok(true), Ok(false)));
    for key in 0..2500 {
        store::set(&format!("many/{key:04}"), "").unwrap();
    }
    let many = store::list("many/").unwrap();
    assert_eq!((many.len(), many[2499].as_str()), (2500, "many/2499"));
    host.caller(None);
    assert_eq!(store::get("b"), Err(Error::NotAuthenticated));
    host.unload();
    assert_eq!(store::set("b", ""), Err(Error::Cancelled));
}

/// The example of the module's documentation.
#[test]
fn v1_a_cursor_is_kept_by_key() {
    fn news() -> Vec<String> {
        let server = Process::find("web").unwrap().unwrap();
        let place: Option<(ProcessId, Cursor)> = store::get_json("web").unwrap();
        let place = place.filter(|(id, _)| id == server.id());
        let cursor = place.map(|(_, cursor)| cursor).unwrap_or_default();
        let mut output = server.stdout().resume(cursor);
        let news = output.lines().collect::<Result<_, _>>().unwrap();
        store::set_json("web", &(server.id(), output.cursor())).unwrap();
        news
    }

    let host = Host::new();
    host.command("web", |_| {
        Script::new()
            .stdout("one\n")
            .after(SECOND)
            .stdout("two\n")
            .after(SECOND)
    });
    Command::new("web").label("web").spawn_persistent().unwrap();
    assert_eq!(news(), ["one"]);
    assert!(news().is_empty());
    host.advance(SECOND);
    assert_eq!(news(), ["two"]);
}
