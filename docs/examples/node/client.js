// One prediction over gRPC, with code that protoc generated from protos/. How: docs/other-languages.md.

import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import { GRPCInferenceService } from "./gen/inference/grpc_service_pb.js";

const [address = "127.0.0.1:8001"] = process.argv.slice(2);
const client = createClient(GRPCInferenceService, createGrpcTransport({ baseUrl: `http://${address}` }));

// Tensors travel as bytes: row by row, little-endian.
const flowers = [
  [5.1, 3.5, 1.4, 0.2],
  [6.7, 3.0, 5.2, 2.3],
];
const data = Buffer.alloc(4 * flowers.flat().length);
flowers.flat().forEach((value, index) => data.writeFloatLE(value, 4 * index));

const response = await client.modelInfer(
  {
    modelName: "iris",
    id: "from node",
    inputs: [{ name: "X", datatype: "FP32", shape: [2n, 4n] }],
    rawInputContents: [data],
  },
  { timeoutMs: 5000 },
);

const raw = response.rawOutputContents[response.outputs.findIndex((output) => output.name === "label")];
const labels = flowers.map((_, row) => Number(Buffer.from(raw).readBigInt64LE(8 * row)));
console.log(`${response.modelName} version ${response.modelVersion} answers ${response.id}: label ${labels}`);

// What goes wrong comes as a gRPC status, with a text that says what to change.
try {
  await client.modelInfer({ modelName: "rose" }, { timeoutMs: 5000 });
} catch (thrown) {
  const error = ConnectError.from(thrown);
  console.log(`${Code[error.code]}: ${error.rawMessage}`);
}
