"""One prediction over gRPC, with code that protoc generated from protos/ and nothing of Sardonyx's own."""

import struct
import sys

import grpc

from inference import grpc_service_pb2, grpc_service_pb2_grpc

address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8001"

# Tensors travel as bytes: row by row, little-endian.
flowers = [(5.1, 3.5, 1.4, 0.2), (6.7, 3.0, 5.2, 2.3)]
request = grpc_service_pb2.ModelInferRequest(model_name="iris", id="from python")
request.inputs.add(name="X", datatype="FP32", shape=[len(flowers), 4])
request.raw_input_contents.append(b"".join(struct.pack("<4f", *flower) for flower in flowers))

with grpc.insecure_channel(address) as channel:
    stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
    response = stub.ModelInfer(request, timeout=5)
    position = [output.name for output in response.outputs].index("label")
    labels = struct.unpack(f"<{len(flowers)}q", response.raw_output_contents[position])
    print(f"{response.model_name} version {response.model_version} answers {response.id}: label {labels}")

    # What goes wrong comes as a gRPC status, with a text that says what to change.
    try:
        stub.ModelInfer(grpc_service_pb2.ModelInferRequest(model_name="rose"), timeout=5)
    except grpc.RpcError as error:
        print(f"{error.code().name}: {error.details()}")
