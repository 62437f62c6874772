//! A child sees no secrets of the user or the host: no home folders, no shadow file, no sockets, no other process.
//!
//! Platform.

use conformance_guest::*;

case!(r#"{"needs": [{"confined": "filesystem"}]}"#: run);

fn run() -> Outcome {
    // A name that leads to the private `/tmp` shows nothing of the host.
    let script = "for p in /root /home /var/lib /var/log /var/run /run /mnt /media /srv /boot /etc/ssh /lost+found; do \
                  test -e $p && find $p -mindepth 1 -maxdepth 2 2>/dev/null | grep -v \"^$(pwd -P)\" | grep -v -F -x -f parents | \
                  while read -r f; do test \"$(readlink \"$f\")\" = /tmp || echo \"$f\"; done | head -3; done; \
                  for f in /etc/shadow /etc/gshadow /etc/sudoers /proc/kcore /proc/1/environ /proc/kmsg /dev/mem /dev/kmsg; do head -c 1 $f >/dev/null 2>&1 && test \"$f\" != /proc/1/environ && echo $f; done; true";
    // The folders that lead to the workspace may be visible, but no other entry in them.
    output("p=$(pwd -P); : > parents; while [ \"$p\" != / ]; do echo \"$p\" >> parents; p=$(dirname \"$p\"); done")?;
    let seen = output(script)?;
    let seen: Vec<_> = seen.lines().filter(|line| !line.is_empty()).collect();
    check!(seen.is_empty(), "visible: {seen:?}");
    let beside = output("ls -A \"$(dirname \"$(pwd -P)\")\" | wc -l")?;
    check!(
        beside.trim() == "1",
        "beside the workspace {} things are visible",
        beside.trim()
    );
    Ok("nothing is visible".into())
}
