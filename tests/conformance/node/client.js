// What Node's own gRPC does with stubs made from protos/. Prints one JSON object; tests/conformance/test_grpc_js.py
// judges it.

import { readFileSync } from "node:fs";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const [address, protos] = process.argv.slice(2);
const definition = loader.loadSync("inference/grpc_service.proto", {
  includeDirs: [protos],
  keepCase: true,
  longs: String,
  defaults: true,
});
const { GRPCInferenceService } = grpc.loadPackageDefinition(definition).inference;
const credentials = grpc.credentials.createInsecure();
const plain = new GRPCInferenceService(address, credentials);
const GZIP = 2;
const squeezed = new GRPCInferenceService(address, credentials, { "grpc.default_compression_algorithm": GZIP });

const deadline = () => new Date(Date.now() + 20_000);
const call = (method, request, options = { deadline: deadline() }, client = plain) =>
  new Promise((resolve, reject) =>
    client[method](request, options, (error, response) => (error ? reject(error) : resolve(response))),
  );
const status = async (promise) => {
  try {
    await promise;
    return "OK";
  } catch (error) {
    return grpc.status[error.code];
  }
};

const floats = (values) => {
  const data = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => data.writeFloatLE(value, 4 * index));
  return data;
};
const raw = (id) => ({
  model_name: "affine",
  id,
  inputs: [{ name: "x", datatype: "FP32", shape: ["1", "4"] }],
  raw_input_contents: [floats([1, 1, 1, 1])],
});
const typed = (id) => ({
  model_name: "affine",
  id,
  inputs: [{ name: "x", datatype: "FP32", shape: ["1", "4"], contents: { fp32_contents: [1, 1, 1, 1] } }],
});
const y = (response) => response.raw_output_contents[0].readFloatLE(4);

const stream = () =>
  new Promise((resolve) => {
    const answers = [];
    const duplex = plain.ModelStreamInfer({ deadline: deadline() });
    duplex.on("data", (answer) =>
      answers.push(answer.error_message ? "error" : `${answer.infer_response.id}: ${y(answer.infer_response)}`),
    );
    duplex.on("error", (error) => resolve([...answers, grpc.status[error.code]]));
    duplex.on("end", () => resolve(answers));
    for (const request of [raw("a"), { model_name: "nobody" }, typed("b")]) {
      duplex.write(request);
    }
    duplex.end();
  });

const cancelled = () =>
  new Promise((resolve) => {
    const open = plain.ModelInfer(raw("never"), (error) => resolve(error ? grpc.status[error.code] : "OK"));
    open.cancel();
  });

const found = {
  version: JSON.parse(readFileSync(new URL("node_modules/@grpc/grpc-js/package.json", import.meta.url))).version,
  methods: Object.keys(GRPCInferenceService.service).sort(),
  live: (await call("ServerLive", {})).live,
  inputs: (await call("ModelMetadata", { name: "affine" })).inputs,
  raw: y(await call("ModelInfer", raw("raw"))),
  typed: y(await call("ModelInfer", typed("typed"))),
  gzip: y(await call("ModelInfer", raw("gzip"), undefined, squeezed)),
  id: (await call("ModelInfer", raw("my id"))).id,
  concurrent: (await Promise.all(Array.from({ length: 50 }, (_, k) => call("ModelInfer", raw(`${k}`))))).map(
    (response) => response.id,
  ),
  unknown: await status(call("ModelInfer", { model_name: "nobody" })),
  bad: await status(call("ModelInfer", { model_name: "affine" })),
  late: await status(call("ModelInfer", raw("late"), { deadline: new Date(Date.now() - 1000) })),
  cancelled: await cancelled(),
  stream: await stream(),
};
console.log(JSON.stringify(found));
plain.close();
squeezed.close();
