"""The server of Sardonyx: ONNX models over gRPC. ``app`` puts it together, ``cli`` starts it."""
