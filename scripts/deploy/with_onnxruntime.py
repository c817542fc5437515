"""Stylize a picture with onnxruntime: python with_onnxruntime.py style.onnx photo.jpg out.png.

The model is one of `fst export MODEL -o style.onnx --uint8`.
"""

import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

model, photo, out = sys.argv[1:]
network = onnxruntime.InferenceSession(model, providers=onnxruntime.get_available_providers())
picture = ImageOps.exif_transpose(Image.open(photo)).convert("RGB")
(stylized,) = network.run(["stylized"], {"image": np.asarray(picture)[None]})
Image.fromarray(stylized[0]).save(out)
