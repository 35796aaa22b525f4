"""Depth from stereo pictures with CREStereo networks in ONNX Runtime."""
