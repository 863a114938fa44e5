"""Writes operators.json: single operators, PyTorch's outputs and gradients (float64, stored as float32).

    python3 test/golden/autodiff/make.py

Needs torch and numpy. A case names an operator, its float inputs by recipe.py, the forms in which operator sets write it, and
the gradient that comes from above, by the same recipe. Attributes: integers and strings as they are, floats in a {"float": ..}.
"""

import base64
import json
import math
import os

import numpy as np
import torch
import torch.nn.functional as F

from recipe import uniform

CASES = []
NEWEST = 26


def encode(tensor):
    data = tensor.detach().numpy().astype("<f4")
    return base64.b64encode(data.tobytes()).decode()


def attribute(value):
    if isinstance(value, float):
        return {"float": value}
    if isinstance(value, (list, tuple)) and any(isinstance(each, float) for each in value):
        return {"floats": [float(each) for each in value]}
    return list(value) if isinstance(value, tuple) else value


def ints(*values):
    return {"ints": list(values)}


def int_scalar(value):
    return {"ints": [value], "dims": []}


def floats(*values):
    return {"floats": list(values)}


def float_scalar(value):
    return {"floats": [value], "dims": []}


def form(opsets, inputs=None, **attributes):
    """Operator sets, inputs (numbers are indices into the case's data; None is an absent one; default: the data), attributes."""
    made = {"opsets": list(opsets)}
    if inputs is not None:
        made["inputs"] = inputs
    if attributes:
        made["attributes"] = {name: attribute(value) for name, value in attributes.items()}
    return made


def case(op, name, shapes, f, forms, low=-1.0, high=1.0, fixed=(), unused=()):
    """
    shapes: of the data, each a shape or (shape, low, high). f: the data to the output or outputs.
    fixed: indices of data without gradient. unused: indices of outputs that the loss does not see.
    """
    seed = 1 + sum(map(ord, op + name)) % 1000
    data, recipes = [], []
    for i, shape in enumerate(shapes):
        dims, a, b = shape if isinstance(shape, tuple) else (shape, low, high)
        recipes.append({"dims": list(dims), "seed": seed + i, "range": [a, b]})
        values = torch.tensor(uniform(dims, seed + i, a, b).astype(np.float64))
        data.append(values.requires_grad_(i not in fixed))
    outputs = f(*data)
    outputs = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
    loss, ups = 0, []
    for i, output in enumerate(outputs):
        dims = list(output.shape)
        ups.append(None if i in unused else {"dims": dims, "seed": seed + 100 + i, "range": [-1, 1]})
        if i not in unused:
            loss = loss + (output * torch.tensor(uniform(dims, seed + 100 + i).astype(np.float64))).sum()
    loss.backward()
    CASES.append(
        {
            "op": op,
            "name": name,
            "data": recipes,
            "forms": forms,
            "upstream": ups,
            "y": [encode(output) for output in outputs],
            "grads": [None if i in fixed else encode(x.grad) for i, x in enumerate(data)],
        }
    )


def since(version):
    """A few operator sets from a version on: before and after the changes that touch what gradients are written in."""
    return [opset for opset in (7, 9, 11, 13, NEWEST) if opset >= version]


ALL = since(7)


# Functions of each element


def unary(op, f, name="", low=-4.0, high=4.0, start=7, opsets=None, inputs=None, **attributes):
    case(op, name, [[3, 8]], f, [form(opsets or since(start), inputs, **attributes)], low, high)


def activations():
    unary("Relu", torch.relu)
    unary("LeakyRelu", lambda x: F.leaky_relu(x, 0.01))
    unary("LeakyRelu", lambda x: F.leaky_relu(x, 0.3), "alpha", alpha=0.3)
    unary("Elu", F.elu)
    unary("Elu", lambda x: F.elu(x, 0.7), "alpha", alpha=0.7)
    unary("Selu", F.selu)
    unary("Selu", lambda x: 1.2 * F.elu(x, 0.9), "alpha and gamma", alpha=0.9, gamma=1.2)
    unary("Sigmoid", torch.sigmoid)
    unary("HardSigmoid", lambda x: torch.clamp(0.2 * x + 0.5, 0, 1))
    unary("HardSigmoid", F.hardsigmoid, "alpha", alpha=1 / 6)
    unary("HardSigmoid", lambda x: torch.clamp(0.4 * x + 0.3, 0, 1), "alpha and beta", alpha=0.4, beta=0.3)
    unary("HardSwish", F.hardswish, start=14, opsets=[14, NEWEST])
    unary("Mish", F.mish, opsets=[18, NEWEST])
    unary("Tanh", torch.tanh)
    unary("Gelu", F.gelu, opsets=[20, NEWEST])
    unary("Gelu", lambda x: F.gelu(x, approximate="tanh"), "tanh", opsets=[20, NEWEST], approximate="tanh")
    unary("Softplus", F.softplus)
    unary("Softsign", F.softsign)
    unary("ThresholdedRelu", lambda x: F.threshold(x, 1, 0), opsets=[10, NEWEST])
    unary("ThresholdedRelu", lambda x: F.threshold(x, 0.4, 0), "alpha", opsets=[10, NEWEST], alpha=0.4)
    unary("Celu", lambda x: F.celu(x, 0.6), opsets=[12, NEWEST], alpha=0.6)
    unary("Erf", torch.erf, start=9, low=-2.0, high=2.0)
    unary("Exp", torch.exp, low=-2.0, high=2.0)
    unary("Log", torch.log, low=0.3, high=3.0)
    unary("Sqrt", torch.sqrt, low=0.3, high=3.0)
    unary("Reciprocal", torch.reciprocal, low=0.3, high=3.0)
    unary("Reciprocal", torch.reciprocal, "negative", low=-3.0, high=-0.3)
    unary("Neg", torch.neg)
    unary("Abs", torch.abs)
    unary("Sin", torch.sin)
    unary("Cos", torch.cos)
    unary("Identity", lambda x: x * 1)
    unary("Dropout", lambda x: x * 1, "ratio as attribute", opsets=[7, 10], ratio=0.3)
    unary("Dropout", lambda x: x * 1, "ratio as input", opsets=[12, 13, NEWEST], inputs=[0, float_scalar(0.3)])
    unary("Cast", lambda x: x * 1, "to its own type", to=1)
    old, new = [7, 9, 10], [11, 12, 13, NEWEST]
    unary("Clip", lambda x: x.clamp(-1, 2), "both, attributes", opsets=old, min=-1.0, max=2.0)
    unary("Clip", lambda x: x.clamp(min=-1), "min, attribute", opsets=old, min=-1.0)
    unary("Clip", lambda x: x.clamp(max=2), "max, attribute", opsets=old, max=2.0)
    unary("Clip", lambda x: x * 1, "no attribute", opsets=old)
    unary("Clip", lambda x: x.clamp(0, 6), "both", opsets=new, inputs=[0, float_scalar(0.0), float_scalar(6.0)])
    unary("Clip", lambda x: x.clamp(min=-1), "min", opsets=new, inputs=[0, float_scalar(-1.0)])
    unary("Clip", lambda x: x.clamp(max=2), "max", opsets=new, inputs=[0, None, float_scalar(2.0)])
    unary("Clip", lambda x: x * 1, "neither", opsets=new, inputs=[0])


# Operators that broadcast

PAIRS = {
    "same": ([2, 3, 4], [2, 3, 4]),
    "right column": ([2, 3, 4], [3, 1]),
    "left row": ([4], [2, 3, 4]),
    "left scalar": ([], [2, 3]),
    "right scalar": ([2, 3], []),
    "both": ([1, 3, 1], [2, 1, 4]),
    "leading 1s": ([1, 1, 3], [2, 3]),
    "right of one": ([2, 3], [1]),
}


def elementwise():
    functions = {
        "Add": torch.add,
        "Sub": torch.sub,
        "Mul": torch.mul,
        "Div": torch.div,
        "Pow": torch.pow,
        "Max": torch.maximum,
        "Min": torch.minimum,
    }
    for op, f in functions.items():
        for name, (a, b) in PAIRS.items():
            start = 8 if op in ("Max", "Min") and name != "same" else 7
            if op in ("Div", "Pow"):
                case(op, name, [(a, 0.4, 2.0), (b, 0.4, 2.0)], f, [form(since(start))])
            else:
                case(op, name, [a, b], f, [form(since(start))])
    case("Div", "negative denominator", [[2, 3], ([2, 3], -2.0, -0.4)], torch.div, [form(ALL)])
    case("Pow", "exponent 2", [[2, 6]], lambda x: x**2, [form(ALL, [0, float_scalar(2.0)])])
    case("Pow", "exponent 3", [[2, 6]], lambda x: x**3, [form(ALL, [0, floats(3.0)])])
    case("Pow", "exponent 0.5", [([2, 6], 0.3, 2.0)], lambda x: x**0.5, [form(ALL, [0, float_scalar(0.5)])])
    case("Pow", "exponent -1", [([2, 6], 0.3, 2.0)], lambda x: x**-1, [form(ALL, [0, float_scalar(-1.0)])])
    case("Pow", "exponents 0, 1, 2", [[2, 3]], lambda x: x ** torch.tensor([0.0, 1.0, 2.0]), [form(ALL, [0, floats(0.0, 1.0, 2.0)])])
    case("Pow", "integer exponent", [[2, 6]], lambda x: x**2, [form([12, 13, NEWEST], [0, int_scalar(2)])])
    case("Pow", "integer exponents", [[2, 3]], lambda x: x ** torch.tensor([1.0, 2.0, 3.0]), [form([12, 13, NEWEST], [0, ints(1, 2, 3)])])
    variadic()
    choices()


def variadic():
    same, mixed = [[2, 3]] * 3, [[2, 3], [3], [2, 1], []]
    functions = {
        "Sum": lambda *xs: sum(xs),
        "Mean": lambda *xs: sum(xs) / len(xs),
        "Max": lambda *xs: torch.stack(torch.broadcast_tensors(*xs)).amax(0),
        "Min": lambda *xs: torch.stack(torch.broadcast_tensors(*xs)).amin(0),
    }
    for op, f in functions.items():
        case(op, "three", same, f, [form(ALL)])
        case(op, "four broadcast", mixed, f, [form(since(8))])
        case(op, "one", [[2, 3]], lambda x: x * 1, [form(ALL)])


def choices():
    condition = torch.tensor([[True, False, True], [False, False, True]])
    bools = {"bools": [1, 0, 1, 0, 0, 1], "dims": [2, 3]}
    row = {"bools": [1, 0, 1], "dims": [3]}
    case("Where", "same", [[2, 3], [2, 3]], lambda a, b: torch.where(condition, a, b), [form(since(9), [bools, 0, 1])])
    case("Where", "broadcast", [[1, 3], [4, 2, 1]], lambda a, b: torch.where(condition, a, b), [form(since(9), [bools, 0, 1])])
    case("Where", "condition broadcast", [[2, 3], []], lambda a, b: torch.where(condition[0], a, b), [form(since(9), [row, 0, 1])])
    slopes = {"channel": [3, 1, 1], "one": [1], "columns": [4], "rows and columns": [2, 4], "full": [2, 3, 2, 4], "leading 1": [1, 3, 1, 1]}
    for name, slope in slopes.items():
        case("PRelu", name, [[2, 3, 2, 4], slope], lambda x, s: torch.where(x > 0, x, s * x), [form(ALL)])
    case("Expand", "rows", [[3, 1]], lambda x: x.expand(3, 4), [form(since(8), [0, ints(3, 4)])])
    case("Expand", "new axes", [[3, 1]], lambda x: x.expand(2, 3, 4), [form(since(8), [0, ints(2, 1, 4)])])
    case("Expand", "scalar", [[]], lambda x: x.expand(2, 3), [form(since(8), [0, ints(2, 3)])])


# Matrix products


def products():
    for transA in (0, 1):
        for transB in (0, 1):
            a, b = ([3, 2] if transA else [2, 3]), ([4, 3] if transB else [3, 4])

            def f(x, w, c, transA=transA, transB=transB):
                return 0.7 * (x.T if transA else x) @ (w.T if transB else w) + 1.3 * c

            attributes = dict(alpha=0.7, beta=1.3, transA=transA, transB=transB)
            case("Gemm", f"transA {transA} transB {transB}", [a, b, [4]], f, [form(ALL, **attributes)])
    for name, c in {"[N]": [4], "[1, N]": [1, 4], "[M, 1]": [2, 1], "[M, N]": [2, 4], "[1]": [1], "scalar": []}.items():
        case("Gemm", f"C {name}", [[2, 3], [3, 4], c], lambda x, w, c: x @ w + c, [form(ALL)])
    case("Gemm", "no C", [[2, 3], [3, 4]], lambda x, w: 2 * x @ w, [form(since(11), alpha=2.0)])
    shapes = {
        "matrices": ([2, 3], [3, 4]),
        "stacks": ([2, 2, 3], [2, 3, 2]),
        "vectors": ([3], [3]),
        "row": ([3], [3, 4]),
        "column": ([2, 3], [3]),
        "row and stack": ([3], [2, 3, 2]),
        "stack and column": ([2, 2, 3], [3]),
        "stack and matrix": ([2, 2, 3], [3, 2]),
        "matrix and stack": ([2, 3], [2, 3, 2]),
        "deep stack and matrix": ([2, 1, 2, 3], [3, 2]),
        "broadcast stacks": ([2, 1, 2, 3], [3, 3, 2]),
        "matrix and stack of one": ([2, 3], [1, 3, 2]),
        "stacks of one": ([1, 2, 3], [2, 3, 2]),
        "stacks of one on the right": ([2, 2, 3], [1, 3, 2]),
    }
    for name, (a, b) in shapes.items():
        case("MatMul", name, [a, b], torch.matmul, [form(ALL)])
    equations = {
        "ij,jk->ik": ([2, 3], [3, 4]),
        "bij,bkj->bik": ([2, 2, 3], [2, 4, 3]),
        "bhqd,bhkd->bhqk": ([2, 2, 2, 3], [2, 2, 3, 3]),
        "bchw,bcH->bwhH": ([1, 2, 2, 3], [1, 2, 2]),
    }
    for equation, (a, b) in equations.items():
        case("Einsum", equation, [a, b], lambda x, y, e=equation: torch.einsum(e, x, y), [form([12, NEWEST], equation=equation)])


# Convolutions


def same_pads(size, kernel, strides, dilations, upper):
    begin, end = [], []
    for n, k, s, d in zip(size, kernel, strides, dilations):
        total = max(0, (math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n)
        small, large = total // 2, total - total // 2
        begin.append(small if upper else large)
        end.append(large if upper else small)
    return begin + end


def padded(x, pads, value=0.0):
    """ONNX's order (all beginnings, all ends, of the last axes) to PyTorch's; negative ones crop."""
    n = len(pads) // 2
    order = [amount for axis in reversed(range(n)) for amount in (pads[axis], pads[axis + n])]
    return F.pad(x, order, value=value)


CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def conv(name, kernel, size, strides=None, dilations=None, pads=None, group=1, C=2, M=3, N=2, bias=True, auto=None, opsets=(7, 10, NEWEST)):
    n = len(kernel)
    strides, dilations = strides or [1] * n, dilations or [1] * n
    attributes = dict(kernel_shape=kernel)
    if strides != [1] * n:
        attributes["strides"] = strides
    if dilations != [1] * n:
        attributes["dilations"] = dilations
    if group != 1:
        attributes["group"] = group
    if auto is not None:
        attributes["auto_pad"] = auto
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        real = same_pads(size, kernel, strides, dilations, auto == "SAME_UPPER")
    else:
        real = pads or [0] * (2 * n)
        if pads is not None:
            attributes["pads"] = pads

    def f(x, w, b=None):
        return CONV[n](padded(x, real), w, b, strides, 0, dilations, group)

    shapes = [[N, C, *size], [M, C // group, *kernel]] + ([[M]] if bias else [])
    case("Conv", name, shapes, f, [form(opsets, **attributes)])


def convolutions():
    conv("3x3", [3, 3], [5, 4], pads=[1, 1, 1, 1], opsets=ALL)
    conv("no bias", [3, 3], [4, 5], bias=False)
    conv("stride 2", [3, 3], [6, 5], strides=[2, 2], pads=[1, 1, 1, 1], opsets=ALL)
    conv("stride 3", [3, 3], [7, 8], strides=[3, 3], pads=[1, 1, 1, 1])
    conv("mixed strides", [3, 2], [6, 5], strides=[2, 1], pads=[1, 0, 1, 1])
    conv("other mixed strides", [2, 3], [4, 7], strides=[1, 3])
    conv("dilated", [3, 3], [6, 7], dilations=[2, 2], pads=[2, 2, 2, 2])
    conv("dilated and strided", [3, 2], [8, 7], dilations=[1, 3], strides=[2, 2], pads=[1, 1, 1, 2])
    conv("groups", [3, 3], [4, 5], group=2, C=4, M=6, pads=[1, 1, 1, 1])
    conv("groups, strided", [3, 3], [5, 6], group=2, C=4, M=6, strides=[2, 2], pads=[1, 1, 1, 1])
    conv("depthwise", [3, 3], [5, 4], group=3, C=3, M=3, pads=[1, 1, 1, 1])
    conv("depthwise, multiplier 2", [3, 3], [5, 4], group=3, C=3, M=6, pads=[1, 1, 1, 1])
    conv("depthwise, multiplier 2, strided", [3, 3], [5, 6], group=3, C=3, M=6, strides=[2, 2], pads=[1, 1, 1, 1])
    conv("1x1", [1, 1], [3, 4], C=3)
    conv("1x1 strided", [1, 1], [5, 4], strides=[2, 2], C=3)
    conv("asymmetric pads", [3, 3], [4, 5], pads=[0, 1, 2, 0])
    conv("asymmetric pads, strided", [3, 3], [6, 5], strides=[2, 2], pads=[0, 1, 2, 0])
    conv("pads as wide as the kernel", [2, 3], [4, 3], pads=[2, 3, 2, 3])
    conv("pads as wide as the kernel, strided", [2, 2], [4, 3], strides=[2, 3], pads=[2, 2, 2, 2])
    for auto in ("SAME_UPPER", "SAME_LOWER"):
        conv(f"{auto}", [3, 3], [4, 5], auto=auto)
        conv(f"{auto} even kernel", [4, 2], [5, 4], auto=auto)
        conv(f"{auto} strided", [3, 3], [6, 5], strides=[2, 2], auto=auto)
        conv(f"{auto} stride above kernel", [2, 2], [7, 6], strides=[3, 3], auto=auto)
    conv("VALID", [3, 3], [5, 5], strides=[2, 1], auto="VALID")
    conv("1x7", [1, 7], [3, 8], pads=[0, 3, 0, 3])
    conv("7x1", [7, 1], [8, 3], pads=[3, 0, 3, 0])
    conv("5x5", [5, 5], [6, 5], pads=[2, 2, 2, 2])
    conv("4x4", [4, 4], [6, 5], pads=[1, 2, 2, 1])
    conv("2x2 strided", [2, 2], [6, 5], strides=[2, 2])
    conv("stride leaves a remainder", [3, 3], [8, 9], strides=[3, 4])
    conv("stride above kernel", [2, 1], [8, 7], strides=[3, 3])
    conv("kernel as large as the input", [4, 3], [4, 3])
    conv("batch 1", [3, 3], [4, 4], pads=[1, 1, 1, 1], N=1)
    conv("batch 1, strided groups", [3, 3], [5, 5], strides=[2, 2], N=1, group=2, C=4, M=2)
    conv("1-D", [3], [7], pads=[1, 1])
    conv("1-D strided and dilated", [3], [12], strides=[2], dilations=[2], pads=[2, 1])
    conv("1-D groups", [4], [9], strides=[3], group=2, C=4, M=4)
    conv("3-D", [2, 3, 2], [3, 4, 3], pads=[0, 1, 1, 1, 1, 0])
    conv("3-D strided groups", [3, 2, 2], [5, 4, 3], strides=[2, 1, 2], group=2, pads=[1, 0, 0, 1, 1, 0], M=2)


def conv_transpose(name, kernel, size, strides=None, dilations=None, pads=None, group=1, C=2, M=3, N=2, extra=None, bias=True, auto=None, output_shape=None):
    """M: output channels of a group."""
    n = len(kernel)
    strides, dilations = strides or [1] * n, dilations or [1] * n
    attributes = dict(kernel_shape=kernel)
    if strides != [1] * n:
        attributes["strides"] = strides
    if dilations != [1] * n:
        attributes["dilations"] = dilations
    if group != 1:
        attributes["group"] = group
    extra = extra or [0] * n
    if any(extra):
        attributes["output_padding"] = extra
    full = [(i - 1) * s + (k - 1) * d + 1 + e for i, s, k, d, e in zip(size, strides, kernel, dilations, extra)]
    begin, end = [0] * n, [0] * n
    if output_shape is not None:
        attributes["output_shape"] = output_shape
    if auto is not None:
        attributes["auto_pad"] = auto
    if output_shape is not None or auto is not None:
        wanted = output_shape or [i * s for i, s in zip(size, strides)]
        for axis in range(n):
            total = max(0, full[axis] - wanted[axis])
            small, large = total // 2, total - total // 2
            begin[axis], end[axis] = (small, large) if auto == "SAME_UPPER" else (large, small)
            full[axis] = max(full[axis], wanted[axis])
    elif pads is not None:
        attributes["pads"] = pads
        begin, end = pads[:n], pads[n:]

    def f(x, w, b=None):
        y = CONV_TRANSPOSE[n](x, w, None, strides, 0, 0, group, dilations)
        y = padded(y, [0] * n + [whole - have for whole, have in zip(full, y.shape[2:])])
        y = padded(y, [-amount for amount in [*begin, *end]])
        return y if b is None else y + b.reshape(-1, *[1] * n)

    shapes = [[N, C, *size], [C, M, *kernel]] + ([[M * group]] if bias else [])
    case("ConvTranspose", name, shapes, f, [form([7, 10, NEWEST], **attributes)])


def transposed_convolutions():
    conv_transpose("3x3", [3, 3], [3, 4], pads=[1, 1, 1, 1])
    conv_transpose("no bias", [2, 3], [3, 4], bias=False)
    conv_transpose("stride 2, kernel 2", [2, 2], [3, 2], strides=[2, 2])
    conv_transpose("stride 2, output padding", [3, 3], [3, 4], strides=[2, 2], pads=[1, 1, 1, 1], extra=[1, 1])
    conv_transpose("stride above kernel, output padding", [1, 2], [3, 2], strides=[3, 3], extra=[2, 1])
    conv_transpose("groups", [3, 3], [3, 3], strides=[2, 2], group=2, C=4, M=2, pads=[1, 1, 1, 1])
    conv_transpose("depthwise", [4, 4], [3, 3], strides=[2, 2], group=3, C=3, M=1, pads=[1, 1, 1, 1])
    conv_transpose("dilated", [2, 3], [3, 4], dilations=[2, 2], pads=[1, 0, 0, 1])
    conv_transpose("asymmetric pads", [3, 3], [4, 3], strides=[2, 1], pads=[0, 1, 2, 0])
    conv_transpose("output shape", [3, 3], [3, 4], strides=[2, 2], output_shape=[6, 8])
    conv_transpose("odd output shape", [4, 3], [3, 3], strides=[2, 2], output_shape=[5, 6])
    for auto in ("SAME_UPPER", "SAME_LOWER"):
        conv_transpose(auto, [3, 4], [3, 3], strides=[2, 2], auto=auto)
        conv_transpose(f"{auto} stride 1", [2, 4], [3, 4], auto=auto)
    conv_transpose("1-D", [3], [5], strides=[2], pads=[1, 0])
    conv_transpose("3-D", [2, 3, 2], [2, 2, 3], strides=[2, 1, 2], pads=[0, 1, 0, 0, 0, 1])


# Pooling

MAX_POOL = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


def pool_size(size, kernel, strides, dilations, pads, ceil):
    n, out = len(size), []
    for i in range(n):
        steps = (size[i] + pads[i] + pads[i + n] - (kernel[i] - 1) * dilations[i] - 1) / strides[i]
        count = (math.ceil(steps) if ceil else math.floor(steps)) + 1
        # A window must start inside the input or its first padding.
        out.append(count - 1 if ceil and (count - 1) * strides[i] >= size[i] + pads[i] else count)
    return out


def overhang(size, kernel, strides, dilations, pads, out):
    """How far the last window reaches over the padded end."""
    n = len(size)
    reach = [(out[i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 for i in range(n)]
    return [max(0, reach[i] - size[i] - pads[i] - pads[i + n]) for i in range(n)]


def pooling_setup(kernel, size, strides, dilations, pads, ceil, auto, extra):
    n = len(kernel)
    strides, dilations = strides or [1] * n, dilations or [1] * n
    attributes = dict(kernel_shape=kernel, strides=strides, **extra)
    if dilations != [1] * n:
        attributes["dilations"] = dilations
    if ceil:
        attributes["ceil_mode"] = 1
    if auto is not None:
        attributes["auto_pad"] = auto
        real = same_pads(size, kernel, strides, dilations, auto == "SAME_UPPER") if auto != "VALID" else [0] * (2 * n)
    else:
        real = pads or [0] * (2 * n)
        if pads:
            attributes["pads"] = pads
    out = pool_size(size, kernel, strides, dilations, real, ceil)
    over = overhang(size, kernel, strides, dilations, real, out)
    return n, strides, dilations, attributes, real, out, over


def max_pool(name, kernel, size, strides=None, dilations=None, pads=None, ceil=False, auto=None, N=2, C=2, opsets=None):
    n, strides, dilations, attributes, real, out, over = pooling_setup(kernel, size, strides, dilations, pads, ceil, auto, {})

    def f(x):
        wide = padded(x, [*real[:n], *(end + more for end, more in zip(real[n:], over))], float("-inf"))
        y = MAX_POOL[n](wide, kernel, strides, 0, dilations)
        return y[(..., *[slice(0, length) for length in out])]

    case("MaxPool", name, [[N, C, *size]], f, [form(opsets or ([10, 12, NEWEST] if ceil or dilations != [1] * n else ALL), **attributes)])


def average_pool(name, kernel, size, strides=None, dilations=None, pads=None, ceil=False, auto=None, include=0, N=2, C=2, opsets=None):
    extra = {"count_include_pad": 1} if include else {}
    n, strides, dilations, attributes, real, out, over = pooling_setup(kernel, size, strides, dilations, pads, ceil, auto, extra)
    ones = torch.ones(1, 1, *kernel, dtype=torch.float64)

    def summed(x, inner):
        wide = padded(padded(x, real, inner), [0] * n + over)
        flat = wide.reshape(-1, 1, *wide.shape[2:])
        y = CONV[n](flat, ones, None, strides, 0, dilations)
        return y.reshape(*x.shape[:2], *y.shape[2:])[(..., *[slice(0, length) for length in out])]

    def f(x):
        return summed(x, 0.0) / summed(torch.ones_like(x), float(include))

    case("AveragePool", name, [[N, C, *size]], f, [form(opsets or ([10, 11, 19, NEWEST] if ceil else ALL), **attributes)])


def pooling():
    max_pool("2x2", [2, 2], [4, 4], strides=[2, 2])
    max_pool("2x2 with a remainder", [2, 2], [5, 5], strides=[2, 2])
    max_pool("3x3 stride 2", [3, 3], [7, 6], strides=[2, 2])
    max_pool("3x3 stride 2, padded", [3, 3], [6, 5], strides=[2, 2], pads=[1, 1, 1, 1])
    max_pool("3x3 stride 1", [3, 3], [4, 5], pads=[1, 1, 1, 1])
    max_pool("5x5 stride 1 (spatial pyramid)", [5, 5], [5, 4], pads=[2, 2, 2, 2])
    max_pool("asymmetric", [2, 3], [5, 5], strides=[1, 2], pads=[0, 1, 1, 0])
    max_pool("stride above kernel", [2, 2], [7, 8], strides=[3, 3])
    max_pool("kernel 1, stride 2", [1, 1], [4, 5], strides=[2, 2])
    max_pool("one window", [4, 3], [4, 3])
    max_pool("SAME_UPPER", [3, 3], [5, 6], strides=[2, 2], auto="SAME_UPPER")
    max_pool("SAME_LOWER", [2, 2], [5, 4], strides=[1, 1], auto="SAME_LOWER")
    max_pool("VALID", [3, 2], [6, 5], strides=[2, 2], auto="VALID")
    max_pool("ceil", [3, 3], [6, 6], strides=[2, 2], ceil=True)
    max_pool("ceil, padded", [3, 3], [7, 6], strides=[2, 2], pads=[1, 1, 1, 1], ceil=True)
    # Before operator set 22 the standard's own shape inference counts one window too many.
    max_pool("ceil, window beyond the end", [2, 2], [5, 5], strides=[3, 3], pads=[1, 1, 1, 1], ceil=True, opsets=[22, NEWEST])
    max_pool("dilated", [2, 2], [6, 5], dilations=[2, 3])
    max_pool("dilated, strided, padded", [3, 2], [8, 7], strides=[2, 2], dilations=[2, 2], pads=[1, 1, 1, 1])
    max_pool("batch 1", [2, 2], [4, 5], strides=[2, 1], N=1, C=3)
    max_pool("1-D", [3], [8], strides=[2], pads=[1, 1])
    max_pool("3-D", [2, 2, 2], [3, 4, 4], strides=[1, 2, 2])
    average_pool("2x2", [2, 2], [4, 4], strides=[2, 2])
    average_pool("2x2 with a remainder", [2, 2], [5, 5], strides=[2, 2])
    average_pool("3x3 stride 2, padded", [3, 3], [6, 5], strides=[2, 2], pads=[1, 1, 1, 1])
    average_pool("3x3 stride 2, padding counts", [3, 3], [6, 5], strides=[2, 2], pads=[1, 1, 1, 1], include=1)
    average_pool("3x3 stride 1, padded", [3, 3], [4, 4], pads=[1, 1, 1, 1])
    average_pool("asymmetric, padding counts", [2, 3], [5, 4], strides=[1, 2], pads=[0, 1, 1, 2], include=1)
    average_pool("stride above kernel", [2, 2], [7, 8], strides=[3, 3])
    average_pool("SAME_UPPER", [3, 3], [5, 6], strides=[2, 2], auto="SAME_UPPER")
    average_pool("SAME_LOWER", [2, 2], [5, 4], strides=[1, 1], auto="SAME_LOWER")
    average_pool("SAME_UPPER, padding counts", [3, 3], [5, 6], strides=[2, 2], auto="SAME_UPPER", include=1)
    average_pool("VALID", [3, 2], [6, 5], strides=[2, 2], auto="VALID")
    average_pool("ceil", [3, 3], [6, 6], strides=[2, 2], ceil=True)
    average_pool("ceil, padded", [3, 3], [6, 7], strides=[2, 2], pads=[1, 1, 1, 1], ceil=True)
    average_pool("ceil, padding counts", [3, 3], [6, 7], strides=[2, 2], pads=[1, 1, 1, 1], ceil=True, include=1)
    average_pool("dilated", [2, 2], [6, 5], dilations=[2, 3], opsets=[19, NEWEST])
    average_pool("dilated, padded", [2, 2], [6, 5], strides=[2, 1], dilations=[2, 3], pads=[1, 1, 1, 1], opsets=[19, NEWEST])
    average_pool("batch 1", [2, 2], [4, 5], strides=[2, 1], N=1, C=3)
    average_pool("1-D", [3], [8], strides=[2], pads=[1, 1])
    average_pool("3-D", [2, 2, 2], [3, 4, 4], strides=[1, 2, 2])
    for op, f in {"GlobalAveragePool": torch.mean, "GlobalMaxPool": torch.amax}.items():
        case(op, "2-D", [[2, 3, 2, 3]], lambda x, f=f: f(x, (2, 3), keepdim=True), [form(ALL)])
        case(op, "1-D", [[2, 3, 4]], lambda x, f=f: f(x, (2,), keepdim=True), [form(ALL)])
        case(op, "3-D", [[2, 2, 2, 2, 3]], lambda x, f=f: f(x, (2, 3, 4), keepdim=True), [form(ALL)])


# Normalisation


def normalisation():
    for name, shape in {"images": [2, 3, 2, 2], "vectors": [4, 3], "1-D": [2, 3, 4]}.items():
        vectors = [([3], 0.5, 1.5), [3], [3], ([3], 0.4, 2.0)]

        def f(x, s, b, m, v):
            return F.batch_norm(x, m, v, s, b, eps=1e-3)

        attributes = dict(epsilon=1e-3)
        case("BatchNormalization", name, [shape, *vectors], f, [form([7, 8, 9, 13, 14, 15, NEWEST], **attributes)], fixed=(3, 4))
    for axis, shape in {-1: [4], 1: [3, 4], -2: [3, 4], 0: [2, 3, 4]}.items():

        def f(x, s, b=None, shape=shape):
            return F.layer_norm(x, shape, s, b, eps=1e-5)

        case("LayerNormalization", f"axis {axis}", [[2, 3, 4], shape, shape], f, [form([17, 18, NEWEST], axis=axis)])
    case("LayerNormalization", "no bias", [[2, 3, 4], [4]], lambda x, s: F.layer_norm(x, [4], s, eps=1e-2), [form([17, NEWEST], epsilon=1e-2)])
    case("LayerNormalization", "scale of one", [[2, 3, 4], [1], [1]], lambda x, s, b: F.layer_norm(x, [3, 4]) * s + b, [form([17, NEWEST], axis=1)])
    for name, shape in {"images": [2, 3, 2, 3], "1-D": [2, 3, 5]}.items():
        case("InstanceNormalization", name, [shape, [3], [3]], lambda x, s, b: F.instance_norm(x, weight=s, bias=b, eps=1e-3), [form(ALL, epsilon=1e-3)])
    case("GroupNormalization", "two groups", [[2, 4, 2, 3], [4], [4]], lambda x, s, b: F.group_norm(x, 2, s, b), [form([21, NEWEST], num_groups=2)])
    for size in (1, 3, 5):
        case("LRN", f"size {size}", [[2, 6, 2, 2]], lambda x, size=size: F.local_response_norm(x, size, 0.5, 0.75, 1.5), [form(ALL, size=size, alpha=0.5, beta=0.75, bias=1.5)])
    for p in (1, 2):
        for axis in (1, -1):
            case("LpNormalization", f"p {p} axis {axis}", [[2, 3, 4]], lambda x, p=p, axis=axis: F.normalize(x, p, axis), [form(ALL, p=p, axis=axis)])
    case("LpNormalization", "defaults", [[3, 4]], lambda x: F.normalize(x, 2, -1), [form(ALL)])
    case("LRN", "defaults", [([1, 4, 2, 2], -20.0, 20.0)], lambda x: F.local_response_norm(x, 3, 1e-4, 0.75, 1.0), [form(ALL, size=3)])


# Reductions

REDUCTIONS = {
    "ReduceSum": lambda x, axes, keep: x.sum(axes, keepdim=keep),
    "ReduceMean": lambda x, axes, keep: x.mean(axes, keepdim=keep),
    "ReduceMax": lambda x, axes, keep: x.amax(axes, keepdim=keep),
    "ReduceMin": lambda x, axes, keep: x.amin(axes, keepdim=keep),
    "ReduceSumSquare": lambda x, axes, keep: (x * x).sum(axes, keepdim=keep),
    "ReduceL1": lambda x, axes, keep: x.abs().sum(axes, keepdim=keep),
    "ReduceL2": lambda x, axes, keep: (x * x).sum(axes, keepdim=keep).sqrt(),
    "ReduceLogSum": lambda x, axes, keep: x.sum(axes, keepdim=keep).log(),
    "ReduceLogSumExp": lambda x, axes, keep: x.logsumexp(axes, keepdim=keep),
}


def reductions():
    for op, f in REDUCTIONS.items():
        change = 13 if op == "ReduceSum" else 18
        old, new = [opset for opset in ALL if opset < change], sorted({change, NEWEST})
        recent = [opset for opset in old if opset >= 11]
        x = ([2, 3, 4], 0.2, 1.5) if op == "ReduceLogSum" else [2, 3, 4]

        def both(name, axes, keep, keepdims, old=old):
            forms = [form(old, [0], axes=axes, **keepdims), form(new, [0, ints(*axes)], **keepdims)]
            case(op, name, [x], lambda x: f(x, tuple(axes), keep), forms)

        both("axis 1", [1], True, {}, old)
        both("axes 0 and 2, dropped", [0, 2], False, dict(keepdims=0), old)
        both("last axis, dropped", [-1], False, dict(keepdims=0), recent)
        case(op, "all", [x], lambda x: f(x, (0, 1, 2), True), [form([*old, *new], [0])])
        case(op, "all, dropped", [x], lambda x: f(x, (0, 1, 2), False), [form([*old, *new], [0], keepdims=0)])
        case(op, "all, axes of length 0", [x], lambda x: f(x, (0, 1, 2), True), [form(new, [0, ints()])])
    for op in ("ReduceSum", "ReduceMean"):
        change = 13 if op == "ReduceSum" else 18
        case(op, "none", [[2, 3]], lambda x: x * 1, [form([change, NEWEST], [0], noop_with_empty_axes=1)])
    softmaxes()


def softmaxes():
    shape = [2, 3, 2, 2]
    for op, f in {"Softmax": torch.softmax, "LogSoftmax": torch.log_softmax}.items():
        for axis in (0, 1, 2, 3):

            def flat(x, axis=axis, f=f):
                return f(x.reshape(int(np.prod(shape[:axis])), -1), 1).reshape(shape)

            case(op, f"from axis {axis} on", [shape], flat, [form([7, 8, 9, 10, 11, 12], axis=axis)], -2.0, 2.0)
            case(op, f"axis {axis}", [shape], lambda x, axis=axis, f=f: f(x, axis), [form([13, NEWEST], axis=axis)], -2.0, 2.0)
        case(op, "from the default axis on", [[2, 3, 2]], lambda x, f=f: f(x.reshape(2, -1), 1).reshape(2, 3, 2), [form([7, 9, 11, 12])])
        case(op, "default axis", [[2, 3, 2]], lambda x, f=f: f(x, -1), [form([13, NEWEST])])
        case(op, "axis -2", [[2, 3, 2]], lambda x, f=f: f(x, -2), [form([13, NEWEST], axis=-2)])
        case(op, "from axis -2 on", [[2, 3, 2]], lambda x, f=f: f(x.reshape(2, -1), 1).reshape(2, 3, 2), [form([11, 12], axis=-2)])
        case(op, "logits", [([3, 5], -30.0, 30.0)], lambda x, f=f: f(x, 1), [form(ALL, axis=1)])


# Moving, joining and cutting


def structure():
    case("Reshape", "with -1 and 0", [[2, 3, 4]], lambda x: x.reshape(2, 6, 2), [form(ALL, [0, ints(0, -1, 2)])])
    case("Reshape", "to a scalar", [[1, 1]], lambda x: x.reshape([]), [form(ALL, [0, ints()])])
    for axis in (0, 1, 2, 3):
        case("Flatten", f"axis {axis}", [[2, 3, 2]], lambda x, axis=axis: x.reshape(int(np.prod([2, 3, 2][:axis])), -1), [form(ALL, axis=axis)])
    case("Flatten", "axis -1", [[2, 3, 2]], lambda x: x.reshape(6, 2), [form(since(11), axis=-1)])
    old, new = [7, 8, 9, 10, 11, 12], [13, 18, NEWEST]
    case("Squeeze", "axes", [[1, 3, 1, 2]], lambda x: x.reshape(3, 1, 2), [form(old, [0], axes=[0]), form(new, [0, ints(0)])])
    case("Squeeze", "all", [[1, 3, 1, 2]], lambda x: x.reshape(3, 2), [form([*old, *new], [0])])
    case("Unsqueeze", "axes", [[3, 2]], lambda x: x.reshape(1, 3, 1, 2), [form(old, [0], axes=[0, 2]), form(new, [0, ints(0, 2)])])
    case("Unsqueeze", "from the end", [[3, 2]], lambda x: x.reshape(3, 2, 1), [form([11, 12], [0], axes=[-1]), form(new, [0, ints(-1)])])
    case("Transpose", "perm", [[2, 3, 4]], lambda x: x.permute(2, 0, 1), [form(ALL, perm=[2, 0, 1])])
    case("Transpose", "default", [[2, 3, 4]], lambda x: x.permute(2, 1, 0), [form(ALL)])
    case("Concat", "channels", [[2, 3, 2], [2, 1, 2], [2, 2, 2]], lambda *xs: torch.cat(xs, 1), [form(ALL, axis=1)])
    case("Concat", "axis -1", [[2, 3], [2, 1]], lambda *xs: torch.cat(xs, -1), [form(since(11), axis=-1)])
    case("Concat", "one", [[2, 3]], lambda x: x * 1, [form(ALL, axis=0)])
    case("Tile", "repeats", [[2, 3]], lambda x: x.repeat(2, 3), [form(ALL, [0, ints(2, 3)])])
    splits()
    slices()
    pads()
    gathers()
    blocks()


def splits():
    x = [2, 6, 2]
    case("Split", "equal", [x], lambda x: x.split(2, 1), [form([7, 8, 9, 10, 11, 12], axis=1), form([13], axis=1), form([18, NEWEST], axis=1, num_outputs=3)])
    case("Split", "sizes", [x], lambda x: x.split([1, 3, 2], 1), [form([7, 9, 11, 12], axis=1, split=[1, 3, 2]), form([13, 18, NEWEST], [0, ints(1, 3, 2)], axis=1)])
    case("Split", "one unused", [x], lambda x: x.split([1, 3, 2], 1), [form([7, 9, 11, 12], axis=1, split=[1, 3, 2]), form([13, NEWEST], [0, ints(1, 3, 2)], axis=1)], unused=(1,))
    case("Split", "uneven", [[7, 2]], lambda x: x.split([3, 3, 1], 0), [form([18, NEWEST], num_outputs=3)])


def slices():
    largest = 2**31 - 1

    def both(name, f, starts, ends, axes=None, steps=None, shape=(5, 6)):
        lists = [ints(*starts), ints(*ends)]
        attributes = dict(starts=starts, ends=ends)
        if axes is not None:
            attributes["axes"] = axes
            lists.append(ints(*axes))
        forms = []
        if steps is None:
            forms.append(form([7, 8, 9], [0], **attributes))
        else:
            lists += [None] * (3 - len(lists)) + [ints(*steps)]
        forms.append(form([10, 11, 13, NEWEST], [0, *lists]))
        case("Slice", name, [list(shape)], f, forms)

    both("two axes", lambda x: x[1:4, 2:5], [1, 2], [4, 5], [0, 1])
    both("no axes", lambda x: x[1:4, 2:6], [1, 2], [4, 6])
    both("to the end", lambda x: x[:, 2:], [2], [largest], [1])
    both("far beyond the end", lambda x: x[2:], [2], [2**63 - 1], [0])
    both("negative", lambda x: x[-4:-1, -3:], [-4, -3], [-1, largest], [0, 1])
    both("before the start", lambda x: x[:, :3], [-100], [3], [1])
    both("steps", lambda x: x[0:5:2, 1:6:3], [0, 1], [5, largest], [0, 1], [2, 3])
    both("backwards", lambda x: x.flip(1), [-1], [-largest - 1], [1], [-1])
    both("backwards from beyond", lambda x: x.flip(0)[:4:2], [100], [0], [0], [-2])
    both("backwards by 2", lambda x: x[:, [4, 2]], [-2], [0], [1], [-2])
    both("steps without axes", lambda x: x[1:5:2, 0:6:2], [1, 0], [5, 6], None, [2, 2])
    both("step 1 and step 2", lambda x: x[1:3, ::2], [1, 0], [3, 6], [-2, -1], [1, 2])


def pads():
    old, new = [7, 8, 9, 10], [11, 13, 18, NEWEST]

    def both(name, shape, amounts, f, value=None, **attributes):
        extra = {} if value is None else {"value": value}
        inputs = [0, ints(*amounts)] + ([] if value is None else [float_scalar(value)])
        case("Pad", name, [shape], f, [form(old, [0], pads=amounts, **attributes, **extra), form(new, inputs, **attributes)])

    both("zeros", [2, 3], [0, 1, 2, 0], lambda x: padded(x, [0, 1, 2, 0]))
    both("a value", [2, 3], [1, 1, 0, 2], lambda x: padded(x, [1, 1, 0, 2], 1.5), value=1.5)
    both("negative", [4, 5], [-1, 1, 0, -2], lambda x: padded(x, [-1, 1, 0, -2]), mode="constant")
    image = [1, 2, 3, 4]
    both("reflect", image, [0, 0, 1, 2, 0, 0, 2, 1], lambda x: F.pad(x, (2, 1, 1, 2), "reflect"), mode="reflect")
    both("edge", image, [0, 0, 1, 2, 0, 0, 2, 1], lambda x: F.pad(x, (2, 1, 1, 2), "replicate"), mode="edge")
    case("Pad", "edge beyond the size", [[2, 2]], lambda x: F.pad(x[None], (3, 0, 0, 2), "replicate")[0], [form(new, [0, ints(0, 3, 2, 0)], mode="edge")])
    case("Pad", "wrap", [image], lambda x: F.pad(x, (2, 1, 1, 2), "circular"), [form([19, NEWEST], [0, ints(0, 0, 1, 2, 0, 0, 2, 1)], mode="wrap")])
    case("Pad", "axes", [[2, 3, 4]], lambda x: padded(x, [1, 2, 0, 1]), [form([18, NEWEST], [0, ints(2, 1, 1, 0), None, ints(-1, 1)])])


def gathers():
    x = [3, 4]
    case("Gather", "rows, one twice", [x], lambda x: x[[2, 0, 2]], [form(ALL, [0, ints(2, 0, 2)])])
    case("Gather", "columns, negative", [x], lambda x: x[:, [-1, 0, 1]], [form(since(11), [0, ints(-1, 0, 1)], axis=1)])
    case("Gather", "scalar", [x], lambda x: x[:, 1], [form(ALL, [0, int_scalar(1)], axis=1)])
    case("Gather", "scalar, negative", [x], lambda x: x[:, -1], [form(since(11), [0, int_scalar(-1)], axis=-1)])
    case("Gather", "matrix of indices", [[2, 3, 2]], lambda x: x[:, [[0, 2], [2, 1]]], [form(ALL, [0, {"ints": [0, 2, 2, 1], "dims": [2, 2]}], axis=1)])


def blocks():
    def to_space_dcr(x, b):
        n, c, h, w = x.shape
        return x.reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // b**2, h * b, w * b)

    def to_depth(x, b):
        n, c, h, w = x.shape
        return x.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4).reshape(n, c * b**2, h // b, w // b)

    case("DepthToSpace", "DCR", [[2, 8, 2, 1]], lambda x: to_space_dcr(x, 2), [form(ALL, blocksize=2)])
    case("DepthToSpace", "CRD", [[2, 8, 1, 2]], lambda x: F.pixel_shuffle(x, 2), [form(since(11), blocksize=2, mode="CRD")])
    case("SpaceToDepth", "block 2", [[2, 2, 2, 4]], lambda x: to_depth(x, 2), [form(ALL, blocksize=2)])
    case("SpaceToDepth", "block 3", [[1, 1, 3, 6]], lambda x: to_depth(x, 3), [form(ALL, blocksize=3)])


# Resizing: what PyTorch has; the rest is checked by differences


def resizing():
    def resize(name, size, f, to=None, scales=None, opsets=(11, 13, 18, NEWEST), **attributes):
        last = [0, None, None, ints(1, 2, *to)] if to else [0, None, floats(1.0, 1.0, *scales)]
        # Operator set 11 wants all inputs there.
        first = [0, floats(), floats(), ints(1, 2, *to)] if to else [0, floats(), floats(1.0, 1.0, *scales)]
        forms = [form([opset for opset in opsets if opset == 11], first, **attributes)]
        forms.append(form([opset for opset in opsets if opset > 11], last, **attributes))
        case("Resize", name, [[1, 2, *size]], f, [each for each in forms if each["opsets"]])

    floor = dict(mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    resize("nearest, twice", [2, 3], lambda x: F.interpolate(x, scale_factor=2.0), scales=[2.0, 2.0], **floor)
    resize("nearest, up by sizes", [3, 2], lambda x: F.interpolate(x, size=[5, 7]), to=[5, 7], **floor)
    resize("nearest, down by sizes", [6, 5], lambda x: F.interpolate(x, size=[4, 2]), to=[4, 2], **floor)
    exact = dict(mode="nearest", coordinate_transformation_mode="half_pixel", nearest_mode="round_prefer_ceil")
    resize("nearest exact, down", [6, 5], lambda x: F.interpolate(x, size=[4, 2], mode="nearest-exact"), to=[4, 2], **exact)
    linear = dict(mode="linear")
    bilinear = dict(mode="bilinear")
    for name, size, to in (("up", [2, 3], [5, 4]), ("down", [5, 4], [3, 2])):
        resize(f"linear, align_corners, {name}", size, lambda x, to=to: F.interpolate(x, size=to, align_corners=True, **bilinear), to=to, coordinate_transformation_mode="align_corners", **linear)
        resize(f"linear, half_pixel, {name}", size, lambda x, to=to: F.interpolate(x, size=to, align_corners=False, **bilinear), to=to, coordinate_transformation_mode="half_pixel", **linear)
        resize(f"linear, pytorch_half_pixel, {name}", size, lambda x, to=to: F.interpolate(x, size=to, align_corners=False, **bilinear), to=to, coordinate_transformation_mode="pytorch_half_pixel", **linear)
    resize("linear, twice", [2, 3], lambda x: F.interpolate(x, scale_factor=2.0, align_corners=False, **bilinear), scales=[2.0, 2.0], **linear)
    twice = [1.0, 1.0, 2.0, 3.0]
    case("Resize", "operator set 10, nearest", [[1, 2, 2, 2]], lambda x: F.interpolate(x, scale_factor=(2.0, 3.0)), [form([10], [0, floats(*twice)])])
    case("Upsample", "nearest", [[1, 2, 2, 2]], lambda x: F.interpolate(x, scale_factor=(2.0, 3.0)), [form([7, 8], [0], scales=twice), form([9], [0, floats(*twice)])])


activations()
elementwise()
products()
convolutions()
transposed_convolutions()
pooling()
normalisation()
reductions()
structure()
resizing()

path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "operators.json")
with open(path, "w") as file:
    file.write("[\n" + ",\n".join(json.dumps(each, separators=(",", ":")) for each in CASES) + "\n]\n")
print(f"{len(CASES)} cases, {os.path.getsize(path)} bytes")
