// A Node.js that keeps its variables between pieces of code; node's own repl module reads and runs them.
//
// Descriptor 6 brings requests, 3 takes events: a JSON line each, as interpret.py has them. Descriptors 1 and 2 are named
// pipes whose other ends, 4 and 5, a worker reads, so that what child processes print is seen as well, and so that code
// which never comes back to the event loop is heard all the same. The worker writes every event. SIGINT interrupts the
// code that runs, and nothing else.
"use strict";
(() => {
  const fs = require("node:fs");
  const net = require("node:net");
  const repl = require("node:repl");
  const util = require("node:util");
  const readline = require("node:readline");
  const { Writable, PassThrough } = require("node:stream");
  const { Worker } = require("node:worker_threads");

  const MAX_DISPLAY = 16 * 1024 * 1024; // characters of one display, encoded
  const SHOW = Symbol.for("Jupyter.display");
  const ID_BYTES = 64;

  function reader({ shared, word, limit }) {
    const fs = require("node:fs");
    const net = require("node:net");
    const { StringDecoder } = require("node:string_decoder");
    const { parentPort } = require("node:worker_threads");
    const drained = new Int32Array(shared, 0, 1);
    const mark = Buffer.from(word);

    function write(event) {
      const id = Buffer.from(shared, 4, limit).toString("latin1").replace(/\0+$/, "");
      let rest = Buffer.from(JSON.stringify({ id, ...event }) + "\n");
      while (rest.length) rest = rest.subarray(fs.writeSync(3, rest));
    }

    function kept(data) {
      for (let length = Math.min(mark.length - 1, data.length); length > 0; length--)
        if (data.subarray(data.length - length).equals(mark.subarray(0, length))) return length;
      return 0;
    }

    function follow(fd, type) {
      const decoder = new StringDecoder("utf8");
      let pending = Buffer.alloc(0);
      new net.Socket({ fd, readable: true, writable: false }).on("data", (data) => {
        pending = Buffer.concat([pending, data]);
        const at = pending.indexOf(mark);
        const end = at < 0 ? pending.length - kept(pending) : at;
        const text = decoder.write(pending.subarray(0, end)) + (at < 0 ? "" : decoder.end());
        pending = pending.subarray(at < 0 ? end : end + mark.length);
        if (text) write({ type, text });
        if (at < 0) return;
        Atomics.add(drained, 0, 1);
        Atomics.notify(drained, 0);
      });
    }

    follow(4, "stdout");
    follow(5, "stderr");
    parentPort.on("message", write);
  }

  const shared = new SharedArrayBuffer(4 + ID_BYTES);
  const drained = new Int32Array(shared, 0, 1);
  const word = require("node:crypto").randomUUID(); // no code can print it by accident
  const worker = new Worker(`(${reader})(require("node:worker_threads").workerData)`, {
    eval: true,
    workerData: { shared, word, limit: ID_BYTES },
    stdout: false,
    stderr: false,
  });
  const send = (event) => worker.postMessage(event);

  function drain() {
    Atomics.store(drained, 0, 0);
    fs.writeSync(1, word);
    fs.writeSync(2, word);
    for (let seen = 0; (seen = Atomics.load(drained, 0)) < 2; ) Atomics.wait(drained, 0, seen);
  }

  const errors = new Writable({
    write(chunk, _encoding, done) {
      process.stderr.write(chunk, () => done());
    },
  });
  // Errors are to come back to who asked, not to the domain of a prompt that nobody sees.
  const { Domain } = require("node:domain");
  const bind = Domain.prototype.bind;
  Domain.prototype.bind = (evaluate) => evaluate;
  const server = repl.start({
    prompt: "",
    input: new PassThrough(),
    output: errors,
    terminal: false,
    useColors: false,
    useGlobal: true,
    breakEvalOnSigint: true,
  });
  Domain.prototype.bind = bind;

  let running = false;
  const interrupt = () => running && server.emit("SIGINT");
  process.on("SIGINT", interrupt);
  const complain = (error) => process.stderr.write(`Uncaught ${util.inspect(error)}\n`);
  process.on("uncaughtException", complain);
  process.on("unhandledRejection", complain);

  const encoded = (part) => (part instanceof Uint8Array ? Buffer.from(part).toString("base64") : part);
  const bundle = (data) =>
    data !== null && typeof data === "object"
      ? Object.fromEntries(Object.entries(data).map(([kind, part]) => [kind, encoded(part)]))
      : null;
  const isBundle = (value) =>
    value !== null && typeof value === "object" && Object.keys(value).length > 0 &&
    Object.keys(value).every((key) => /^[a-z]+\/\S+$/.test(key));

  // What a value that can show itself as more than text says, by kind, or a promise of it; null for any other.
  function shown(value) {
    if (value === null || value === undefined || typeof value[SHOW] !== "function") return null;
    return value[SHOW]();
  }

  function show(data, main) {
    if (JSON.stringify(data).length > MAX_DISPLAY)
      throw new RangeError(`too large to be displayed: more than ${MAX_DISPLAY >> 20} MiB`);
    send({ type: "display", data, main });
  }

  globalThis.display = (value) => {
    const said = isBundle(value) ? value : shown(value);
    const finish = (data) => show(bundle(data) ?? { "text/plain": util.inspect(value) }, false);
    return util.types.isPromise(said) ? said.then(finish) : finish(said);
  };

  function evaluate(code) {
    return new Promise((resolve) => {
      // What runs without a pause is interrupted by node itself, which leaves SIGINT to nobody afterwards.
      process.off("SIGINT", interrupt);
      server.eval(`${code}\n`, server.context, "interpreter", (error, value) => resolve({ error, value }));
      process.on("SIGINT", interrupt);
    });
  }

  function described(error) {
    const cause = error instanceof repl.Recoverable ? error.err : error;
    if (!(cause instanceof Error) && !util.types.isNativeError(cause))
      return { type: "error", name: "Error", value: util.inspect(cause), traceback: util.inspect(cause) };
    const lines = String(cause.stack ?? cause).split("\n");
    const own = lines.filter((line) => !/^\s+at (.*(node:|\[eval\])|new Promise )/.test(line));
    return { type: "error", name: cause.name, value: cause.message, traceback: own.join("\n") };
  }

  async function run({ id, code, envs }) {
    const before = { ...process.env };
    Buffer.from(shared, 4).fill(0).write(id.slice(0, ID_BYTES), "latin1");
    Object.assign(process.env, envs ?? {});
    running = true;
    let failure = null;
    let ending = "completed";
    try {
      const { error, value } = await evaluate(code);
      if (error?.code === "ERR_SCRIPT_EXECUTION_INTERRUPTED") ending = "interrupted";
      else if (error) failure = described(error);
      else if (value !== undefined) {
        const text = util.inspect(value);
        process.stdout.write(`${text}\n`);
        const rich = bundle(await shown(value));
        if (rich) show({ "text/plain": text, ...rich }, true);
      }
    } catch (error) {
      failure = described(error);
    }
    running = false;
    for (const name of Object.keys(envs ?? {}))
      if (name in before) process.env[name] = before[name];
      else delete process.env[name];
    drain();
    if (failure) send(failure);
    send({ type: "control", text: ending });
  }

  // An error that throws when it is looked at, or descriptors that the code has closed: then nothing can be told any more.
  function unable() {
    try {
      drain();
    } catch {
      process.exit(1);
    }
    running = false;
    send({ type: "error", name: "Error", value: "The error cannot be shown", traceback: "" });
    send({ type: "control", text: "completed" });
  }

  let turn = Promise.resolve();
  const requests = new net.Socket({ fd: 6, readable: true, writable: false });
  readline.createInterface({ input: requests, crlfDelay: Infinity }).on("line", (line) => {
    const request = JSON.parse(line);
    turn = turn.then(() => run(request)).catch(unable);
  });
})();
