"""The ONNX inference server that runs inside the enclave."""
