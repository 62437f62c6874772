//! A host without free descriptors refuses the spawn with an error of its own, and keeps nothing of it (S5, S6).
//!
//! The limit applies to the whole test process, so this is one test in a binary of its own.

use std::fs::File;

use capsule_host::supervisor::{Error, LogStream, SpawnRequest};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use capsule_tests::holdings::descriptors;
use capsule_tests::{Host, chunk, code, command, exit, until};

fn sockets() -> usize {
    descriptors().iter().filter(|kind| *kind == "socket").count()
}

/// Takes every descriptor but `spare`, for as long as the files are held.
fn scarce(spare: usize, limit: &Rlimit) -> Vec<File> {
    let few = Rlimit {
        current: Some(128),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, few).expect("a lower limit");
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    taken.truncate(taken.len() - spare);
    taken
}

fn plenty(taken: Vec<File>, limit: &Rlimit) {
    drop(taken);
    let maximum = limit.maximum;
    let current = limit.current;
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).expect("as it was");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s5_s6_without_descriptors_a_spawn_fails_as_the_host_and_keeps_nothing() {
    let limit = getrlimit(Resource::Nofile);
    let host = Host::with(|limits| {
        limits.processes_per_principal = 1;
        limits.retained_per_owner = 1;
    });
    let scope = host.scope();
    let request = || SpawnRequest {
        stdin: Some(b"x".to_vec()),
        ..command("/bin/cat", &[])
    };
    let sockets_before = sockets();
    host.run(request()).await.expect("it runs, and opens what stays open");
    until("no task is left", || host.registry.tasks() == 0).await;
    // One descriptor leads to the spawner and one to the next init, which is made a moment after a start.
    until("the next init is ready", || sockets() == sockets_before + 2).await;
    let before = descriptors().len();
    let (mut refused, mut ran) = (0, 0);
    for spare in 0..24 {
        let taken = scarce(spare, &limit);
        let captured = host.run(request()).await;
        plenty(taken, &limit);
        match captured {
            Ok(output) => {
                ran += 1;
                assert_eq!((output.exit, &*output.stdout), (code(0), &b"x"[..]));
            }
            Err(error) => {
                refused += 1;
                assert!(matches!(error, Error::Host(_)), "with {spare}: {error:?}");
                assert!(error.to_string().starts_with("host: "), "{error}");
            }
        }
        let taken = scarce(spare, &limit);
        let persistent = host.try_start(request()).await;
        plenty(taken, &limit);
        match persistent {
            Ok(id) => {
                let id = id.expose();
                assert_eq!(exit(&scope, id).await, code(0));
                assert_eq!(chunk(&scope, id, LogStream::Stdout, None, 9).data, b"x");
                scope.release(id).await.expect("it has exited");
            }
            Err(error) => assert!(matches!(error, Error::Host(_)), "with {spare}: {error:?}"),
        }
        assert_eq!(host.registry.retained(), 0);
        until("no task is left", || host.registry.tasks() == 0).await;
        // There may be fewer, because the spare init was taken and another one could not be requested.
        until("all is closed", || descriptors().len() <= before).await;
        host.run(request()).await.expect("a free slot, and room again");
    }
    assert!(refused > 0 && ran > 0, "{refused} were refused and {ran} ran");
}
