"""Exported files: the same pictures and metadata as the model; rejected exports leave no file."""

import json
import math
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import fst
from fst.config import FastConfig, JohnsonConfig
from fst.errors import UserError
from fst.measuring.subjects import load_models
from fst.models import onnx_export
from fst.models.export import Agreement, export_model
from fst.models.export_info import ExportInfo, export_metadata
from fst.models.export_options import ExportOptions
from fst.models.inspection import inspect_model
from fst.models.model_file import describe, read_model, save_model
from fst.models.model_info import StyleInfo
from fst.models.model_ref import ModelRef, find_model
from fst.networks.fast import Fast
from fst.networks.johnson import Johnson
from fst.networks.styled import StyledNetwork
from fst.pictures.image import read_image

onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'fst-style-transfer[export]'")
pytest.importorskip("onnxscript", reason="pip install 'fst-style-transfer[export]'")
NETWORKS = {
    "johnson": lambda: Johnson(JohnsonConfig(width=4, residual_blocks=0)),
    "paper": lambda: Johnson(
        JohnsonConfig(width=4, residual_blocks=1, norm="batch", upsample="transposed")
    ),
}


@pytest.fixture
def photo(style_picture: Path) -> Tensor:
    return (read_image(style_picture)[..., :65, :67] * 255).round() / 255


@pytest.mark.parametrize("name", ["fast", *NETWORKS])
def test_onnx_export_takes_any_size_and_matches_the_network(
    name: str, tiny_model: Path, tiny_onnx: Path, tmp_path: Path, photo: Tensor
):
    model, exported = tiny_model, tiny_onnx
    if name != "fast":
        model, exported = tmp_path / "style.safetensors", tmp_path / "style.onnx"
        network = NETWORKS[name]()
        save_model(model, network, describe(network))
        export_model(ModelRef(model), exported)
    session = onnxruntime.InferenceSession(exported)
    (given,), (taken,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, taken.name) == ("image", "tensor(float)", "stylized")
    network = read_model(model).network
    for batch in (photo, photo[..., :7, :13], torch.cat([photo, photo.flip(3)])):
        (result,) = session.run(None, {"image": batch.numpy()})
        torch.testing.assert_close(torch.from_numpy(result), network(batch), rtol=0, atol=1e-4)


def test_an_exported_file_has_no_paths_of_this_machine(tiny_onnx: Path):
    content = tiny_onnx.read_bytes()
    for path in (Path(fst.__file__).parent, Path(torch.__file__).parent):
        assert str(path).encode() not in content


def test_uint8_export_matches_the_network(bytes_model: Path, bytes_onnx: Path, photo: Tensor):
    session = onnxruntime.InferenceSession(bytes_onnx)
    pixels = (photo * 255).round().byte().permute(0, 2, 3, 1)
    (result,) = session.run(None, {"image": pixels.numpy()})
    assert result.dtype == "uint8"
    expected = read_model(bytes_model).network(photo).mul(255).permute(0, 2, 3, 1)
    assert (torch.from_numpy(result).float() - expected).abs().max() < 0.51  # rounding alone
    stylized = fst.load(bytes_onnx, device="cpu")(photo)
    assert torch.equal(
        (stylized * 255).round().byte().permute(0, 2, 3, 1), torch.from_numpy(result)
    )


def test_half_precision_export_is_close_to_fp32(tiny_model: Path, tmp_path: Path, photo: Tensor):
    # Of one size, which is exported sooner, and odd, which is padded.
    export_model(
        ModelRef(tiny_model), tmp_path / "half.onnx", ExportOptions(half=True, size="65x67")
    )
    expected = read_model(tiny_model).network(photo)
    agreement = Agreement.of(fst.load(tmp_path / "half.onnx", device="cpu")(photo), expected)
    assert 45 < agreement.psnr_db < 100  # as good as fp16 is, and no better: it is fp16


def test_the_shares_of_styles_are_an_input(tmp_path: Path, photo: Tensor):
    styled = StyledNetwork(Fast(FastConfig(width=8, residual_blocks=1, coarse_blocks=0)), 3)
    torch.nn.init.normal_(styled.residuals, std=0.3)
    torch.nn.init.normal_(styled.palettes, std=0.3)
    info = describe(styled, styles=[StyleInfo(name) for name in ("sea", "night", "red")])
    save_model(tmp_path / "three.safetensors", styled, info)
    path = tmp_path / "three.onnx"
    for model, message in (
        (f"{tmp_path}/three.safetensors:sea", "leave out :sea"),
        ("starry_night", "needs a model of several styles"),
    ):
        with pytest.raises(ValueError, match=message):
            export_model(find_model(model), path, ExportOptions(blend=True))
    with pytest.raises(ValueError, match="--blend is for .onnx"):
        export_model(
            ModelRef(tmp_path / "three.safetensors"),
            tmp_path / "three.pt2",
            ExportOptions(blend=True),
        )
    export_model(ModelRef(tmp_path / "three.safetensors"), path, ExportOptions(blend=True))

    shares = torch.tensor([[0.0, 1.0, 0.0], [0.25, 0.0, 0.75]])
    session = onnxruntime.InferenceSession(path)
    batch = torch.cat([photo, photo.flip(3)])
    (result,) = session.run(None, {"image": batch.numpy(), "shares": shares.numpy()})
    with torch.no_grad():
        expected = [styled.fold(s)(x[None]) for s, x in zip(shares, batch, strict=True)]
    torch.testing.assert_close(torch.from_numpy(result), torch.cat(expected), rtol=0, atol=1e-4)
    stylize = fst.load(f"{path}:red=3,sea=1", device="cpu")
    torch.testing.assert_close(stylize(photo), styled.fold(shares[1])(photo), rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match="three.onnx has 3 styles: choose one"):
        fst.load(path)
    assert load_models([f"{path}:sea", str(path)], [], "cpu").of_several_styles == [str(path)]
    facts = inspect_model(ModelRef(path))
    assert (facts["second input"], facts["styles"]) == ("shares, (N, 3)", "sea, night, red")


def test_fixed_size_export_takes_that_size_only(tiny_model: Path, tmp_path: Path, photo: Tensor):
    export_model(ModelRef(tiny_model), tmp_path / "fixed.onnx", ExportOptions(size="64x48"))
    onnx = pytest.importorskip("onnx")
    operators = {node.op_type for node in onnx.load(tmp_path / "fixed.onnx").graph.node}
    assert not operators & {"Shape", "Slice", "Loop", "If"}  # not in OpenCV 4
    stylize = fst.load(tmp_path / "fixed.onnx", device="cpu")
    assert stylize(photo[..., :64, :48]).shape == (1, 3, 64, 48)
    with pytest.raises(ValueError, match="exported for pictures of 64x48 only.*not 65x67"):
        stylize(photo)


def test_exported_models_have_the_same_interface(tiny_model: Path, tiny_onnx: Path, photo: Tensor):
    exported, own = fst.load(tiny_onnx, device="cpu"), fst.load(tiny_model, dtype="fp32")
    assert exported.info == own.info
    assert exported.engine == "onnxruntime, CPU"
    for options in ({}, {"strength": 0.3}, {"keep_colors": True}):
        torch.testing.assert_close(
            exported(photo, **options), own(photo, **options), rtol=0, atol=1e-4
        )
    with pytest.raises(ValueError, match="tile_px=64: exported models do not support tiles"):
        exported(photo, tile_px=64)
    with pytest.raises(ValueError, match="--compile is not for exported models"):
        exported.compile()
    with pytest.raises(ValueError, match="has the dtype of its export"):
        fst.load(tiny_onnx, dtype="bf16")
    with pytest.raises(ValueError, match="is already exported"):
        export_model(ModelRef(tiny_onnx), tiny_onnx.with_name("again.onnx"))


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_package_matches_the_network(
    scalar_code, contrasty: Callable[..., Fast], tmp_path: Path, photo: Tensor, monkeypatch
):
    monkeypatch.setenv("FST_CACHE", str(tmp_path / "cache"))
    network = contrasty(residual_blocks=0, coarse_blocks=0)  # few kernels
    save_model(tmp_path / "a.safetensors", network, describe(network, seen_images=123))
    path = tmp_path / "style.pt2"
    photo = photo[..., :64, :48]
    export_model(
        ModelRef(tmp_path / "a.safetensors"), path, ExportOptions(size="64x48", device="cpu")
    )
    stylize = fst.load(path)
    assert stylize.info.seen_images == 123
    assert stylize.engine == "AOTInductor fp32 on cpu"
    expected = network(photo)
    torch.testing.assert_close(stylize(photo), expected, rtol=0, atol=1e-4)
    whole = path.read_bytes()
    for broken in (whole[: len(whole) // 2], whole[:-3000] + bytes(200) + whole[-2800:], b""):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="is damaged"):
            fst.load(path)


def test_rejected_export_leaves_no_file(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def wrong(network: Fast) -> Fast:
        twin = export_plain(network)
        twin.head[-2].bias.data += 0.1
        return twin

    export_plain = onnx_export.plain
    monkeypatch.setattr(onnx_export, "plain", wrong)
    with pytest.raises(ValueError, match="was not kept.*at least 50 dB"):
        export_model(ModelRef(tiny_model), tmp_path / "wrong.onnx", ExportOptions(size="64x48"))
    assert not list(tmp_path.iterdir())


def test_existing_files_need_overwrite(tiny_model: Path, tmp_path: Path):
    there = tmp_path / "there.onnx"
    there.write_bytes(b"an export")
    with pytest.raises(FileExistsError, match="--overwrite"):
        export_model(ModelRef(tiny_model), there)
    assert there.read_bytes() == b"an export"
    with pytest.raises(ValueError, match=r"one of \.onnx, \.pt2"):
        export_model(ModelRef(tiny_model), there.with_suffix(".xyz"))


def test_damaged_and_foreign_files_are_refused(tiny_onnx: Path, tmp_path: Path):
    whole = tiny_onnx.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"\0" * 1000):
        (tmp_path / "damaged.onnx").write_bytes(content)
        with pytest.raises(ValueError, match="is damaged or not an ONNX model"):
            fst.load(tmp_path / "damaged.onnx")
    onnx = pytest.importorskip("onnx")
    model = onnx.load(tiny_onnx)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    with pytest.raises(ValueError, match="not one that `fst export` wrote"):
        fst.load(tmp_path / "foreign.onnx")
    (tmp_path / "text.pt2").write_text("no package")
    with pytest.raises(ValueError, match=r"is damaged"):
        fst.load(tmp_path / "text.pt2")


def test_inspection_describes_the_file(tiny_model: Path, tiny_onnx: Path):
    own, exported = inspect_model(ModelRef(tiny_model)), inspect_model(ModelRef(tiny_onnx))
    assert own["title"] == exported["title"] == "fast"
    assert own["network"] == exported["network"]
    assert own["network"].startswith("fast (") and "coarse_blocks=1" in own["network"]
    assert "opset 18, computes in fp32" in exported["format"]
    assert "GFLOP" in own["work"]


def test_the_agreement_of_a_known_difference():
    agreement = Agreement.of(torch.full((1, 3, 4, 5), 0.51), torch.full((1, 3, 4, 5), 0.5))
    assert agreement.shape == (1, 4, 5)
    assert agreement.largest == pytest.approx(0.01, rel=1e-4)
    assert agreement.psnr_db == pytest.approx(40, rel=1e-4)


def test_a_result_that_is_not_finite_agrees_worst():
    expected = torch.full((1, 3, 4, 5), 0.5)
    compared = [Agreement.of(expected.clone().fill_(x), expected) for x in (0.9, math.nan, 0.1)]
    assert min(each.psnr_db for each in compared) == -math.inf


def test_opencv_s_own_style_transfer_sample_shows_the_picture(
    tiny_model: Path, tmp_path: Path, photo: Tensor
):
    """The calls are those of OpenCV's samples/dnn/fast_neural_style.py: 0-255 in and out."""
    cv2 = pytest.importorskip("cv2")
    if int(cv2.__version__.split(".")[0]) < 5:
        pytest.skip(f"OpenCV {cv2.__version__} does not support dynamic sizes; OpenCV 5 does")
    export_model(ModelRef(tiny_model), tmp_path / "sample.onnx", ExportOptions(range=255))
    frame = (photo[0] * 255).byte().permute(1, 2, 0).numpy()[..., ::-1].copy()  # BGR
    network = cv2.dnn.readNetFromONNX(str(tmp_path / "sample.onnx"))
    network.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    size = (frame.shape[1], frame.shape[0])
    network.setInput(cv2.dnn.blobFromImage(frame, 1.0, size, swapRB=True, crop=False))
    shown = network.forward()
    shown = shown.reshape(3, shown.shape[2], shown.shape[3]).transpose(1, 2, 0)
    shown = shown.clip(0, 255).astype("uint8")
    expected = read_model(tiny_model).network(photo)[0].permute(1, 2, 0) * 255
    assert expected.std() > 10
    assert (torch.from_numpy(shown) - expected).abs().max() <= 1.01  # the sample truncates

    # fst itself still takes and returns [0, 1].
    stylize = fst.load(tmp_path / "sample.onnx", device="cpu")
    torch.testing.assert_close(
        stylize(photo), read_model(tiny_model).network(photo), rtol=0, atol=1e-4
    )
    assert "[0, 255]" in inspect_model(ModelRef(tmp_path / "sample.onnx"))["input, output"]


def test_range_and_uint8_exclude_each_other(tiny_model: Path, tmp_path: Path):
    with pytest.raises(UserError, match="omit --range"):
        export_model(
            ModelRef(tiny_model), tmp_path / "a.onnx", ExportOptions(uint8=True, range=255)
        )
    with pytest.raises(UserError, match="must be 1 or 255"):
        export_model(ModelRef(tiny_model), tmp_path / "a.onnx", ExportOptions(range=100))


def package(path: Path, content: dict[str, str], compression: int = zipfile.ZIP_STORED) -> Path:
    """Write a .pt2 whose metadata is valid and whose machine code is not."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("a/data/aotinductor/model/x.wrapper_metadata.json", json.dumps(content))
        archive.writestr("a/data/aotinductor/model/x.wrapper.so", bytes(10_000))
    return path


def test_a_package_is_inspected_without_loading_its_machine_code(tmp_path: Path, monkeypatch):
    def load(*_: object, **__: object) -> None:
        raise AssertionError("native code was loaded")

    monkeypatch.setattr(torch._inductor, "aoti_load_package", load)
    network = Fast(FastConfig(width=10, residual_blocks=1))
    info = describe(network, title="Stripes")
    path = package(tmp_path / "a.pt2", export_metadata(info, ExportInfo("bf16", "cpu")))
    facts = inspect_model(ModelRef(path))
    assert facts["title"] == "Stripes"
    assert "computes in bf16" in facts["format"]


def test_a_zip_bomb_in_a_package_is_refused(tmp_path: Path):
    info = describe(Fast(FastConfig(width=10, residual_blocks=1)))
    content = export_metadata(info, ExportInfo("fp32", "cpu"))
    path = package(tmp_path / "bomb.pt2", content, zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match="unpack to"):
        inspect_model(ModelRef(path))


@pytest.mark.parametrize(
    "change",
    [
        {"precision": 3}, {"precision": None}, {"uint8": "yes"}, {"size": 5}, {"size": [1]},
        {"size": ["a", "b"]}, {"size": [0, 5]}, {"opset": "x"}, {"device": []}, {"range_max": "1"},
    ],
    ids=str,
)  # fmt: skip
def test_export_metadata_of_a_wrong_type_is_refused(tmp_path: Path, change: dict[str, object]):
    info = describe(Fast(FastConfig(width=10, residual_blocks=1)))
    content = export_metadata(info, ExportInfo("fp32", "cpu"))
    content["fst_export"] = json.dumps(json.loads(content["fst_export"]) | change)
    with pytest.raises(UserError, match="damaged metadata"):
        inspect_model(ModelRef(package(tmp_path / "a.pt2", content)))
    content["fst_export"] = json.dumps([change])
    with pytest.raises(UserError, match="damaged metadata"):
        inspect_model(ModelRef(package(tmp_path / "a.pt2", content)))
