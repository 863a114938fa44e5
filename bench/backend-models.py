"""Writes ONNX's backend test models into a folder: python3 bench/backend-models.py FOLDER. Needs the onnx package."""

import os
import shutil
import sys

import onnx
from onnx.backend.test.case.node import collect_testcases

folder = sys.argv[1]
written = 0
# Some cases divide by zero on purpose while their expected outputs are computed.
for case in collect_testcases(None):
    if case.model is None:
        continue
    path = os.path.join(folder, "node", case.name)
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, "model.onnx"), "wb") as file:
        file.write(case.model.SerializeToString())
    written += 1
data = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data")
for root, _, files in os.walk(data):
    for name in files:
        if name.endswith(".onnx"):
            path = os.path.join(folder, os.path.relpath(root, data))
            os.makedirs(path, exist_ok=True)
            shutil.copy(os.path.join(root, name), path)
            written += 1
print(f"{written} models, onnx {onnx.__version__}")
