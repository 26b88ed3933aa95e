// `node client.cjs HOST:REST_PORT HOST:GRPC_PORT PROTO_FILE CASES_FILE`: Node's own fetch, and @grpc/grpc-js.
"use strict";

const assert = require("node:assert");
const fs = require("node:fs");
const zlib = require("node:zlib");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [rest, rpc, protoFile, casesFile] = process.argv.slice(2);
const cases = JSON.parse(fs.readFileSync(casesFile, "utf8"));
const { models } = cases;
const INVALID_ARGUMENT = 3;
const NOT_FOUND = 5;
const TIMEOUT_MS = 60_000;

const loaded = loader.loadSync(protoFile, { keepCase: true, longs: String, defaults: true });
const Service = grpc.loadPackageDefinition(loaded).inference.GRPCInferenceService;
const stub = new Service(rpc, grpc.credentials.createInsecure(), {
  "grpc.max_receive_message_length": -1,
  "grpc.max_send_message_length": -1,
});

const told = {};
let letter = "";

function same(what, got, expected) {
  told[letter].compared += 1;
  try {
    assert.deepStrictEqual(got, expected);
  } catch (error) {
    told[letter].different.push(`${what}: ${error.message}`.slice(0, 1500));
  }
}

function call(method, request) {
  return new Promise((resolve, reject) => {
    stub[method](request, { deadline: Date.now() + TIMEOUT_MS }, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

async function get(path) {
  const response = await fetch(`http://${rest}${path}`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  return [response.status, await response.json()];
}

async function post(path, body, headers = {}) {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const response = await fetch(`http://${rest}${path}`, { method: "POST", body, headers, signal });
  const bytes = Buffer.from(await response.arrayBuffer());
  const length = Number(response.headers.get("inference-header-content-length") ?? bytes.length);
  return { status: response.status, json: JSON.parse(bytes.subarray(0, length)), raw: bytes.subarray(length) };
}

function infer(model, request) {
  return post(`/v2/models/${model}/infer`, JSON.stringify(request));
}

function inferRaw(model, request, raw) {
  const json = Buffer.from(JSON.stringify(request));
  const headers = { "inference-header-content-length": String(json.length), "content-type": "application/octet-stream" };
  return post(`/v2/models/${model}/infer`, Buffer.concat([json, raw]), headers);
}

async function fails(what, code, part, promise) {
  try {
    await promise;
    same(what, "no error", code);
  } catch (error) {
    same(`${what} code`, error.code, code);
    same(`${what} text`, error.details.includes(part) || error.details, true);
  }
}

const x = [{ name: "x", datatype: "FP32", shape: [2], data: [1, 2] }];
const typedX = [{ name: "x", datatype: "FP32", shape: [2], contents: { fp32_contents: [1, 2] } }];
const checks = {};

checks.a = async () => {
  same("live", await get("/v2/health/live"), [200, { live: true }]);
  same("ready", await get("/v2/health/ready"), [200, { ready: true }]);
  same("model", await get(`/v2/models/${models.plus}/ready`), [200, { name: models.plus, ready: true }]);
  for (const path of [`${models.never_ready}/ready`, `${models.unknown}/ready`, `${models.versions}/versions/77/ready`]) {
    const [status, body] = await get(`/v2/models/${path}`);
    same(path, [status, typeof body.error, body.ready], [404, "string", false]);
  }
  same("ServerLive", await call("ServerLive", {}), { live: true });
  same("ServerReady", await call("ServerReady", {}), { ready: true });
  same("ModelReady", await call("ModelReady", { name: models.plus }), { ready: true });
  same("not loaded by gRPC", await call("ModelReady", { name: models.never_ready }), { ready: false });
  await fails("ModelReady of none", NOT_FOUND, models.unknown, call("ModelReady", { name: models.unknown }));
};

checks.b = async () => {
  const [status, told_] = await get(`/v2/models/${models.matrix}`);
  same("status", status, 200);
  const expected = { name: models.matrix, versions: ["1"], platform: "tensorflow_savedmodel" };
  const tensors = [[{ name: "x", datatype: "FP32", shape: [-1, 3] }], [{ name: "y", datatype: "FP32", shape: [-1, 2] }]];
  same("fetch", told_, { ...expected, inputs: tensors[0], outputs: tensors[1] });
  const texts = (one) => ({ ...one, shape: one.shape.map(String) });
  const message = await call("ModelMetadata", { name: models.matrix });
  same("gRPC", message, { ...expected, inputs: tensors[0].map(texts), outputs: tensors[1].map(texts) });
  same("server", Object.keys((await get("/v2"))[1]), ["name", "version", "extensions"]);
};

checks.c = async () => {
  const shape = cases.shape;
  for (const one of cases.types) {
    const parameters = { signature_name: one.signature };
    const raw = Buffer.from(one.raw, "hex");
    const input = { name: "x", datatype: one.datatype, shape };
    const sized = { ...input, parameters: { binary_data_size: raw.length } };
    const binary = await inferRaw(models.every_type, { parameters: { ...parameters, binary_data_output: true }, inputs: [sized] }, raw);
    same(`${one.datatype} binary`, [binary.status, binary.raw.toString("hex")], [200, one.raw]);
    const { y, ...rest_ } = Object.fromEntries(binary.json.outputs.map((output) => [output.name, output]));
    same(`${one.datatype} described`, [y.datatype, y.shape, y.parameters, rest_], [one.datatype, shape, { binary_data_size: raw.length }, {}]);
    if (!one.datatype.endsWith("64") || one.datatype === "FP64") {
      const json = await infer(models.every_type, { parameters, inputs: [{ ...input, data: one.values }] });
      same(`${one.datatype} JSON`, [json.status, json.json.outputs?.[0].data], [200, one.values]);
    }
    const message = { model_name: models.every_type, parameters: { signature_name: { string_param: one.signature } } };
    const answer = await call("ModelInfer", { ...message, inputs: [input], raw_input_contents: [raw] });
    same(`${one.datatype} gRPC`, answer.raw_output_contents[0].toString("hex"), one.raw);
  }
  const nested = { name: "x", datatype: "FP32", shape: [2, 2], data: [[1, 2], [3, 4]] };
  same("nested", (await infer(models.plus, { inputs: [nested] })).json.outputs[0].data, [2.5, 3, 3.5, 4]);
  for (const [encoding, compress] of Object.entries({ gzip: zlib.gzipSync, deflate: zlib.deflateSync })) {
    const body = compress(JSON.stringify({ inputs: x }));
    const answer = await post(`/v2/models/${models.plus}/infer`, body, { "content-encoding": encoding });
    same(encoding, [answer.status, answer.json.outputs?.[0].data], [200, [2.5, 3]]);
  }
  const row = Buffer.from(Float32Array.of(1, 2, 3).buffer);
  const bare = await post(`/v2/models/${models.matrix}/infer`, row, { "inference-header-content-length": "0" });
  same("header 0", [bare.status, bare.raw.toString("hex")], [200, Buffer.from(Float32Array.of(16, 22).buffer).toString("hex")]);
};

checks.d = async () => {
  const inputs = [
    { name: "a", datatype: "FP32", shape: [2], data: [1, 2] },
    { name: "b", datatype: "INT32", shape: [2], data: [3, -4] },
    { name: "s", datatype: "BYTES", shape: [2], data: ["päß", ""] },
  ];
  for (const [asked, expected] of [[undefined, ["echo", "product", "sum"]], [["sum", "echo"], ["sum", "echo"]]]) {
    const outputs = asked?.map((name) => ({ name }));
    const { json } = await infer(models.several, { inputs, outputs });
    same(`asked for ${asked}`, json.outputs.map((one) => one.name), expected);
    same("echo", json.outputs.find((one) => one.name === "echo").data, ["päß", ""]);
  }
  const wrong = await infer(models.several, { inputs, outputs: [{ name: "none" }] });
  same("unknown", [wrong.status, wrong.json.error.includes("none")], [400, true]);
};

checks.e = async () => {
  same("id", (await infer(models.plus, { id: "my é 7", inputs: x })).json.id, "my é 7");
  same("no id", "id" in (await infer(models.plus, { inputs: x })).json, false);
  same("number", (await infer(models.plus, { id: 7, inputs: x })).status, 400);
  const answer = await call("ModelInfer", { model_name: models.plus, id: "my é 7", inputs: typedX });
  same("gRPC", answer.id, "my é 7");
};

checks.f = async () => {
  const path = `/v2/models/${models.plus}/infer`;
  const text = JSON.stringify({ inputs: x });
  const octets = Buffer.from(text);
  const long = { "inference-header-content-length": String(octets.length + 1) };
  for (const [what, status, promise] of [
    ["model", 404, infer(models.unknown, { inputs: x })],
    ["version", 404, post(`/v2/models/${models.versions}/versions/77/infer`, text)],
    ["version's text", 404, post(`/v2/models/${models.versions}/versions/first/infer`, text)],
    ["not JSON", 400, post(path, "{")],
    ["empty", 400, post(path, "")],
    ["no inputs", 400, infer(models.plus, {})],
    ["unknown datatype", 400, infer(models.plus, { inputs: [{ ...x[0], datatype: "FP77" }] })],
    ["datatype", 400, infer(models.plus, { inputs: [{ ...x[0], datatype: "INT32" }] })],
    ["count", 400, infer(models.plus, { inputs: [{ ...x[0], shape: [3] }] })],
    ["input twice", 400, infer(models.plus, { inputs: [x[0], x[0]] })],
    ["header too long", 400, post(path, octets, long)],
    ["header not a number", 400, post(path, octets, { "inference-header-content-length": "some" })],
    ["bytes left over", 400, inferRaw(models.plus, { inputs: x }, Buffer.alloc(4))],
    ["unknown encoding", 501, post(path, octets, { "content-encoding": "zz" })],
    ["unknown path", 404, post("/v2/none", text)],
  ]) {
    const answer = await promise;
    same(what, [answer.status, Object.keys(answer.json)], [status, ["error"]]);
  }
  same("method", (await get(path))[0], 405);
  const wrong = { ...typedX[0], shape: [3] };
  await fails("gRPC model", NOT_FOUND, models.unknown, call("ModelInfer", { model_name: models.unknown, inputs: typedX }));
  await fails("gRPC count", INVALID_ARGUMENT, "3", call("ModelInfer", { model_name: models.plus, inputs: [wrong] }));
};

checks.h = async () => {
  for (const one of [cases.half, cases.brain]) {
    const input = { name: "x", datatype: one.datatype, shape: cases.shape };
    const parameters = { signature_name: one.signature };
    const raw = Buffer.from(one.raw, "hex");
    const sized = { ...input, parameters: { binary_data_size: raw.length } };
    const binary = await inferRaw(models.every_type, { parameters: { ...parameters, binary_data_output: true }, inputs: [sized] }, raw);
    same(`${one.datatype} binary`, binary.raw.toString("hex"), one.raw);
    const json = await infer(models.every_type, { parameters, inputs: [{ ...input, data: one.values }] });
    same(`${one.datatype} JSON`, json.json.outputs?.[0].data, one.values);
  }
};

checks.l = async () => {
  for (const [path, version, y] of [["", "2", 2.5], ["/versions/1", "1", 1.5], ["/labels/stable", "1", 1.5], ["/labels/canary", "2", 2.5]]) {
    const { json } = await post(`/v2/models/${models.versions}${path}/infer`, JSON.stringify({ inputs: x }));
    same(path, [json.model_version, json.outputs[0].data[0]], [version, y]);
    same(`${path} ready`, (await get(`/v2/models/${models.versions}${path}/ready`))[0], 200);
  }
  const byLabel = { model_name: models.versions, inputs: typedX, parameters: { version_label: { string_param: "stable" } } };
  same("gRPC", (await call("ModelInfer", byLabel)).model_version, "1");
};

checks.n = async () => {
  for (const [shape, data] of [[[0], []], [[2, 0], []], [[], [7]]]) {
    const { json } = await infer(models.plus, { inputs: [{ name: "x", datatype: "FP32", shape, data }] });
    same(`shape [${shape}]`, [json.outputs?.[0].shape, json.outputs?.[0].data], [shape, data.map((one) => one / 2 + 2)]);
  }
};

checks.o = async () => {
  const sent = new Float32Array(cases.large_bytes / 4).fill(1);
  const raw = Buffer.from(sent.buffer);
  const input = { name: "x", datatype: "FP32", shape: [sent.length] };
  const sized = { ...input, parameters: { binary_data_size: raw.length } };
  const expected = Buffer.from(sent.fill(2.5).buffer.slice(0));
  sent.fill(1);
  const binary = await inferRaw(models.plus, { parameters: { binary_data_output: true }, inputs: [sized] }, raw);
  same("64 MiB by fetch", [binary.status, binary.raw.equals(expected)], [200, true]);
  const answer = await call("ModelInfer", { model_name: models.plus, inputs: [input], raw_input_contents: [raw] });
  same("64 MiB by gRPC", answer.raw_output_contents[0].equals(expected), true);
};

async function main() {
  for (letter of Object.keys(checks)) {
    told[letter] = { compared: 0, different: [] };
    await checks[letter]().catch((error) => told[letter].different.push(String(error.stack).slice(-1500)));
  }
  console.log(JSON.stringify(told));
  stub.close();
}

main();
