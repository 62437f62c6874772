//! The actions as plain functions, over the SDK's mock: no host, no openssl.

use super::*;
use capsule_sdk::mock::{Host, Script};

fn openssl_that_works(host: &Host) {
    host.command("openssl", |run| match &*run.args[0] {
        "genpkey" => Script::new().stdout("the private half").exit(0),
        "pkey" => Script::new().stdout("the public half").exit(0),
        _ => Script::new().stdout("EC-SHA2-256(./a)= 0a0b\n").exit(0),
    });
}

fn sign_a() -> Result<Signed> {
    sign(Sign { file: "a".to_owned() })
}

#[test]
fn the_key_is_given_as_a_file_and_in_no_other_way() {
    let host = Host::new();
    openssl_that_works(&host);
    assert!(sign_a().unwrap_err().to_string().contains("`generate`"));
    assert_eq!(generate().unwrap().public_key, "the public half");
    assert_eq!(sign_a().unwrap().signature, "0a0b");
    let runs = host.runs();
    let runs: Vec<_> = runs.iter().map(|run| (run, run.file(KEY))).collect();
    assert_eq!(runs[0].1, None, "it makes the key");
    for (run, file) in &runs[1..] {
        assert_eq!(*file, Some(&b"the private half"[..]));
        assert!(!format!("{:?} {:?} {:?}", run.args, run.env, run.input).contains("private half"));
    }
}

#[test]
fn a_failure_is_told_in_the_words_of_openssl() {
    let host = Host::new();
    openssl_that_works(&host);
    generate().unwrap();
    host.command("openssl", |_| Script::new().stderr("No such file\n").exit(1));
    let error = sign_a().unwrap_err().to_string();
    assert!(error.contains("No such file"), "{error}");
}
