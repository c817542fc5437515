"""Stylize a camera with OpenCV: python with_opencv_camera.py style.onnx [NUMBER, FILE or URL].

The model is one of `fst export MODEL -o style.onnx`. Any key ends it.
"""

import sys

import cv2

model, source = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "0"
network = cv2.dnn.readNetFromONNX(model)
camera = cv2.VideoCapture(int(source) if source.isdigit() else source)
while cv2.waitKey(1) < 0:
    arrived, frame = camera.read()
    if not arrived:
        break
    network.setInput(cv2.dnn.blobFromImage(frame, 1 / 255, swapRB=True))
    (stylized,) = cv2.dnn.imagesFromBlob(network.forward())  # RGB in [0, 1]
    cv2.imshow("stylized", cv2.cvtColor(stylized, cv2.COLOR_RGB2BGR))
