"""One small adapter per library that computes convolutions, fastconv among them: for operators.py.

A peer is found by importing it.  To add one, write a class with what `Peer` lists and name it in `PEERS`.
Each takes the way its users take at their fastest: weights prepared, buffers bound and threads limited before
the clock starts.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from fastconv.bench.contender import (
    Array,
    Entry,
    FastconvBase,
    Job,
    Tensors,
    TorchBase,
    from_layout,
    to_layout,
)
from fastconv.bench.layers import Layer


class Fastconv(FastconvBase):
    """`fastconv.conv2d`, or a plan of it."""

    def __init__(
        self, layout: str, threads: int, *, prepared: bool, algorithm: str = "auto", name: str = ""
    ) -> None:
        super().__init__(name or ("plan" if prepared else "call"), layout, threads, prepared=prepared)
        self._algorithm = algorithm

    def _options(self, layer: Layer) -> dict[str, Any]:
        return {
            "stride": layer.stride,
            "padding": layer.padding,
            "dilation": layer.dilation,
            "groups": layer.groups,
            "layout": self.layout,
            "algorithm": self._algorithm,
        }

    def refuse(self, layer: Layer, dtype: str) -> str | None:
        """Refuse what the algorithm cannot compute."""
        n, c, h, w = layer.x_shape
        x_shape = (n, h, w, c) if self.layout == "NHWC" else (n, c, h, w)
        try:
            self.fastconv.plan_conv2d(x_shape, np.zeros(layer.weight_shape, dtype), **self._options(layer))
        except ValueError as error:
            return str(error)
        return None

    def prepare(self, layer: Layer, tensors: Tensors) -> Job:
        """A plan writes into one output again and again, a call makes its own."""
        options = self._options(layer)
        x, weight, bias = to_layout(tensors.x, self.layout), tensors.weight, tensors.bias
        back = from_layout(self.layout)
        if not self.prepared:
            conv2d = self.fastconv.conv2d
            return Job(lambda: conv2d(x, weight, bias, **options), back, before=self.before)
        plan = self.fastconv.plan_conv2d(x.shape, weight, bias, **options)
        out = np.empty(plan.out_shape, x.dtype)
        return Job(lambda: plan(x, out=out), back, plan.algorithm, self.before)


class Torch(TorchBase):
    """PyTorch's conv2d."""

    def refuse(self, layer: Layer, dtype: str) -> str | None:
        """Refuse nothing."""
        return None

    def prepare(self, layer: Layer, tensors: Tensors) -> Job:
        """Bring the operands into the memory format."""
        bias = None if tensors.bias is None else self.torch.from_numpy(tensors.bias)
        x, weight = self.tensor(tensors.x), self.tensor(tensors.weight)
        options = (layer.stride, layer.padding, layer.dilation, layer.groups)
        return self.job(self.torch.nn.functional.conv2d, x, weight, bias, *options)


def onnx_model(layer: Layer, tensors: Tensors) -> bytes:
    """Write the layer as an ONNX model of one node, weights inside."""
    from onnx import TensorProto, helper, numpy_helper

    element = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}[tensors.x.dtype.name]
    weights = [numpy_helper.from_array(tensors.weight, "w")]
    if tensors.bias is not None:
        weights.append(numpy_helper.from_array(tensors.bias, "b"))
    node = helper.make_node(
        "Conv",
        ["x", *(tensor.name for tensor in weights)],
        ["y"],
        kernel_shape=layer.kernel,
        strides=layer.stride,
        pads=layer.padding * 2,
        dilations=layer.dilation,
        group=layer.groups,
    )
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", element, layer.x_shape)],
        [helper.make_tensor_value_info("y", element, layer.y_shape)],
        weights,
    )
    # Old versions on purpose: every runtime reads them.
    opset = helper.make_opsetid("", 13)
    return bytes(helper.make_model(graph, ir_version=8, opset_imports=[opset]).SerializeToString())


class OnnxRuntime:
    """ONNX Runtime's CPU provider, input and output bound to fixed buffers."""

    prepared = True
    name = "onnxruntime"

    def __init__(self, threads: int) -> None:
        import onnxruntime

        self._ort = onnxruntime
        self._threads = threads
        self.version = onnxruntime.__version__

    def refuse(self, layer: Layer, dtype: str) -> str | None:
        """Its CPU provider has float32 only."""
        return None if dtype == "float32" else f"has no {dtype} convolution"

    def prepare(self, layer: Layer, tensors: Tensors) -> Job:
        """Make a session and bind its buffers."""
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = self._ort.InferenceSession(
            onnx_model(layer, tensors), options, providers=["CPUExecutionProvider"]
        )
        binding = session.io_binding()
        out = np.empty(layer.y_shape, tensors.x.dtype)
        binding.bind_ortvalue_input("x", self._ort.OrtValue.ortvalue_from_numpy(tensors.x))
        binding.bind_output("y", "cpu", 0, out.dtype.type, out.shape, out.ctypes.data)
        return Job(lambda: session.run_with_iobinding(binding), lambda _: out)


class OpenCV:
    """OpenCV's dnn module; giving it the input is part of each call, as in its users' loops."""

    prepared = True
    name = "opencv"

    def __init__(self, threads: int) -> None:
        import cv2

        self._cv2 = cv2
        self._threads = threads
        self.version = cv2.__version__

    def refuse(self, layer: Layer, dtype: str) -> str | None:
        """Its dnn module has float32 only."""
        return None if dtype == "float32" else f"has no {dtype} convolution"

    def prepare(self, layer: Layer, tensors: Tensors) -> Job:
        """Read the layer as a network."""
        net = self._cv2.dnn.readNetFromONNX(np.frombuffer(onnx_model(layer, tensors), np.uint8))
        x = tensors.x

        def run() -> Any:
            net.setInput(x)
            return net.forward()

        return Job(run, lambda y: y, before=lambda: self._cv2.setNumThreads(self._threads))


class SciPy:
    """SciPy's correlate, one call per output channel: it has no convolution over channels."""

    prepared = False
    name = "scipy"
    MOST_FLOPS = 5e8

    def __init__(self, threads: int) -> None:
        import scipy
        from scipy import ndimage, signal

        self._plane = ndimage.correlate
        self._planes = signal.correlate
        self.version = scipy.__version__

    def refuse(self, layer: Layer, dtype: str) -> str | None:
        """Refuse what would take many seconds a call, and what it has not."""
        if layer.dilation != (1, 1):
            return "has no dilation"
        if layer.flops * layer.stride[0] * layer.stride[1] > self.MOST_FLOPS:
            return f"would take seconds (over {self.MOST_FLOPS / 1e9:g} GFLOP computed)"
        return None

    def _one(self, planes: Array, weight: Array) -> Array:
        """Correlate the channels of one group with one filter, without padding."""
        if len(planes) > 1:
            return self._planes(planes, weight, mode="valid")[0]  # type: ignore[no-any-return]
        rows, columns = (
            slice(k // 2, k // 2 + n - k + 1) for n, k in zip(planes.shape[1:], weight.shape[1:])
        )
        return self._plane(planes[0], weight[0])[rows, columns]  # type: ignore[no-any-return]

    def prepare(self, layer: Layer, tensors: Tensors) -> Job:
        """Padding is part of each call; a stride is taken from the full result."""
        per_group, out_per_group = layer.in_channels // layer.groups, layer.out_channels // layer.groups
        down, right = layer.stride
        edges = [(0, 0), (0, 0), *((edge, edge) for edge in layer.padding)]
        x, weight, bias = tensors.x, tensors.weight, tensors.bias

        def run() -> Array:
            y = np.empty(layer.y_shape, x.dtype)
            padded = np.pad(x, edges)
            for n in range(layer.batch):
                for o in range(layer.out_channels):
                    first = o // out_per_group * per_group
                    y[n, o] = self._one(padded[n, first : first + per_group], weight[o])[::down, ::right]
            if bias is not None:
                y += bias[:, None, None]
            return y

        return Job(run, lambda y: y)


class Ncnn:
    """Tencent's ncnn, in float32 throughout; a batch is a loop, for it has none."""

    prepared = True
    name = "ncnn"

    def __init__(self, threads: int) -> None:
        import ncnn

        self._ncnn = ncnn
        self._threads = threads
        self.version = ncnn.__version__

    def refuse(self, layer: Layer, dtype: str) -> str | None:
        """It has no float64."""
        return None if dtype == "float32" else f"has no {dtype} convolution"

    def prepare(self, layer: Layer, tensors: Tensors) -> Job:
        """Write the layer in ncnn's own two files and load them."""
        kind = "Convolution" if layer.groups == 1 else "ConvolutionDepthWise"
        settings = {
            0: layer.out_channels, 5: int(tensors.bias is not None), 6: tensors.weight.size, 7: layer.groups,
        }  # fmt: skip
        # Horizontal ones are 1 to 4, vertical ones 11 to 14.
        for number, pair in enumerate((layer.kernel, layer.dilation, layer.stride, layer.padding), start=1):
            settings[10 + number], settings[number] = pair
        param = "7767517\n2 2\nInput x 0 1 x\n"
        param += f"{kind} conv 1 1 x y {' '.join(f'{k}={v}' for k, v in settings.items())}\n"
        model = bytes(4) + tensors.weight.tobytes()  # four zero bytes: plain float32 follows
        if tensors.bias is not None:
            model += tensors.bias.tobytes()
        net = self._ncnn.Net()
        net.opt.num_threads = self._threads
        for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "vulkan_compute"):
            setattr(net.opt, f"use_{option}", False)
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / "layer.param", Path(folder) / "layer.bin"]
            paths[0].write_text(param)
            paths[1].write_bytes(model)
            if net.load_param(str(paths[0])) or net.load_model(str(paths[1])):
                raise RuntimeError("ncnn did not load the layer")
        images = [self._ncnn.Mat(image) for image in tensors.x]

        def run() -> list[Any]:
            outputs = []
            for image in images:
                extractor = net.create_extractor()
                extractor.input("x", image)
                outputs.append(extractor.extract("y")[1])
            return outputs

        return Job(run, lambda ys: np.stack([np.array(y) for y in ys]))


class OpenVINO:
    """Intel's OpenVINO, one stream, in float32."""

    prepared = True
    name = "openvino"

    def __init__(self, threads: int) -> None:
        import openvino

        self._openvino = openvino
        self._core = openvino.Core()
        self._settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": False,
        }
        self.version = openvino.__version__.split("-")[0]

    def refuse(self, layer: Layer, dtype: str) -> str | None:
        """Its CPU plugin computes in float32."""
        return None if dtype == "float32" else f"has no {dtype} convolution"

    def prepare(self, layer: Layer, tensors: Tensors) -> Job:
        """Compile the layer and bind its input."""
        model = self._core.read_model(model=onnx_model(layer, tensors))
        request = self._core.compile_model(model, "CPU", self._settings).create_infer_request()
        request.set_input_tensor(self._openvino.Tensor(tensors.x, shared_memory=True))
        return Job(request.infer, lambda _: request.get_output_tensor().data)


PEERS: dict[str, Entry] = {
    "torch": Entry("torch", (), Torch),
    "torch-nhwc": Entry("torch", (), lambda threads: Torch(threads, channels_last=True)),
    "onnxruntime": Entry("onnxruntime", ("onnx",), OnnxRuntime),
    "opencv": Entry("cv2", ("onnx",), OpenCV),
    "scipy": Entry("scipy", (), SciPy),
    "ncnn": Entry("ncnn", (), Ncnn),
    "openvino": Entry("openvino", ("onnx",), OpenVINO),
}
"""By the name that ``--peers`` takes."""
