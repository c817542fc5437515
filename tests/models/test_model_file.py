"""The model file, and foreign weights."""

import dataclasses
import errno
import json
import os
import zipfile
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from fst.config import FastConfig, JohnsonConfig
from fst.errors import UserError
from fst.models import model_file
from fst.models.model_file import describe, read_model, save_model
from fst.models.model_info import StyleInfo
from fst.models.model_ref import ModelRef, find_model
from fst.networks.fast import Fast
from fst.networks.johnson import Johnson
from fst.networks.styled import StyledNetwork
from fst.stylizing.stylizer import load


@pytest.fixture
def stripes(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    network = Fast(FastConfig(width=8, residual_blocks=1))
    save_model(path, network, describe(network, title="Stripes", losses={"style": 0.25}))
    return path


def test_round_trip_keeps_weights_and_metadata(tmp_path: Path):
    network = Johnson(
        JohnsonConfig(width=4, residual_blocks=2, norm="batch", upsample="transposed")
    )
    info = describe(network, title="Krzyk “1893”", seen_images=7, losses={"content": 1 / 3})
    save_model(tmp_path / "a.safetensors", network, info)
    read = read_model(tmp_path / "a.safetensors")
    again, info_again = read.network, read.info
    assert info_again == info
    for key, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key
    save_model(tmp_path / "b.safetensors", again, info_again)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_failed_write_leaves_the_old_file(stripes: Path, monkeypatch):
    before = stripes.read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        save_model(stripes, Fast(FastConfig()), describe(Fast(FastConfig())))
    assert stripes.read_bytes() == before
    assert list(stripes.parent.iterdir()) == [stripes]


def test_a_model_is_found_by_file_folder_and_run_name(stripes: Path, tmp_path: Path, monkeypatch):
    run = tmp_path / "runs" / "stripes"
    run.mkdir(parents=True)
    (run / "model.safetensors").write_bytes(stripes.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert find_model(stripes) == ModelRef(stripes)
    assert find_model(run) == ModelRef(run / "model.safetensors")
    assert find_model("stripes").path.samefile(run / "model.safetensors")
    assert find_model("stripes:sea=1").choice == "sea=1"
    with pytest.raises(FileNotFoundError, match="no model nowhere"):
        find_model("nowhere")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:100], "damaged"),
        (lambda data: data[:-100], "damaged"),
        (lambda data: b"", "damaged"),
        (lambda data: os.urandom(1000), "damaged"),
    ],
)
def test_damaged_files_are_refused(stripes: Path, damage, message: str):
    stripes.write_bytes(damage(stripes.read_bytes()))
    with pytest.raises(ValueError, match=message):
        read_model(stripes)


def test_foreign_tensors_newer_formats_and_other_files_are_refused(stripes: Path, tmp_path: Path):
    tensors = load_file(stripes)
    bare = tmp_path / "bare.safetensors"
    save_file(tensors, bare)
    with pytest.raises(ValueError, match="not a model written by fst"):
        read_model(bare)
    newer = tmp_path / "newer.safetensors"
    values = {"network": "fast", "network_arguments": {}, "format_version": 99, "new_field": 1}
    save_file(tensors, newer, metadata={"fst": json.dumps(values)})
    with pytest.raises(ValueError, match="format version 99.*update fst"):
        read_model(newer)
    text = tmp_path / "model.pth"
    text.write_text("not a checkpoint")
    with pytest.raises(ValueError, match="is not a weights file"):
        read_model(text)
    torch.save({"weight": torch.zeros(3)}, text)
    with pytest.raises(ValueError, match="not a state dict of a known"):
        read_model(text)


def port_forward(state: dict[str, Tensor], image: Tensor) -> Tensor:
    """The widespread PyTorch port, 0-255 in and out, written from its state dict alone."""

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight, bias = state[f"{name}.conv2d.weight"], state[f"{name}.conv2d.bias"]
        pad = weight.shape[-1] // 2
        return F.conv2d(F.pad(x, (pad,) * 4, mode="reflect"), weight, bias, stride=stride)

    def norm(x: Tensor, name: str) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)
        variance = x.var((2, 3), keepdim=True, unbiased=False)
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        return (x - mean) / (variance + 1e-5).sqrt() * weight[:, None, None] + bias[:, None, None]

    def double(x: Tensor) -> Tensor:
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    x = norm(conv(image, "conv1"), "in1").relu()
    x = norm(conv(x, "conv2", 2), "in2").relu()
    x = norm(conv(x, "conv3", 2), "in3").relu()
    for block in range(1, 6):
        name = f"res{block}"
        y = norm(conv(x, f"{name}.conv1"), f"{name}.in1").relu()
        x = x + norm(conv(y, f"{name}.conv2"), f"{name}.in2")
    x = norm(conv(double(x), "deconv1"), "in4").relu()
    x = norm(conv(double(x), "deconv2"), "in5").relu()
    return conv(x, "deconv3")


def random_port_state(width: int) -> dict[str, Tensor]:
    torch.manual_seed(1)
    layers = {"conv1": (3, width, 9), "conv2": (width, 2 * width, 3)}
    layers |= {"conv3": (2 * width, 4 * width, 3), "deconv1": (4 * width, 2 * width, 3)}
    layers |= {"deconv2": (2 * width, width, 3), "deconv3": (width, 3, 9)}
    norms = {"in1": width, "in2": 2 * width, "in3": 4 * width, "in4": 2 * width, "in5": width}
    for block in range(1, 6):
        for part in (1, 2):
            layers[f"res{block}.conv{part}"] = (4 * width, 4 * width, 3)
            norms[f"res{block}.in{part}"] = 4 * width
    state = {}
    for name, (inputs, outputs, kernel) in layers.items():
        state[f"{name}.conv2d.weight"] = torch.randn(outputs, inputs, kernel, kernel) / kernel
        state[f"{name}.conv2d.bias"] = torch.randn(outputs)
    for name, channels in norms.items():
        state |= {f"{name}.weight": torch.randn(channels), f"{name}.bias": torch.randn(channels)}
        state |= {f"{name}.running_mean": torch.ones(channels)}  # as old versions saved
        state |= {f"{name}.running_var": torch.ones(channels)}
    state["deconv3.conv2d.weight"] *= 5
    state["deconv3.conv2d.bias"] += 128
    return state


def test_foreign_weights_match_the_port(tmp_path: Path):
    state = random_port_state(width=4)
    torch.save(state, tmp_path / "port.pth")
    image = torch.rand(2, 3, 48, 64)
    expected = port_forward(state, image * 255).clamp(0, 255) / 255
    assert (expected * (1 - expected) > 0).float().mean() > 0.05  # not all clamped
    result = load(tmp_path / "port.pth", dtype="fp32")(image)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-4)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["candy", "mosaic"])
def test_peers_models_give_their_pictures(name: str):
    from samples import SHARED

    from fst.pictures.image import read_image

    path = SHARED / "data" / "peer_models" / f"{name}_nc16.model"
    photo = next((SHARED / "data" / "photos" / "val").glob("*.jpg"))
    image = read_image(photo)[..., :240, :320]
    state = torch.load(path, weights_only=True)
    expected = port_forward(state, image * 255).clamp(0, 255) / 255
    result = load(path, dtype="fp32")(image)
    torch.testing.assert_close(result, expected, rtol=0, atol=5e-4)  # an eighth of a level


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_that_are_not_finite_are_refused(value: float, suffix: str, tmp_path: Path):
    path = tmp_path / f"a{suffix}"
    if suffix == ".pth":
        state = random_port_state(width=4)
        state["res1.conv2.conv2d.bias"][1] = value
        torch.save(state, path)
    else:
        network = Fast(FastConfig(width=10, residual_blocks=1))
        with torch.no_grad():
            next(network.parameters())[0, 0] = value
        save_model(path, network, describe(network))
    with pytest.raises(UserError, match="not finite numbers"):
        read_model(path)


def with_metadata(stripes: Path, change: dict[str, object]) -> Path:
    """Return a copy of the model whose metadata are changed."""
    with safe_open(stripes, "pt") as file:
        values = json.loads(file.metadata()["fst"])
    path = stripes.with_name("changed.safetensors")
    save_file(load_file(stripes), path, metadata={"fst": json.dumps(values | change)})
    return path


@pytest.mark.parametrize(
    "change",
    [
        {"network": 3}, {"network": None}, {"network": ["fast"]}, {"network": {"fast": 1}},
        {"network_arguments": []}, {"network_arguments": None}, {"network_arguments": "width"},
        {"network_arguments": {"width": [8]}}, {"network_arguments": {"width": {}}},
        {"title": 5}, {"title": None}, {"title": ["a"]}, {"seen_images": "many"},
        {"seen_images": -1}, {"seen_images": 1.5}, {"seen_images": True}, {"losses": [1]},
        {"losses": {"style": "low"}}, {"losses": {"style": None}}, {"losses": {"style": 10**400}},
        {"loss_network": 1}, {"training_config": []}, {"licence": {}}, {"fst_version": 1},
        {"format_version": "1"}, {"format_version": None}, {"format_version": -1},
        {"card": []}, {"card": {"year": 1893}},
    ],
    ids=str,
)  # fmt: skip
def test_metadata_of_a_wrong_type_is_refused(stripes: Path, change: dict[str, object]):
    with pytest.raises(UserError, match="damaged metadata"):
        read_model(with_metadata(stripes, change))


@pytest.mark.parametrize("text", ["", "null", "[]", "3", "{", "[" * 100_000, "NaN", "{}"])
def test_metadata_that_is_not_an_object_is_refused(stripes: Path, text: str):
    path = stripes.with_name("changed.safetensors")
    save_file(load_file(stripes), path, metadata={"fst": text})
    with pytest.raises(UserError, match="damaged metadata"):
        read_model(path)


def test_terminal_escapes_in_metadata_are_replaced(stripes: Path):
    change = {
        "title": "a\x1b[2Jb\u202ec\ud800\n",
        "losses": {"\x07": 1.0},
        "training_config": {"style": {"path": ["\x9b1m"]}},
    }
    info = read_model(with_metadata(stripes, change)).info
    assert info.title == "a\ufffd[2Jb\ufffdc\ufffd\ufffd"
    assert list(info.losses) == ["\ufffd"]
    assert info.training_config == {"style": {"path": ["\ufffd1m"]}}


@pytest.mark.parametrize(
    "arguments",
    [
        {"width": 10_000},
        {"width": 4096},
        {"residual_blocks": 1_000_000},
        {"residual_blocks": 4096},
        {"width": -8},
        {"width": 0},
        {"width": 8.5},
        {"width": float("nan")},
        {"width": "8"},
        {"width": None},
        {"depth": 3},
        {},
    ],
    ids=str,
)
@pytest.mark.parametrize("network", ["fast", "johnson", "unknown"])
def test_a_network_that_is_not_that_of_the_tensors_is_refused_before_it_is_built(
    network: str, arguments: dict[str, object], stripes: Path, monkeypatch: pytest.MonkeyPatch
):
    real = model_file.build_network

    def build(name: str, arguments: dict[str, object]) -> torch.nn.Module:
        assert torch.empty(0).device.type == "meta", "memory would be allocated"
        assert arguments.get("residual_blocks", 0) <= 100, "this would take minutes"
        return real(name, arguments)

    monkeypatch.setattr(model_file, "build_network", build)
    with pytest.raises(UserError):
        read_model(with_metadata(stripes, {"network": network, "network_arguments": arguments}))


def test_a_view_that_claims_more_than_is_stored_is_refused(tmp_path: Path):
    state = random_port_state(width=4)
    for name, width in (("conv2.conv2d.weight", 100_000), ("conv1.conv2d.weight", 3000)):
        inflated = torch.zeros(1).as_strided((width, width, 3, 3), (0, 0, 0, 0))
        torch.save(state | {name: inflated}, tmp_path / "a.pth")
        assert (tmp_path / "a.pth").stat().st_size < 1_000_000
        with pytest.raises(UserError, match="not a dense tensor"):
            read_model(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "nest",
    [
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
        lambda state: {f"module._orig_mod.{key}": value for key, value in state.items()},
        lambda state: {key.replace("conv2d", "module.conv2d"): v for key, v in state.items()},
        lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"state": {0: {"step": 1}}}},
        lambda state: {"model": {"state_dict": {f"module.{k}": v for k, v in state.items()}}},
        lambda state: {"state_dict": {f"net.{key}": value for key, value in state.items()}
                       | {"loss.features.0.weight": torch.zeros(3)}},
    ],
    ids=["DataParallel", "compiled", "both", "inside", "checkpoint", "nested", "lightning"],
)  # fmt: skip
def test_wrapped_and_nested_state_dicts_load_as_the_port_does(nest, tmp_path: Path):
    state = random_port_state(width=4)
    torch.save(state, tmp_path / "plain.pth")
    torch.save(nest(state), tmp_path / "nested.pth")
    expected, found = (
        read_model(tmp_path / name).network.state_dict() for name in ("plain.pth", "nested.pth")
    )
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_checkpoint_of_several_networks_says_which(tmp_path: Path):
    state = random_port_state(width=4)
    torch.save({"model": state, "ema": {"module": dict(state)}}, tmp_path / "a.pth")
    with pytest.raises(UserError, match="several networks, in ema and model"):
        read_model(tmp_path / "a.pth")


def test_a_checkpoint_that_holds_itself_or_one_dict_a_billion_times_is_no_trap(tmp_path: Path):
    state: dict[str, object] = {}
    state["model"] = state
    many = state
    for _ in range(6):
        many = dict.fromkeys(map(str, range(100)), many)
    torch.save(many, tmp_path / "a.pth")
    with pytest.raises(UserError, match="not a state dict of a known"):
        read_model(tmp_path / "a.pth")


def test_a_compressed_checkpoint_is_refused(tmp_path: Path):
    torch.save(random_port_state(width=4), tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as stored,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in stored.namelist():
            bomb.writestr(name, stored.read(name))
        bomb.writestr("archive/data/99", bytes(10_000_000))
    with pytest.raises(UserError, match="unpack to"):
        read_model(tmp_path / "bomb.pth")


@pytest.mark.parametrize(
    "key",
    ["res1", "res.conv1.conv2d.weight", "resx.conv1.conv2d.weight", "res0.in1.bias", "weight",
     "conv9.conv2d.bias", "in9.weight", "res1.conv1.conv2d", "", 3, ("a",), "res٣.in1.bias",
     "res1.conv1.conv2d.weight.weight"],
    ids=str,
)  # fmt: skip
def test_odd_keys_in_a_state_dict_are_refused(key: object, tmp_path: Path):
    torch.save(random_port_state(width=4) | {key: torch.zeros(4)}, tmp_path / "a.pth")
    with pytest.raises(UserError, match="not a state dict of a known"):
        read_model(tmp_path / "a.pth")


@pytest.mark.parametrize("value", [torch.zeros(()), torch.zeros(4, dtype=torch.int32), 3, "text"])
def test_odd_values_in_a_state_dict_are_refused(value: object, tmp_path: Path):
    state = random_port_state(width=4)
    for key in ("conv1.conv2d.weight", "res2.in1.bias"):
        torch.save(state | {key: value}, tmp_path / "a.pth")
        with pytest.raises(UserError):
            read_model(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("styles", "message"),
    [
        ([{"name": "sea"}, {"name": "sea"}], "two styles have one name"),
        ([{"name": "sea"}, {}], "a style has no name"),
        ([{"name": "sea"}, {"name": "a:b"}], "a style has no name, or one with"),
        ([{"name": "sea"}, {"name": 3}], "name has the wrong type"),
        (["sea", "sky"], "styles has the wrong type"),
        ([{"name": name} for name in "abc"], "does not fit the network it names"),
    ],
)
def test_damaged_styles_are_refused(tmp_path: Path, styles, message: str):
    path = tmp_path / "several.safetensors"
    network = StyledNetwork(Fast(FastConfig(width=8, coarse_width=8, coarse_blocks=1)), 2)
    save_model(path, network, describe(network, styles=[StyleInfo("sea"), StyleInfo("sky")]))
    assert read_model(path).in_style("sky").info.title == "sky"
    with pytest.raises(ValueError, match=message):
        read_model(with_metadata(path, {"styles": styles})).in_style("sea")


def test_a_file_of_several_styles_without_palettes_is_refused(tmp_path: Path):
    network = StyledNetwork(Fast(FastConfig(width=8, coarse_width=8, coarse_blocks=1)), 2)
    path = tmp_path / "several.safetensors"
    save_model(path, network, describe(network, styles=[StyleInfo("sea"), StyleInfo("sky")]))
    tensors = load_file(path)
    del tensors["palettes"]
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["fst"])["format_version"] == 3
    older = tmp_path / "older.safetensors"  # not the file that the tensors are mapped from
    save_file(tensors, older, metadata=metadata)
    with pytest.raises(ValueError, match="palettes .the file lacks it"):
        read_model(older).in_style("sea")


@pytest.mark.parametrize("predicts", [True, False])
def test_codes_and_mapper_are_as_large_as_in_the_file(tmp_path: Path, predicts: bool):
    network = Fast(FastConfig(width=8, coarse_width=8, coarse_blocks=1))
    styled = StyledNetwork(network, 1, predicts, code_size=5, hidden=7)
    info = describe(styled, styles=[StyleInfo("sea")], predictor_px=64 * predicts)
    path = tmp_path / "small.safetensors"
    save_model(path, styled, info)
    loaded = read_model(path).network
    assert isinstance(loaded, StyledNetwork)
    assert loaded.sizes == (5, 7)
    assert torch.equal(loaded.vectors(), styled.vectors())
    tensors, metadata = load_file(path), {"fst": json.dumps(dataclasses.asdict(info))}
    for mapper in (torch.zeros(0, 5), torch.zeros(7), torch.zeros(7, 4)):
        other = tmp_path / "other.safetensors"  # not the file that the tensors are mapped from
        save_file(tensors | {"mapper.0.weight": mapper}, other, metadata=metadata)
        with pytest.raises(ValueError, match="does not fit the network it names"):
            read_model(other)
