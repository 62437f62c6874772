//! Real software runs inside (S6): the quick part of `tests/software/run`, with the programs of a plain Debian. Each
//! case must print what only a program that did its work can print. If its program is not installed, the case reports
//! that.

use std::path::Path;

use crate::harness::{Host, sh};
use crate::who::skip;

/// Runs a script if the program is installed. It must succeed and print exactly this.
async fn prints(program: &str, script: &str, expected: &str) {
    if !Path::new(program).exists() {
        return skip(program);
    }
    let printed = Host::new().printed(sh(script)).await;
    assert_eq!(printed.trim_end(), expected);
}

async fn s6_git_commits_and_clones() {
    let script = "git init -q r && cd r && git config user.email a@b && git config user.name a && echo 1 > f && git add f && \
                  git commit -qm one && git gc -q && cd .. && git clone -q file://$PWD/r c && git -C c log --format=%s";
    prints("/usr/bin/git", script, "one").await;
}

async fn s6_git_shares_a_repository() {
    let script = "git init -q --shared=group --bare r && git -C r config core.sharedRepository && stat -c %a r/objects";
    prints("/usr/bin/git", script, "1\n2775").await;
}

async fn s6_bash_substitutes_processes() {
    let script =
        "bash -c 'diff <(seq 3) <(seq 4); coproc cat; echo 42 >&\"${COPROC[1]}\"; read -u \"${COPROC[0]}\" a; echo $a'";
    prints("/bin/bash", script, "3a4\n> 4\n42").await;
}

async fn s6_tar_restores_modes() {
    let script = "mkdir a b && echo x > a/f && chmod 640 a/f && tar cf a.tar --mode=g+s a && tar xpf a.tar -C b && \
                  stat -c %a b/a";
    // The bit is kept, because the workspace belongs to the command's user.
    prints("/bin/tar", &format!("umask 022; {script}"), "2755").await;
}

async fn s6_gcc_builds_what_runs() {
    let script = "echo 'int puts(const char *); int main() { puts(\"built\"); }' > m.c && gcc -pipe m.c -o m && ./m";
    prints("/usr/bin/gcc", script, "built").await;
}

async fn s6_python_shares_work_among_processes() {
    let script = "cat > m.py <<'E'
import multiprocessing as m
def f(x): return x * x
if __name__ == '__main__':
    for way in ('fork', 'spawn', 'forkserver'):
        with m.get_context(way).Pool(2) as pool:
            print(way, sum(pool.map(f, range(10))))
E
/usr/bin/python3 m.py";
    prints("/usr/bin/python3", script, "fork 285\nspawn 285\nforkserver 285").await;
}

async fn s6_python_speaks_over_unix_sockets() {
    let script = "cat > a.py <<'E'
import asyncio
async def serve(reader, writer):
    writer.write((await reader.readline()).upper())
    writer.close()
async def main():
    server = await asyncio.start_unix_server(serve, 's')
    reader, writer = await asyncio.open_unix_connection('s')
    writer.write(b'hello\\n')
    print((await reader.readline()).decode().strip())
    child = await asyncio.create_subprocess_exec('echo', 'child', stdout=-1)
    print((await child.communicate())[0].decode().strip())
asyncio.run(main())
E
/usr/bin/python3 a.py";
    prints("/usr/bin/python3", script, "HELLO\nchild").await;
}

async fn s6_sqlite_writes_ahead() {
    let script = "/usr/bin/python3 -c \"import sqlite3
c = sqlite3.connect('d')
print(c.execute('pragma journal_mode=wal').fetchone()[0])
c.execute('create table t(a)'); c.execute('insert into t values(42)'); c.commit()
print(sqlite3.connect('d').execute('select a from t').fetchone()[0])\"";
    prints("/usr/bin/python3", script, "wal\n42").await;
}

async fn s6_perl_reads_from_its_child() {
    let script = "perl -e 'if (my $p = open(my $k, \"-|\")) { print \"got \", <$k> } else { print 6*7 }'";
    prints("/usr/bin/perl", script, "got 42").await;
}

async fn s6_node_has_workers() {
    let script = "node -e 'const {Worker} = require(\"worker_threads\"); \
                  new Worker(\"require(`worker_threads`).parentPort.postMessage(6*7)\", {eval: true}).on(\"message\", console.log)'";
    prints("/usr/bin/node", script, "42").await;
}

crate::who::each_user!(
    s6_git_commits_and_clones,
    s6_git_shares_a_repository,
    s6_bash_substitutes_processes,
    s6_tar_restores_modes,
    s6_gcc_builds_what_runs,
    s6_python_shares_work_among_processes,
    s6_python_speaks_over_unix_sockets,
    s6_sqlite_writes_ahead,
    s6_perl_reads_from_its_child,
    s6_node_has_workers,
);
