"""The programs that are tried, and what each has to print.

A case is a script for bash in an empty workspace, and a text that its output must hold: one that the program can only print
if it did its work. Keep each below some seconds and within the workspace and /tmp. Servers listen at 127.0.0.1, where bare cases share the ports of the
machine, so that each has another port.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """Why something does not run here: what is said of it, and the heading of SECURITY.md that names the promise."""

    text: str
    promise: str

    def linked(self):
        anchor = self.promise.lower().replace("'", "").replace(" ", "-")
        return f"[{self.text}](../SECURITY.md#{anchor})"


@dataclass(frozen=True)
class Case:
    name: str
    needs: str  # programs and files that must be there, or the case is skipped; a path may be a pattern
    script: str
    expected: str = ""
    network: bool = False  # whether it is given the host's network
    visible: str = ""  # what has to be shown, as after `--visible`
    why: Cause | None = None  # the promise, where it fails here
    # Of a suite of tests, whose script prints `PASS name` for each that passes: the causes of what passes under bubblewrap
    # and not here, by a regular expression for the names.
    suite: dict[str, Cause] | None = None


TRACE = Cause("no process may trace another", "Tracing")
SETGID = Cause("no set-group-id bit in a workspace of root's", "Set-group-id bits")
NAMESPACES = Cause("no namespaces within the confinement", "Namespaces within the confinement")
UNCOUNTED = Cause("no memory that belongs to no process, without a control group", "Memory that belongs to no process")
PROTOCOLS = Cause("no protocol but TCP and UDP", "Other protocols")

SERVE = """
cat > s.py <<'E'
import http.server, threading, subprocess, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b'served')
    def log_message(self, *a): pass
s = http.server.HTTPServer(('127.0.0.1', 0), H)
threading.Thread(target=s.serve_forever, daemon=True).start()
print(subprocess.check_output([a.replace('PORT', str(s.server_port)) for a in sys.argv[1:]], text=True))
E
"""

# Asks a server, which has just been started in the background, until it answers.
UNTIL = "for i in $(seq 100); do {} && break; sleep .1; done; kill %1"

# By a runner of its own: that of CPython ends at an error in one of its threads, and reports nothing.
CPYTHON = """cd /tmp; cat > suite.py <<'E'
import sys, unittest
from test import support
class Result(unittest.TextTestResult):
    passed = []
    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed.append(test.id())
if __name__ == '__main__':
    support.use_resources = ['cpu', 'decimal', 'subprocess', 'tzdata', 'walltime']
    tests = unittest.defaultTestLoader.loadTestsFromName('test.{0}')
    unittest.TextTestRunner(stream=open('log', 'w'), resultclass=Result).run(tests)
    for test in Result.passed:
        print('PASS', test.split('.', 2)[-1])
E
timeout 220 /usr/bin/python3 suite.py; tail -20 log >&2"""

WHEEL = r"""/usr/bin/python3 -m venv v; /usr/bin/python3 - <<'E'
import zipfile
with zipfile.ZipFile('hi-1-py3-none-any.whl', 'w') as wheel:
    wheel.writestr('hi/__init__.py', 'word=42')
    wheel.writestr('hi-1.dist-info/METADATA', 'Metadata-Version: 2.1\nName: hi\nVersion: 1\n')
    wheel.writestr('hi-1.dist-info/WHEEL', 'Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
    wheel.writestr('hi-1.dist-info/RECORD', '')
E
v/bin/pip install -q --no-index --disable-pip-version-check ./hi-1-py3-none-any.whl; v/bin/python -c 'import hi; print(hi.word)'"""

SDIST = r"""/usr/bin/python3 -m venv v; mkdir -p hi-1/hi; touch hi-1/hi/__init__.py
printf 'from setuptools import setup\nsetup(name="hi", version="1", packages=["hi"])' > hi-1/setup.py
printf 'word = 42' > hi-1/hi/__init__.py; printf 'Metadata-Version: 1.0\nName: hi\nVersion: 1\n' > hi-1/PKG-INFO
tar czf hi-1.tar.gz hi-1; rm -r hi-1
v/bin/pip install -q --no-index --no-build-isolation --disable-pip-version-check ./hi-1.tar.gz 2>&1 | tail -3; v/bin/python -c 'import hi; print(hi.word)'"""

# What a machine's owner says of certificates in pip.conf and npmrc is not shown to commands, for tokens are kept there, too.
CERTIFICATES = "export PIP_CERT=/etc/ssl/certs/ca-certificates.crt NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt; "

CHROMIUM = ("chromium --headless --disable-gpu --disable-quic --no-first-run --disable-background-networking "
            "--disable-component-update --disable-sync --user-data-dir=/tmp/u ")
PAGE = "echo '<body>six<script>document.body.append(6*7)</script></body>' > p.html; "

MARIADB = """mkdir /tmp/d; quiet="--no-defaults --datadir=/tmp/d --skip-grant-tables"
mariadbd $quiet --bootstrap --lc-messages-dir=/usr/share/mysql <<< 'create database a;' > /tmp/l 2>&1
mariadbd $quiet --skip-networking --socket=/tmp/s --pid-file=/tmp/p 2> /tmp/e & for i in $(seq 100); do mariadb --no-defaults -S /tmp/s -e 'select 1' > /dev/null 2>&1 && break; sleep .2; done
mariadb --no-defaults -S /tmp/s -Ne 'create table a.t(n int) engine=innodb; insert into a.t values(6),(7); select sum(n) from a.t; shutdown' || tail -5 /tmp/e
wait"""

CASES = [
    Case("bash", "bash", "a=(1 2 3); echo $(( ${a[1]} * 21 )) <(true) | cut -d' ' -f1; cat <<< x$(( 6 * 7 ))", "x42"),
    Case("dash", "dash", "dash -c 'trap \"echo trapped\" USR1; kill -USR1 $$; wait'", "trapped"),
    Case("coreutils", "sort", "seq 20000 | sort -R | sort -n --parallel=2 | md5sum", "e071f707df7bbeee2a6a1eb48011ddd0"),
    Case("mkfifo", "mkfifo", "mkfifo f; echo through > f & cat f", "through"),
    Case("flock", "flock", "flock lock sh -c 'flock -n lock echo both || echo excluded'", "excluded"),
    Case("git commit", "git", "git init -q r; cd r; git config user.email a@b; git config user.name a; echo 1 > f; git add f; git commit -qm one; git log --format=%s", "one"),
    Case("git clone", "git", "git init -q r; cd r; git -c user.email=a@b -c user.name=a commit -q --allow-empty -m one; cd ..; git clone -q file://$PWD/r c; git -C c log --format=%s; git -C c gc -q && echo packed", "packed"),
    Case("git init --shared", "git", "git init -q --shared=group r && cat r/.git/config | grep shared", "sharedrepository = 1", why=SETGID),
    Case("tar", "tar", "mkdir a; echo x > a/f; chmod 600 a/f; tar czf a.tgz a; mkdir b; tar xpzf a.tgz -C b; stat -c %a b/a/f", "600"),
    Case("tar with set-gid", "tar", "mkdir a b; echo x > a/f; tar cf a.tar --mode=2775 a; tar xpf a.tar -C b && cat b/a/f && echo unpacked", "unpacked", why=SETGID),
    Case("mkdir -m 2775", "mkdir", "mkdir -m 2775 d && echo made", "made", why=SETGID),
    Case("fakeroot", "fakeroot", "fakeroot sh -c 'touch f; chown 7 f; stat -c %u f'", "7", why=UNCOUNTED),
    Case("make, gcc", "make gcc", r"""echo 'int puts(const char*);int main(){puts("42");}' > m.c; printf 'm: m.c\n\tgcc -O1 -o m m.c\n' > Makefile; make -s -j2; ./m""", "42"),
    Case("g++, threads", "g++", r"""printf '#include <thread>\n#include <iostream>\nint main(){int n=0;std::thread t([&]{n=42;});t.join();std::cout<<n<<std::endl;}' > m.cc; g++ -pthread m.cc -o m && ./m""", "42"),
    Case("cargo run", "cargo gcc", "export CARGO_HOME=/tmp/cargo; cargo init -q --name hello --vcs none p; cd p; cargo run -q --offline", "Hello, world!", visible="rustup"),
    Case("cargo test", "cargo gcc", "export CARGO_HOME=/tmp/cargo; cargo init -q --lib --name hello --vcs none p; cd p; cargo test --offline 2>&1", "test result: ok. 1 passed", visible="rustup"),
    Case("cargo, from crates.io", "cargo gcc", "export CARGO_HOME=/tmp/cargo; cargo init -q --name hello --vcs none p; cd p; cargo add -q itoa; echo 'fn main(){println!(\"{}\",itoa::Buffer::new().format(6*7))}' > src/main.rs; cargo run -q", "42", network=True, visible="rustup"),
    Case("rustup", "rustup", "rustup show && rustup which rustc", "/bin/rustc", visible="rustup"),
    Case("pyenv, its python", "pyenv", "pyenv versions && python3 -c 'import sys, ssl, sqlite3; print(sys.prefix)'", "/versions/", visible="pyenv"),
    Case("nvm, its node", "node", "node -p 'process.execPath'; node -e \"const {Worker}=require('worker_threads'); new Worker('require(\\\"worker_threads\\\").parentPort.postMessage(6*7)',{eval:true}).on('message',console.log)\"", "/versions/node/", visible="nvm"),
    Case("cmake, ninja", "cmake ninja gcc", r"""printf 'cmake_minimum_required(VERSION 3.13)\nproject(a C)\nadd_executable(a a.c)\n' > CMakeLists.txt; echo 'int puts(const char*);int main(){puts("42");}' > a.c; cmake -G Ninja -B b . >/dev/null && ninja -C b >/dev/null && b/a""", "42"),
    Case("python venv, pip, wheel", "/usr/bin/python3", WHEEL, "42"),
    Case("python venv, pip, sdist", "/usr/bin/python3", SDIST, "42"),
    Case("pip, from PyPI", "/usr/bin/python3", CERTIFICATES + "/usr/bin/python3 -m venv v; v/bin/pip install -q --disable-pip-version-check six; v/bin/python -c 'import six; print(six.PY3)'", "True", network=True),
    Case("python memfd_create", "/usr/bin/python3", "/usr/bin/python3 -c \"import os; f=os.memfd_create('a'); os.write(f,b'made'); os.lseek(f,0,0); print(os.read(f,9))\"", "made", why=UNCOUNTED),
    Case("python multiprocessing", "python3", "cat > m.py <<'E'\nimport multiprocessing as m\ndef f(x): return x*x\nif __name__=='__main__':\n  for way in ('fork','spawn','forkserver'):\n    c=m.get_context(way)\n    with c.Pool(2) as p: print(way, sum(p.map(f, range(10))), c.Lock() is not None, c.Queue() is not None)\nE\npython3 m.py", "forkserver 285"),
    Case("python shared memory", "python3", "python3 -c \"from multiprocessing import shared_memory as s; a=s.SharedMemory(create=True,size=4096); b=s.SharedMemory(a.name); a.buf[0]=42; print('at',b.buf[0]); b.close(); a.close(); a.unlink()\"", "at 42"),
    Case("python asyncio", "python3", "cat > a.py <<'E'\nimport asyncio\nasync def serve(r,w):\n  w.write((await r.readline()).upper()); await w.drain(); w.close()\nasync def main():\n  s=await asyncio.start_unix_server(serve,'/tmp/s')\n  r,w=await asyncio.open_unix_connection('/tmp/s'); w.write(b'hello\\n'); print((await r.read()).decode())\n  p=await asyncio.create_subprocess_exec('echo','child',stdout=-1); print((await p.communicate())[0].decode())\n  s.close()\nasyncio.run(main())\nE\npython3 a.py", "HELLO"),
    Case("python pty", "python3", "python3 -c \"import pty; pty.spawn(['tty'])\"", "/dev/pts/"),
    Case("sqlite3", "python3", "python3 -c \"import sqlite3; c=sqlite3.connect('d'); c.execute('pragma journal_mode=wal'); c.execute('create table t(a)'); c.execute('insert into t values(42)'); c.commit(); print(sqlite3.connect('d').execute('select a from t').fetchone())\"", "(42,)"),
    Case("sqlite3 shell", "sqlite3", "sqlite3 d 'pragma journal_mode=wal; create table t(a); insert into t values(6),(7); select sum(a) from t'", "13"),
    Case("PostgreSQL, Unix socket", "pg_ctl", "mkdir /tmp/s; initdb -D /tmp/d -A trust -U me >/dev/null && pg_ctl -D /tmp/d -s -w -o \"-k /tmp/s -c listen_addresses=''\" -l /tmp/log start || cat /tmp/log; psql -h /tmp/s -U me postgres -Atc 'select 6*7'; pg_ctl -D /tmp/d -s -m fast stop", "42"),
    Case("MariaDB, Unix socket", "mariadbd mariadb", MARIADB, "13"),
    Case("PostgreSQL, TCP on loopback", "pg_ctl", "initdb -D /tmp/d -A trust -U me >/dev/null && pg_ctl -D /tmp/d -s -w -o \"-k /tmp -p 18081 -c listen_addresses=127.0.0.1\" -l /tmp/log start || cat /tmp/log; psql -h 127.0.0.1 -p 18081 -U me postgres -Atc 'select 6*7'; pg_ctl -D /tmp/d -s -m fast stop", "42"),
    Case("MariaDB, TCP on loopback", "mariadbd mariadb", MARIADB.replace("--skip-networking", "--bind-address=127.0.0.1 --port=18082").replace("-S /tmp/s", "-h 127.0.0.1 -P 18082 --protocol=tcp"), "13"),
    Case("redis, TCP on loopback", "redis-server", "redis-server --port 18083 --bind 127.0.0.1 --daemonize yes --dir /tmp > /dev/null; for i in $(seq 100); do redis-cli -p 18083 ping 2>/dev/null | grep -q PONG && break; sleep .1; done; redis-cli -p 18083 set a 42; redis-cli -p 18083 get a; redis-cli -p 18083 shutdown", "42"),
    Case("redis, Unix socket", "redis-server", "redis-server --port 0 --unixsocket /tmp/r --daemonize yes --dir /tmp > /dev/null; for i in $(seq 100); do redis-cli -s /tmp/r ping 2>/dev/null | grep -q PONG && break; sleep .1; done; redis-cli -s /tmp/r set a 42; redis-cli -s /tmp/r get a; redis-cli -s /tmp/r bgsave; redis-cli -s /tmp/r shutdown", "Background saving started"),
    Case("nginx, TCP on loopback", "nginx", "mkdir -p /tmp/n; echo served > /tmp/n/i; printf 'pid /tmp/n/p; error_log stderr; events{} http{access_log off; client_body_temp_path /tmp/n/b; proxy_temp_path /tmp/n/c; fastcgi_temp_path /tmp/n/d; uwsgi_temp_path /tmp/n/e; scgi_temp_path /tmp/n/f; server{listen 127.0.0.1:18089; root /tmp/n;}}' > c; nginx -c $PWD/c 2>&1; curl -s http://127.0.0.1:18089/i; nginx -c $PWD/c -s stop", "served"),
    Case("nginx, Unix socket", "nginx curl", "mkdir -p /tmp/n; echo served > /tmp/n/i; printf 'pid /tmp/n/p; error_log stderr; events{} http{access_log off; client_body_temp_path /tmp/n/b; proxy_temp_path /tmp/n/c; fastcgi_temp_path /tmp/n/d; uwsgi_temp_path /tmp/n/e; scgi_temp_path /tmp/n/f; server{listen unix:/tmp/n/s; root /tmp/n;}}' > c; chmod 755 /tmp/n; nginx -c $PWD/c 2>&1; curl -s --unix-socket /tmp/n/s http://x/i; nginx -c $PWD/c -s stop", "served"),
    Case("node, http and fetch", "node", "node -e \"const s=require('http').createServer((q,r)=>r.end('served')).listen(0,'127.0.0.1',async()=>{console.log(await (await fetch('http://localhost:'+s.address().port)).text()); s.close()})\"", "served"),
    Case("node worker threads", "node", "node -e \"const {Worker}=require('worker_threads'); new Worker('require(\\\"worker_threads\\\").parentPort.postMessage(6*7)',{eval:true}).on('message',m=>console.log('worker',m))\"", "worker 42"),
    Case("node child, watch", "node", "node -e \"const fs=require('fs'),c=require('child_process'); const w=fs.watch('.',(e,f)=>{console.log('saw',f); w.close()}); c.execSync('touch new')\"", "saw new"),
    Case("npm", "npm", "mkdir dep; echo '{\"name\":\"dep\",\"version\":\"1.0.0\"}' > dep/package.json; echo 'module.exports=42' > dep/index.js; echo 'console.log(require(\"dep\"))' > t.js; echo '{\"name\":\"a\",\"version\":\"1.0.0\",\"scripts\":{\"t\":\"node t.js\"}}' > package.json; export npm_config_update_notifier=false; npm install --offline --no-audit --no-fund ./dep >/dev/null && npm run -s t", "42"),
    Case("npm, from its registry", "npm", CERTIFICATES + "export npm_config_update_notifier=false; npm install --no-audit --no-fund is-number@7 2>&1 | tail -3; node -p 'require(\"is-number\")(42)'", "true", network=True),
    Case("vite build", "vite", "echo '<script type=module src=/m.js></script>' > index.html; echo 'document.title=[6,7].map(x=>x*2).join()' > m.js; vite build 2>&1; ls dist/assets", ".js"),
    Case("vite, TCP on loopback", "vite curl", "echo '<p>served</p>' > index.html; vite --host 127.0.0.1 --port 18084 > log 2>&1 & " + UNTIL.format("curl -sf http://127.0.0.1:18084/"), "served"),
    Case("Go net/http", "go", "export GOCACHE=/tmp/c GOFLAGS=-mod=mod GOTOOLCHAIN=local; go mod init a 2>/dev/null; printf 'package main\nimport(\"fmt\";\"io\";\"net/http\";\"net/http/httptest\")\nfunc main(){s:=httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter,r *http.Request){fmt.Fprint(w,\"served\")}));p,e:=http.Get(s.URL);if e!=nil{panic(e)};b,_:=io.ReadAll(p.Body);fmt.Println(string(b))}' > m.go; go run . 2>&1", "served"),
    Case("Go", "go", "export GOCACHE=/tmp/c GOFLAGS=-mod=mod GOTOOLCHAIN=local; go mod init a 2>/dev/null; printf 'package main\nfunc main(){c:=make(chan int);go func(){c<-42}();println(<-c)}' > m.go; go run . 2>&1", "42"),
    Case("javac, java", "javac", "echo 'class M{public static void main(String[] a)throws Exception{var t=new Thread(()->System.out.println(6*7));t.start();t.join();}}' > M.java; javac M.java && java -Xmx128m M", "42"),
    Case("Java HttpServer", "javac", "cat > M.java <<'E'\nimport com.sun.net.httpserver.*; import java.net.*; import java.net.http.*;\nclass M{public static void main(String[] a)throws Exception{var s=HttpServer.create(new InetSocketAddress(\"127.0.0.1\",0),0);s.createContext(\"/\",x->{x.sendResponseHeaders(200,6);x.getResponseBody().write(\"served\".getBytes());x.close();});s.start();var q=HttpRequest.newBuilder(URI.create(\"http://127.0.0.1:\"+s.getAddress().getPort())).build();System.out.println(HttpClient.newHttpClient().send(q,HttpResponse.BodyHandlers.ofString()).body());System.exit(0);}}\nE\njava -Xmx128m M.java", "served"),
    Case("mvn", "mvn", "mvn -v 2>&1", "Apache Maven"),
    Case("Mono", "mono mcs", "echo 'class A{static void Main(){var t=new System.Threading.Thread(()=>System.Console.WriteLine(6*7));t.Start();t.Join();}}' > a.cs; mcs a.cs && mono a.exe", "42"),
    Case("SBCL", "sbcl", "sbcl --noinform --non-interactive --eval '(format t \"~a~%\" (* 6 7))'", "42"),
    Case("Erlang", "erl", "erl -noshell -eval 'P=self(), spawn(fun()->P!{a,6*7} end), receive {a,X}->io:format(\"~p~n\",[X]) end, halt().'", "42"),
    Case("Erlang gen_tcp", "erl", "erl -noshell -eval '{ok,L}=gen_tcp:listen(0,[binary,{active,false},{ip,{127,0,0,1}}]),{ok,P}=inet:port(L),spawn(fun()->{ok,C}=gen_tcp:accept(L),gen_tcp:send(C,\"served\"),gen_tcp:close(C) end),{ok,S}=gen_tcp:connect({127,0,0,1},P,[binary,{active,false}]),{ok,B}=gen_tcp:recv(S,0),io:format(\"~s~n\",[B]),halt().'", "served"),
    Case("zsh", "zsh", "zsh -c 'a=(b a); sort =(print -l $a) | head -1; print $((6*7))'", "42"),
    Case("fish", "fish", "fish -c 'echo (math 6 x 7)'", "42"),
    Case("perl", "perl", "perl -MPOSIX -e 'if(my $p=open(my $k,\"-|\")){print \"got \",<$k>}else{print 6*7}'", "got 42"),
    Case("tclsh", "tclsh", "echo 'puts [exec echo [expr 6*7]]' | tclsh", "42"),
    Case("ruby", "ruby", "ruby -e 'r,w=IO.pipe; fork{w.puts 6*7}; Process.wait; w.close; puts r.read; Thread.new{puts :t}.join'", "42"),
    Case("ruby TCPServer", "ruby", "ruby -rsocket -e 's=TCPServer.new(\"127.0.0.1\",0); Thread.new{c=s.accept; c.puts \"served\"; c.close}; puts TCPSocket.new(\"127.0.0.1\",s.addr[1]).read'", "served"),
    Case("php -S", "php curl", "echo '<?php echo 6*7;' > i.php; php -S 127.0.0.1:18085 > log 2>&1 & " + UNTIL.format("curl -sf http://127.0.0.1:18085/i.php"), "42"),
    Case("php", "php", "php -r 'echo trim(shell_exec(\"echo \".(6*7))), \"\\n\";'", "42"),
    Case("lua", "lua5.4", "lua5.4 -e 'print(io.popen(\"echo \"..6*7):read(\"n\"))'", "42"),
    Case("Chromium, DOM", "chromium", PAGE + CHROMIUM + "--no-sandbox --dump-dom file://$PWD/p.html 2>/dev/null", "</script>42"),
    Case("Chromium, screenshot", "chromium file", PAGE + CHROMIUM + "--no-sandbox --screenshot=$PWD/s.png --window-size=99,99 file://$PWD/p.html >/dev/null 2>&1; file s.png", "PNG image data"),
    Case("Chromium, from a server on loopback", "chromium python3", SERVE + "python3 s.py " + CHROMIUM + "--no-sandbox --dump-dom http://127.0.0.1:PORT/ 2>/dev/null", "served"),
    Case("Chromium, in its own sandbox", "chromium", PAGE + CHROMIUM + "--dump-dom file://$PWD/p.html 2>/dev/null", "</script>42", why=NAMESPACES),
    Case("bubblewrap", "bwrap", "bwrap --unshare-all --ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64 /usr/bin/echo within", "within", why=NAMESPACES),
    Case("LibreOffice", "soffice", "echo hello > a.txt; soffice --headless --convert-to pdf a.txt >/dev/null 2>&1; head -c 5 a.pdf", "%PDF-"),
    Case("pandoc", "pandoc", "echo '# six times seven' | pandoc -t html", "six times seven</h1>"),
    Case("Graphviz", "dot file", "echo 'digraph{a->b}' | dot -Tpng -o a.png; file a.png", "PNG image data"),
    Case("ffmpeg", "ffmpeg", "ffmpeg -v error -f lavfi -i testsrc=d=1:s=64x64:r=10 -c:v mpeg4 o.mp4 && ffprobe -v error -count_frames -show_entries stream=nb_read_frames -of csv=p=0 o.mp4", "10"),
    Case("ImageMagick", "convert", "convert -size 10x20 gradient:red-blue a.png && convert a.png -rotate 90 b.jpg && identify -format '%wx%h' b.jpg", "20x10"),
    Case("tmux", "tmux", "tmux -S /tmp/t -f /dev/null new-session -d 'echo inside-$((6*7)) > out; tty >> out; tmux -S /tmp/t wait-for -S done'; timeout 20 tmux -S /tmp/t wait-for done; cat out", "inside-42"),
    Case("script", "script", "script -qec 'tty; echo $((6*7))' t </dev/null", "42"),
    Case("expect", "expect", "expect -c 'spawn sh -c {read x; echo got-$x}; send \"42\\r\"; expect got-42; puts seen'", "seen"),
    Case("Emacs", "emacs", "emacs --batch --eval '(message \"%s\" (shell-command-to-string \"echo $((6*7))\"))' 2>&1", "42"),
    Case("lynx", "lynx", "echo '<b>six</b>' > a.html; lynx -dump a.html", "six"),
    Case("screen", "screen", "export SCREENDIR=/tmp/sd; mkdir -m 700 /tmp/sd; screen -dmS a sh -c 'tty > out; echo done >> out'; for i in $(seq 50); do grep -qs done out && break; sleep .1; done; cat out", "/dev/pts/"),
    Case("vim", "vim", "printf 'a\\nb\\n' > f; vim -es -u NONE -c '%s/a/42/' -c 'wq' f; cat f", "42"),
    Case("inotifywait", "inotifywait", "(for i in $(seq 100); do touch n$i; sleep .1; done) & inotifywait -q -t 9 -e create --format seen . ; kill %1", "seen"),
    Case("gdb", "gdb gcc", "printf 'int main(){return 42;}' > m.c; gcc -g m.c -o m; gdb -q -batch -ex 'set disable-randomization off' -ex run -ex 'p $_exitcode' ./m 2>&1", "= 42", why=TRACE),
    Case("strace", "strace", "strace -e trace=write echo 42 2>&1", "write(1", why=TRACE),
    Case("valgrind", "valgrind", "valgrind -q --error-exitcode=9 echo 42", "42"),
    Case("socat", "socat", "socat UNIX-LISTEN:/tmp/s,fork EXEC:cat & for i in $(seq 50); do [ -S /tmp/s ] && break; sleep .1; done; echo 42 | socat -t2 - UNIX:/tmp/s; kill %1", "42"),
    Case("socat, TCP on loopback", "socat", "socat TCP-LISTEN:18086,bind=127.0.0.1,fork EXEC:cat & " + UNTIL.format("echo 42 | socat -t2 - TCP:127.0.0.1:18086 2> /dev/null"), "42"),
    Case("curl, loopback", "curl python3", SERVE + "python3 s.py curl -s http://127.0.0.1:PORT/", "served"),
    Case("wget, loopback", "wget python3", SERVE + "python3 s.py wget -qO- http://127.0.0.1:PORT/", "served"),
    Case("ssh-keygen", "ssh-keygen", "ssh-keygen -q -t ed25519 -N '' -f k && ssh-keygen -lf k.pub", "ED25519"),
    Case("gpg", "gpg", "export GNUPGHOME=/tmp/g; mkdir -m 700 /tmp/g; gpg -q --batch --passphrase '' --quick-gen-key a@b default default never 2>/dev/null; echo 42 | gpg -q --batch --trust-model always -er a@b | gpg -q --batch -d 2>/dev/null", "42"),
    Case("openssl", "openssl", "openssl req -x509 -newkey rsa:2048 -nodes -keyout k -out c -subj /CN=a 2>/dev/null; openssl verify -CAfile c c", "c: OK"),
    Case("openssl, TLS on loopback", "openssl curl", "openssl req -x509 -newkey rsa:2048 -nodes -keyout k -out c -subj /CN=localhost 2>/dev/null; openssl s_server -quiet -accept 127.0.0.1:18087 -cert c -key k -www > log 2>&1 & " + UNTIL.format("curl -sf --cacert c --resolve localhost:18087:127.0.0.1 https://localhost:18087/ | grep -o s_server"), "s_server"),
    Case("certificates", "openssl", "openssl x509 -noout -subject -in /etc/ssl/certs/ca-certificates.crt", "subject="),
    Case("jq", "jq", "echo '{\"a\":[6,7]}' | jq '.a[0]*.a[1]'", "42"),
    Case("rsync", "rsync", "mkdir a; echo 42 > a/f; ln -s f a/l; rsync -aH a/ b/; cat b/l", "42"),
    Case("zip, unzip", "zip unzip", "echo 42 > f; zip -q a f; rm f; unzip -qo a; cat f", "42"),
    Case("xz, zstd in threads", "xz zstd", "seq 300000 > f; xz -T2 -k -1 f; zstd -qT2 -k f; xz -dc f.xz | tail -1; zstd -dqc f.zst | tail -1 | sed s/^/z/", "z300000"),
    Case("docker client", "docker", "docker --version", "Docker version"),
    Case("dbus-run-session", "dbus-run-session", "dbus-run-session -- dbus-send --session --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.ListNames", "array ["),
    Case("whoami, id", "whoami", "test \"$(id -un)\" = \"$(whoami)\" && python3 -c 'import pwd,os; print(\"shell\", pwd.getpwuid(os.getuid()).pw_shell)'", "shell /"),
    Case("su, refused everywhere", "su", "su -c 'echo root' root </dev/null 2>&1 || echo refused", "refused"),
    Case("CPython test_subprocess", "/usr/lib/python3*/test/test_subprocess.py", CPYTHON.format("test_subprocess"), suite={}),
    Case("CPython test_socket", "/usr/lib/python3*/test/test_socket.py", CPYTHON.format("test_socket"), suite={"UDPLITE": PROTOCOLS}),
    Case("CPython test_os", "/usr/lib/python3*/test/test_os.py", CPYTHON.format("test_os"), suite={"memfd_create": UNCOUNTED, "s_isgid": SETGID}),
    Case("CPython test_signal", "/usr/lib/python3*/test/test_signal.py", CPYTHON.format("test_signal"), suite={}),
    Case("CPython test_pty", "/usr/lib/python3*/test/test_pty.py", CPYTHON.format("test_pty"), suite={}),
]
