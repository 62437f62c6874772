//! The system is read-only to a child; its workspace is writable, and is at its own path.
//!
//! Platform.

use conformance_guest::*;

case!(r#"{"needs": [{"confined": "filesystem"}]}"#: run);

fn run() -> Outcome {
    let script = "for d in / /usr /usr/bin /bin /etc /lib /var /opt /home /root /sys /proc/sys /proc/sys/kernel; do \
                  test -d $d && touch $d/conformance-mark 2>/dev/null && echo $d; done; \
                  for f in /etc/passwd /bin/sh /usr/bin/env /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/sys/vm/drop_caches; do \
                  test -e $f && (: >> $f) 2>/dev/null && echo $f; done; \
                  mount -t tmpfs none /mnt 2>/dev/null && echo mounted; mount -o remount,rw / 2>/dev/null && echo remounted; true";
    let writable = output(script)?;
    check!(writable.is_empty(), "writable: {writable:?}");
    let place = output("pwd -P; touch mine && rm mine && echo yes")?;
    check!(
        place.starts_with('/') && place.trim_end().ends_with("yes"),
        "the workspace: {place:?}"
    );
    Ok("read-only but for the workspace".into())
}
