"""The frozen VGG16: names, scale, and where its weights come from."""

import os
import re
import statistics
import zipfile
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from fst.config import VGG16_LAYERS, SlimConfig, Vgg16Config
from fst.errors import UserError
from fst.losses.loss_network import load_loss_network
from fst.losses.vgg import VGG16, deepest, fetch_weights, load_vgg16

TO_RELU3_3 = VGG16_LAYERS[:7]


def test_layers_are_those_of_torchvision_s_vgg16(random_vgg: Path):
    from torchvision.models import vgg16

    reference = vgg16().features[:16].eval()
    reference.load_state_dict({k[9:]: v for k, v in load_file(random_vgg).items()})
    image = torch.rand(1, 3, 36, 44)
    mean = 255 * torch.tensor([0.48235, 0.45882, 0.40784])[:, None, None]
    x, expected = 255 * image - mean, {}
    for i, module in enumerate(reference):
        x = module(x)
        expected[i] = x.clone()
    features = load_vgg16(random_vgg, "relu3_3", verify=False)(image, TO_RELU3_3)
    for layer, index in zip(TO_RELU3_3, (1, 3, 6, 8, 11, 13, 15), strict=True):
        torch.testing.assert_close(features[layer], expected[index], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("network", ["vgg16", "slim"])
def test_a_flat_picture_has_the_same_features_up_to_its_border(random_vgg: Path, network: str):
    def features(**padding: str) -> torch.Tensor:
        config = (
            SlimConfig(**padding)
            if network == "slim"
            else Vgg16Config(weights=str(random_vgg), verify=False, **padding)
        )
        return load_loss_network(config, ["relu3_3"])(torch.ones(1, 3, 48, 64), ["relu3_3"])[
            "relu3_3"
        ]

    centre = features(padding="zeros")[..., 6:7, 8:9]
    torch.testing.assert_close(features(), centre.expand(-1, -1, 12, 16))
    assert not torch.allclose(features(padding="zeros"), centre, rtol=0.05)


def test_only_the_layers_up_to_the_deepest_are_kept_and_run(random_vgg: Path):
    vgg = load_vgg16(random_vgg, "relu2_2", verify=False)
    assert len(vgg.convolutions) == 4
    ran = []
    for name, module in vgg.convolutions.items():
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
    assert vgg(torch.rand(1, 3, 8, 8), ["relu1_2"]).keys() == {"relu1_2"}
    assert ran == ["relu1_1", "relu1_2"]
    assert deepest(["relu3_1", "relu1_2", "relu2_2"]) == "relu3_1"


def test_it_is_frozen_but_lets_gradients_through(random_vgg: Path):
    vgg = load_vgg16(random_vgg, "relu1_2", verify=False)
    image = torch.rand(1, 3, 8, 8, requires_grad=True)
    vgg(image, ["relu1_2"])["relu1_2"].sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in vgg.parameters())


def test_state_dicts_of_torch_load_as_well(random_vgg: Path, tmp_path: Path):
    torch.save(load_file(random_vgg), tmp_path / "vgg.pth")
    image = torch.rand(1, 3, 16, 16)
    both = [
        load_vgg16(p, "relu3_3", False)(image, ["relu3_3"])
        for p in (random_vgg, tmp_path / "vgg.pth")
    ]
    assert torch.equal(both[0]["relu3_3"], both[1]["relu3_3"])


def test_other_weights_missing_layers_and_other_files_are_refused(random_vgg: Path, tmp_path: Path):
    with pytest.raises(ValueError, match="does not hold the Oxford weights.*relu1_1 differs"):
        load_vgg16(random_vgg, "relu3_3")
    with pytest.raises(ValueError, match=r"no features.17.weight \(relu4_1\).*up to relu4_3"):
        load_vgg16(random_vgg, "relu4_3", verify=False)
    tensors = load_file(random_vgg)
    tensors["features.0.weight"] = tensors["features.0.weight"][:32].contiguous()
    save_file(tensors, tmp_path / "narrow.safetensors")
    with pytest.raises(ValueError, match="is not VGG16: features.0.weight has shape"):
        load_vgg16(tmp_path / "narrow.safetensors", "relu3_3")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(ValueError, match="not a weights file"):
        load_vgg16(tmp_path / "text.pth", "relu3_3")
    (tmp_path / "cut.safetensors").write_bytes(random_vgg.read_bytes()[:5000])
    with pytest.raises(ValueError, match="cannot read weights from"):
        load_vgg16(tmp_path / "cut.safetensors", "relu3_3")


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (lambda weight: weight.to_sparse(), "is not a dense tensor of floats"),
        (lambda weight: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8), "is not a dense"),
        (lambda weight: weight.to(torch.int32), "is not a dense tensor of floats"),
        (lambda weight: weight.new_zeros(1).expand_as(weight), "is not a dense tensor"),
        (lambda weight: torch.full_like(weight, torch.nan), "values that are not finite"),
    ],
    ids=["sparse", "quantized", "integers", "view", "NaN"],
)
@pytest.mark.parametrize("key", ["features.5.weight", "features.17.weight"])
def test_odd_tensors_are_refused(key: str, odd, message: str, random_vgg: Path, tmp_path: Path):
    state = load_file(random_vgg) | {"features.17.weight": torch.ones(512, 256, 3, 3)}
    state |= {"features.17.bias": torch.ones(512)}
    torch.save(state | {key: odd(state[key])}, tmp_path / "vgg.pth")
    with pytest.raises(UserError, match=f"{re.escape(key)}.*{message}"):
        load_vgg16(tmp_path / "vgg.pth", "relu4_1", verify=False)


def test_a_zip_bomb_is_refused_before_it_unpacks(random_vgg: Path, tmp_path: Path):
    torch.save(load_file(random_vgg), tmp_path / "vgg.pth")
    with (
        zipfile.ZipFile(tmp_path / "vgg.pth") as stored,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in stored.namelist():
            content = stored.read(name)
            bomb.writestr(name, content if len(content) < 100_000 else bytes(len(content)))
    with pytest.raises(UserError, match="unpack to"):
        load_vgg16(tmp_path / "bomb.pth", "relu3_3", verify=False)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_pipe_is_refused_instead_of_waited_for(suffix: str, tmp_path: Path):
    os.mkfifo(tmp_path / f"pipe{suffix}")
    with pytest.raises(UserError, match="is not a regular file"):
        load_vgg16(tmp_path / f"pipe{suffix}", "relu3_3")


def test_weights_inside_a_checkpoint_or_of_data_parallel_load(random_vgg: Path, tmp_path: Path):
    state = load_file(random_vgg)
    wrapped = {key.replace("features.", "features.module."): v for key, v in state.items()}
    torch.save({"epoch": 90, "state_dict": wrapped}, tmp_path / "vgg.pth")
    found = load_vgg16(tmp_path / "vgg.pth", "relu3_3", verify=False)
    assert torch.equal(found.convolutions["relu3_3"].weight, state["features.14.weight"])


def test_settings_are_advised_only_where_there_are_settings(random_vgg: Path):
    with pytest.raises(ValueError, match="relu1_1 differs") as plain:
        load_vgg16(random_vgg, "relu3_3")
    assert "loss_network" not in str(plain.value)
    with pytest.raises(ValueError, match=r"loss_network\.verify=false accepts them"):
        load_loss_network(Vgg16Config(weights=str(random_vgg)), ["relu3_3"])


def test_without_network_the_error_names_the_ways_out(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("FST_CACHE", str(tmp_path / "cache"))

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    with pytest.raises(FileNotFoundError) as caught:
        load_loss_network(Vgg16Config(), ["relu3_3"])
    message = str(caught.value)
    assert "loss_network.weights=FILE" in message
    assert "https://download.pytorch.org/models/vgg16_features-amdegroot-88682ab5.pth" in message
    assert "HTTPS_PROXY" in message
    assert "loss_network=slim" in message
    assert not list((tmp_path / "cache").iterdir())  # nothing half-downloaded stays


def test_a_download_is_cut_to_the_convolutions_and_cached(
    random_vgg: Path, tmp_path: Path, monkeypatch
):
    monkeypatch.setenv("FST_CACHE", str(tmp_path))
    calls = []

    def download(url: str, target: str, hash_prefix: str) -> None:
        calls.append(hash_prefix)
        torch.save(load_file(random_vgg) | {"classifier.0.weight": torch.zeros(9, 9)}, target)

    monkeypatch.setattr("torch.hub.download_url_to_file", download)
    for _ in range(2):
        path = fetch_weights()
    assert calls == ["88682ab5"]
    assert load_file(path).keys() == load_file(random_vgg).keys()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.shared
def test_the_published_weights_are_recognised_and_their_features_have_their_size():
    from samples import SHARED

    from fst.pictures.image import read_image, resize

    path = SHARED / "data" / "vgg16" / "vgg16_conv1_1_to_conv3_3.safetensors"
    vgg = load_vgg16(path, "relu3_3")
    photos = sorted((SHARED / "data" / "photos" / "val").glob("*.jpg"))
    small = [resize(read_image(photo), 256) for photo in photos[:6]]
    means = [vgg(photo, ["relu3_3"])["relu3_3"].mean().item() for photo in small]
    assert 120 < statistics.median(means) < 220  # about 180 on a photograph


def test_preprocessing_belongs_to_vgg_alone():
    vgg = VGG16("relu1_1")
    torch.nn.init.zeros_(vgg.convolutions["relu1_1"].bias)
    weight = vgg.convolutions["relu1_1"].weight
    grey = torch.rand(1, 3, 5, 5)
    expected = F.conv2d(255 * grey - vgg.mean_rgb, weight, padding=1).relu()
    torch.testing.assert_close(vgg(grey, ["relu1_1"])["relu1_1"], expected)
