"""Stylize a picture with OpenCV: python with_opencv.py style.onnx photo.jpg out.png.

The model is one of `fst export MODEL -o style.onnx`.
"""

import sys

import cv2

model, photo, out = sys.argv[1:]
picture = cv2.imread(photo)
if picture is None:
    sys.exit(f"{photo} is not a picture that OpenCV reads")
network = cv2.dnn.readNetFromONNX(model)
network.setInput(cv2.dnn.blobFromImage(picture, 1 / 255, swapRB=True))
(stylized,) = cv2.dnn.imagesFromBlob(network.forward())  # RGB in [0, 1]
cv2.imwrite(out, cv2.cvtColor(cv2.convertScaleAbs(stylized, alpha=255), cv2.COLOR_RGB2BGR))
