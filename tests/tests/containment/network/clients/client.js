// Names and ports by Node's http, fetch and net, and its two resolvers: the C library's and c-ares.
const dns = require("dns").promises;
const http = require("http");
const net = require("net");
const os = require("os");

const byHttp = (url) =>
  new Promise((done, failed) => {
    const request = http.get(url, (answer) => {
      let text = "";
      answer.on("data", (data) => (text += data));
      answer.on("end", () => done(text.trim()));
    });
    request.on("error", failed);
  });

const connect = (host, port) =>
  new Promise((done, failed) => {
    const socket = net.connect(port, host, () => done("connected"));
    socket.on("error", failed);
  });

const failure = async (attempt) => {
  const begun = Date.now();
  const code = await attempt.then(
    () => "connected",
    (error) => (error.cause ?? error).code,
  );
  console.log(code, Date.now() - begun < 1000);
};

(async () => {
  console.log(await byHttp("http://one.example/word"));
  if (globalThis.fetch) {
    console.log((await (await fetch("http://one.example/word")).text()).trim());
  } else {
    console.log(await byHttp("http://one.example/word"));
  }
  console.log((await dns.resolve4("one.example"))[0].startsWith("198.18."));
  await failure(byHttp("http://other.example/word"));
  await failure(dns.resolve4("other.example"));
  await failure(connect("one.example", 81));
  console.log(Object.keys(os.networkInterfaces())[0]);
})();
