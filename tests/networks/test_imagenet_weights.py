# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from medwsss.networks import DeepLabV3Plus, ViTLinear, load_imagenet_weights
from tests.networks import published, reference

SMALL = {"hidden_size": 24, "mlp_dim": 40, "num_layers": 2, "num_heads": 3}
SMALL_SHAPES = published.vit(width=24, hidden=40, depth=2, patch=8, patches=9)
MOBILE = published.forge(published.mobilenet_v2())
COUNTERS = 51  # of batches: a MobileNetV2 without its last convolution has so many normalisations


def small_vit(img_size=24, in_channels: int = 3, patch_size: int = 8) -> ViTLinear:
    return ViTLinear(2, in_channels, 4, img_size, patch_size, **SMALL).eval()


def mobile(in_channels: int = 3, spatial_dims: int = 2) -> DeepLabV3Plus:
    return DeepLabV3Plus(spatial_dims, in_channels, 4, "mobilenet_v2").eval()


@pytest.fixture
def saved(tmp_path):
    def save(content, name: str = "weights.pth"):
        path = tmp_path / name
        if path.suffix == ".safetensors":
            save_file(content, path)
        else:
            torch.save(content, path)
        return path

    return save


@pytest.mark.parametrize(
    ("shapes", "count"),
    [
        (published.resnet(published.RESNET50), 25_557_032),
        (published.hugging_face_resnet(published.RESNET50), 25_557_032),
        (published.resnet(published.RESNET101), 44_549_160),
        (published.mobilenet_v2(), 3_504_872),
        (published.timm_mobilenet_v2(), 3_504_872),
        (published.vit(), 86_567_656),
    ],
)
def test_the_forged_files_have_the_published_number_of_parameters(shapes, count):
    assert published.parameters(shapes) == count


def test_shapes_of_the_published_transformer():
    backbone = ViTLinear(2, 3, 4, img_size=224).backbone
    ours = sorted(tuple(weight.shape) for weight in backbone.state_dict().values())
    assert ours == sorted(shape for name, shape in published.vit().items() if not name.startswith("heads."))


@pytest.mark.parametrize(
    ("backbone", "shapes", "skipped"),
    [
        ("resnet50", published.resnet(published.RESNET50), 2),
        ("resnet50", published.hugging_face_resnet(published.RESNET50), 2),
        ("resnet101", published.resnet(published.RESNET101), 2),
        ("mobilenet_v2", published.mobilenet_v2(), 8),
        ("mobilenet_v2", published.timm_mobilenet_v2(), 8),
    ],
    ids=["resnet50", "resnet50-hf", "resnet101", "mobilenet_v2", "mobilenet_v2-timm"],
)
def test_convolutional_layouts(saved, backbone, shapes, skipped):
    weights = published.forge(shapes)
    network = DeepLabV3Plus(2, 3, 4, backbone)
    report = load_imagenet_weights(network, saved(weights, "weights.safetensors"))
    assert len(report.loaded) == len(shapes) - skipped == len(network.backbone.state_dict())
    assert len(report.skipped) == skipped
    assert not report.mismatched + report.missing + report.unknown + report.adapted
    # torchvision's names are ours, and all layouts list the same weights in the same order
    ours = published.mobilenet_v2() if backbone == "mobilenet_v2" else published.resnet(depths(backbone))
    expected = dict(zip(ours, weights.values(), strict=True))
    for name, weight in network.backbone.state_dict().items():
        assert weight.equal(expected[name]), name


def depths(backbone: str) -> tuple[int, ...]:
    return published.RESNET101 if backbone == "resnet101" else published.RESNET50


def patch_tokens(network: ViTLinear, x: Tensor) -> Tensor:
    return network.backbone(x).flatten(2).transpose(1, 2)


@pytest.mark.parametrize("layout", ["torchvision", "torchvision-2021", "timm", "hugging-face", "vit-model"])
@torch.no_grad()
def test_transformer_layouts(saved, layout):
    """The loaded network computes what is computed from torchvision's weights by hand."""
    weights = published.forge(SMALL_SHAPES)
    named = {
        "torchvision": weights,
        # files from before torchvision 0.12's MLP
        "torchvision-2021": {
            k.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2"): w for k, w in weights.items()
        },
        "timm": published.timm_vit(weights, depth=2),
        "hugging-face": published.hugging_face_vit(weights, depth=2),
        "vit-model": {k.removeprefix("vit."): w for k, w in published.hugging_face_vit(weights, depth=2).items()},
    }[layout]
    network = small_vit()
    report = load_imagenet_weights(network, saved(named))
    assert len(report.loaded) == len(network.backbone.state_dict())
    assert len(report.skipped) == 2
    x = torch.randn(2, 3, 24, 24)
    torch.testing.assert_close(patch_tokens(network, x), reference.vit(weights, x, heads=3, depth=2)[:, 1:])


@torch.no_grad()
def test_positions_of_another_image_size(saved):
    weights = published.forge(SMALL_SHAPES)
    network = small_vit(img_size=(24, 48))
    report = load_imagenet_weights(network, saved(weights))
    assert report.adapted == ["position_embedding"]
    positions = network.backbone.position_embedding
    published_positions = weights["encoder.pos_embedding"]
    assert positions.shape == (1, 1 + 3 * 6, 24)
    assert positions[:, 0].equal(published_positions[:, 0])
    # twice the columns: pairs of columns lie a quarter before and after the middle of a published one
    grid, old = positions[0, 1:].reshape(3, 6, 24), published_positions[0, 1:].reshape(3, 3, 24)
    torch.testing.assert_close(grid[:, 2], 0.75 * old[:, 1] + 0.25 * old[:, 0])
    torch.testing.assert_close(grid[:, 3], 0.75 * old[:, 1] + 0.25 * old[:, 2])


@pytest.mark.parametrize(
    "wrap", [lambda w: {"state_dict": w, "epoch": 3}, lambda w: {f"module.backbone.{k}": v for k, v in w.items()}]
)
def test_wrapped_files(saved, wrap):
    assert len(load_imagenet_weights(mobile(), saved(wrap(MOBILE))).loaded) == len(MOBILE) - 8


def test_half_precision_and_no_counters(saved):
    old = {name: weight.half() for name, weight in MOBILE.items() if not name.endswith("num_batches_tracked")}
    network = mobile()
    report = load_imagenet_weights(network, saved(old))
    assert len(report.loaded) == len(MOBILE) - 8 - COUNTERS
    assert network.backbone.features[0][0].weight.dtype == torch.float32


def test_other_input_channels(saved):
    path, network = saved(MOBILE), mobile(in_channels=1)
    before = network.backbone.features[0][0].weight.clone()
    report = load_imagenet_weights(network, path)
    assert report.mismatched == ["features.0.0.weight: file (32, 3, 3, 3), network (32, 1, 3, 3)"]
    assert "1 mismatched (features.0.0.weight" in str(report)
    assert network.backbone.features[0][0].weight.equal(before)
    assert network.backbone.features[0][1].running_mean.equal(MOBILE["features.0.1.running_mean"])


@pytest.mark.parametrize("channels", [1, 4])
@torch.no_grad()
def test_adapted_input_answers_alike_to_grey_images(saved, channels):
    path, grey, rgb = saved(MOBILE), mobile(in_channels=channels), mobile()
    report = load_imagenet_weights(grey, path, adapt_input=True)
    load_imagenet_weights(rgb, path)
    assert report.adapted == ["features.0.0.weight"] and not report.mismatched
    x = torch.randn(1, 1, 17, 17)
    features = [n.backbone(x.expand(1, c, 17, 17))[-1] for n, c in ((grey, channels), (rgb, 3))]
    torch.testing.assert_close(*features, rtol=1e-4, atol=1e-4)


def without(weights: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    return {name: weight for name, weight in weights.items() if name not in names}


@pytest.mark.parametrize(
    ("network", "weights", "message"),
    [
        (mobile, {}, r"got weights of .*: 0 loaded, 255 missing"),
        (mobile, published.forge(SMALL_SHAPES), r"0 loaded, 255 missing .*, 32 unknown"),
        (mobile, without(MOBILE, "features.3.conv.2.weight"), r"1 missing \(features.3.conv.2.weight\)"),
        (mobile, {**MOBILE, "features.19.weight": torch.ones(3)}, r"1 unknown \(features.19.weight\)"),
        (
            mobile,
            {**MOBILE, "features.3.conv.3.bias": torch.ones(3)},
            r"features.3.conv.3.bias: file \(3,\), network \(24,\)",
        ),
        (lambda: mobile(spatial_dims=3), MOBILE, r"51 mismatched \(features.0.0.weight: file \(32, 3, 3, 3\), .*, …\)"),
        (lambda: small_vit(patch_size=6), published.forge(SMALL_SHAPES), "patch_embedding.weight: file"),
        (
            small_vit,
            without(
                published.hugging_face_vit(published.forge(SMALL_SHAPES), 2),
                "vit.encoder.layer.1.attention.attention.key.bias",
            ),
            r"1 missing \(layers.1.self_attn.in_proj_bias\), 2 unknown",
        ),
    ],
    ids=["empty", "vit", "missing", "further", "shape", "3-D", "patch", "no key"],
)
def test_refused_with_the_report(saved, network, weights, message):
    network = network()
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    path = saved(weights)
    with pytest.raises(ValueError, match=message) as caught:
        load_imagenet_weights(network, path)
    assert str(path) in str(caught.value)
    assert all(weight.equal(before[name]) for name, weight in network.state_dict().items())


@pytest.mark.parametrize(("file", "network"), [("resnet50", "resnet101"), ("resnet101", "resnet50")])
def test_the_other_residual_network_is_refused(saved, file, network):
    path = saved({name: torch.zeros(()).expand(shape) for name, shape in published.resnet(depths(file)).items()})
    with pytest.raises(ValueError, match="missing" if network == "resnet101" else "unknown"):
        load_imagenet_weights(DeepLabV3Plus(2, 3, 4, network), path)


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_unreadable_files(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ValueError, match=f"expected a state dict in .*{name}"):
        load_imagenet_weights(small_vit(), path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        load_imagenet_weights(small_vit(), path)


def test_files_of_other_things(saved):
    with pytest.raises(ValueError, match="expected a state dict in .*cannot be read"):
        load_imagenet_weights(small_vit(), saved(nn.Linear(2, 2)))  # a whole module: code, which is not run
    with pytest.raises(ValueError, match="expected a state dict in .*got list"):
        load_imagenet_weights(small_vit(), saved([torch.ones(2)]))
    with pytest.raises(ValueError, match="backbone"):
        load_imagenet_weights(nn.Linear(2, 2), saved(MOBILE))


@pytest.mark.parametrize("name", ["resnet50", "resnet101", "mobilenet_v2"])
@torch.no_grad()
def test_torchvision(saved, name):
    models = pytest.importorskip("torchvision.models")
    theirs = models.get_model(name).eval().double()
    network = DeepLabV3Plus(2, 3, 4, name).eval().double()
    load_imagenet_weights(network, saved(theirs.state_dict()))
    x = torch.randn(1, 3, 97, 66, dtype=torch.float64)
    features = theirs.features[:18](x) if name == "mobilenet_v2" else nn.Sequential(*list(theirs.children())[:-2])(x)
    torch.testing.assert_close(network.backbone(x)[-1][..., ::2, ::2], features)


@pytest.mark.parametrize("package", ["torchvision.models", "timm"])
@torch.no_grad()
def test_transformers_of_other_packages(saved, package):
    models = pytest.importorskip(package)
    if package == "timm":
        theirs = models.create_model("vit_base_patch16_224").eval()
        tokens = theirs.forward_features
    else:
        theirs = models.vit_b_16().eval()

        def tokens(x: Tensor) -> Tensor:
            x = theirs._process_input(x)
            return theirs.encoder(torch.cat([theirs.class_token.expand(len(x), -1, -1), x], dim=1))

    network = ViTLinear(2, 3, 4, img_size=224).eval()
    load_imagenet_weights(network, saved(theirs.state_dict()))
    x = torch.randn(1, 3, 224, 224)
    torch.testing.assert_close(patch_tokens(network, x), tokens(x)[:, 1:], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet50", "mobilenetv2_100"])
@torch.no_grad()
def test_timm(saved, name):
    theirs = pytest.importorskip("timm").create_model(name).eval().double()
    network = DeepLabV3Plus(2, 3, 4, "resnet50" if name == "resnet50" else "mobilenet_v2").eval().double()
    load_imagenet_weights(network, saved(theirs.state_dict()))
    x = torch.randn(1, 3, 97, 66, dtype=torch.float64)
    features = theirs.forward_features(x) if name == "resnet50" else theirs.blocks(theirs.bn1(theirs.conv_stem(x)))
    torch.testing.assert_close(network.backbone(x)[-1][..., ::2, ::2], features)


@torch.no_grad()
def test_hugging_face(tmp_path):
    """As ``save_pretrained`` writes them, whose keys are not those in memory."""
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 3}
    config = transformers.ViTConfig(**sizes, image_size=24, patch_size=8, layer_norm_eps=1e-6, num_labels=1000)
    vit = transformers.ViTForImageClassification(config).eval()
    vit.save_pretrained(tmp_path / "vit")
    network, x = small_vit(), torch.randn(2, 3, 24, 24)
    load_imagenet_weights(network, tmp_path / "vit" / "model.safetensors")
    torch.testing.assert_close(patch_tokens(network, x), vit.vit(x).last_hidden_state[:, 1:])

    resnet = transformers.ResNetForImageClassification(transformers.ResNetConfig(num_labels=1000)).eval()
    resnet.save_pretrained(tmp_path / "resnet")
    network, x = DeepLabV3Plus(2, 3, 4, "resnet50").eval().double(), torch.randn(1, 3, 97, 66, dtype=torch.float64)
    load_imagenet_weights(network, tmp_path / "resnet" / "model.safetensors")
    expected = resnet.double().resnet(x).last_hidden_state
    torch.testing.assert_close(network.backbone(x)[-1][..., ::2, ::2], expected)
