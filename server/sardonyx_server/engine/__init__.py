"""From a request's bytes to the model's answer: signature, queue, batches, models and their states.

No gRPC and no onnxruntime here: numpy, the wire contract and the standard library. The two seams are ``call.Call``
(towards the transport) and ``session.Session`` (towards the runtime).
"""
