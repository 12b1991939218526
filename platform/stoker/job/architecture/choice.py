"""The network families by name; a family's module in `architectures/` has the name of its settings here."""

from typing import Annotated

from pydantic import Field

from stoker.job.architecture.autoencoder import Autoencoder
from stoker.job.architecture.backbone import BackboneClassifier
from stoker.job.architecture.captioner import Captioner
from stoker.job.architecture.cnn import Cnn
from stoker.job.architecture.custom import Custom
from stoker.job.architecture.detector import Detector
from stoker.job.architecture.diffusion import Diffusion
from stoker.job.architecture.feature_distance import FeatureDistance
from stoker.job.architecture.gan import Gan
from stoker.job.architecture.mlp import Mlp
from stoker.job.architecture.perceptron import Perceptron
from stoker.job.architecture.pretrained import Pretrained
from stoker.job.architecture.rnn import Rnn
from stoker.job.architecture.tabular_diffusion import TabularDiffusion
from stoker.job.architecture.torchvision_detector import TorchvisionDetector
from stoker.job.architecture.transformer import Transformer
from stoker.job.architecture.unet import Unet
from stoker.job.architecture.vae import Vae
from stoker.job.architecture.vit import Vit
from stoker.job.section import Section, Shorthand

Architecture = Annotated[
    Perceptron
    | Mlp
    | Cnn
    | Unet
    | Detector
    | TorchvisionDetector
    | Vit
    | BackboneClassifier
    | Autoencoder
    | FeatureDistance
    | Captioner
    | Rnn
    | Transformer
    | Pretrained
    | Gan
    | Vae
    | Diffusion
    | TabularDiffusion
    | Custom,
    Field(discriminator="family"),
]
ArchitectureChoice = Annotated[Architecture, Shorthand("family")]
FAMILIES: dict[str, type[Section]] = {
    "perceptron": Perceptron,
    "mlp": Mlp,
    "cnn": Cnn,
    "unet": Unet,
    "detector": Detector,
    "torchvision-detector": TorchvisionDetector,
    "vit": Vit,
    "backbone": BackboneClassifier,
    "autoencoder": Autoencoder,
    "feature-distance": FeatureDistance,
    "captioner": Captioner,
    "rnn": Rnn,
    "transformer": Transformer,
    "pretrained": Pretrained,
    "gan": Gan,
    "vae": Vae,
    "diffusion": Diffusion,
    "tabular-diffusion": TabularDiffusion,
    "custom": Custom,
}
