"""Stylize a picture with OpenVINO: python with_openvino.py style.onnx photo.jpg out.png.

The model is one of `fst export MODEL -o style.onnx --uint8`.
"""

import sys

import numpy as np
import openvino
from PIL import Image, ImageOps

model, photo, out = sys.argv[1:]
exact = {"INFERENCE_PRECISION_HINT": "f32"}  # without it bf16 or fp16 where they are faster
network = openvino.Core().compile_model(model, "AUTO", exact)
picture = ImageOps.exif_transpose(Image.open(photo)).convert("RGB")
stylized = network({"image": np.asarray(picture)[None]})["stylized"]
Image.fromarray(stylized[0]).save(out)
