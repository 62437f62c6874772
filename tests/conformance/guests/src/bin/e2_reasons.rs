//! `exited` gives the reason for the end of a process: by itself, by a signal, by its lifetime, by idling, by a stop.
//!
//! Contract.

use conformance_guest::*;

case!(r#"{"wishes": {"processes-per-principal": 16, "grace-default-ms": 100}}"#: run);

fn run() -> Outcome {
    let mut events = Events::subscribe()?;
    let watched = |request: SpawnRequest, name: &str| -> Result<String, Stop> {
        let id = spawn_persistent(&request)?;
        watch(&id, Some(name))?;
        Ok(id)
    };
    output("mkfifo gate gate2")?;
    let own = watched(sh("read x < gate; exit 31"), "own")?;
    let signalled = watched(sh("sleep 1000"), "signalled")?;
    let killed = watched(sh("read x < gate2; kill -9 $$"), "self-killed")?;
    let stopped = watched(sh("sleep 1000"), "stopped")?;
    let handle = watched(sh("trap '' TERM; while :; do sleep 0.01; done"), "handle")?;
    let lifetime = watched(
        SpawnRequest {
            max_lifetime_ms: Some(1500),
            ..sh("sleep 1000")
        },
        "lifetime",
    )?;
    let idle = watched(
        SpawnRequest {
            idle_timeout_ms: Some(1500),
            ..sh("sleep 1000")
        },
        "idle",
    )?;
    output("echo > gate; echo > gate2")?;
    signal(&signalled, ProcessSignal::Term)?;
    stop(&stopped, Some(0))?;
    attach(&handle)?.kill()?;
    let all = events.until("exited", 7)?;
    let expected = [
        ("own", &own, Some(31), None, &["self-exit"][..], None),
        ("signalled", &signalled, None, Some(15), &["killed", "self-exit"], None),
        ("self-killed", &killed, None, Some(9), &["self-exit", "killed"], None),
        ("stopped", &stopped, None, Some(15), &["stopped"], None),
        ("handle", &handle, None, Some(9), &["killed"], None),
        ("lifetime", &lifetime, None, Some(15), &["reaped-ttl"], Some("lifetime")),
        ("idle", &idle, None, Some(15), &["reaped-ttl"], Some("idle")),
    ];
    for (name, id, code, signal, reasons, cause) in expected {
        let of: Vec<_> = all.iter().filter(|event| event.suffix == name).collect();
        check!(of.len() == 1, "{name}: {} events", of.len());
        let payload = &of[0].payload;
        check!(payload["id"] == id.as_str(), "{name}: another id");
        let (got_code, got_signal) = (payload["exit_code"].as_i64(), payload["signal"].as_i64());
        // KILL, which follows the TERM of this stop at once, may arrive first.
        let ended_by = got_signal == signal || (signal == Some(15) && name != "signalled" && got_signal == Some(9));
        check!(got_code == code && ended_by, "{name}: {payload}");
        check!(
            payload["reason"]
                .as_str()
                .is_some_and(|reason| reasons.contains(&reason)),
            "{name}: {payload}"
        );
        check!(
            cause.is_none() || payload["cause"].as_str() == cause,
            "{name}: {payload}"
        );
        for key in ["exit_code", "signal", "reason", "cause"] {
            check!(payload.get(key).is_some(), "{name}: {key} is missing in {payload}");
        }
    }
    let settled = events.settled()?;
    check!(
        settled.iter().filter(|event| event.kind == "exited").count() == 7,
        "more than one for a process"
    );
    Ok("seven ends, each with its reason, once".into())
}
