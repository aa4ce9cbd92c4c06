"""Regularized methods: models that limit how much space can have low energy."""

from __future__ import annotations

from ebm.regularized.amortized import ELBO, Amortized, VariationalBound
from ebm.regularized.contractive import ContractiveAutoEncoder, SigmoidEncoder
from ebm.regularized.convolutional_reconstruction import ConvolutionalReconstruction
from ebm.regularized.convolutional_sparse_coding import ConvolutionalSparseCoding
from ebm.regularized.distributions import Categorical, DiagonalGaussian
from ebm.regularized.fast_ica import FastICA
from ebm.regularized.finite_scalar import FiniteScalarQuantization
from ebm.regularized.flow import Flow
from ebm.regularized.gaussian_mixture import GaussianMixture
from ebm.regularized.hidden_markov import CategoricalEmission, GaussianEmission, HiddenMarkov
from ebm.regularized.k_means import KMeans
from ebm.regularized.latent_predictor import LatentPredictor, WithLatent
from ebm.regularized.likelihood import BernoulliLikelihood, GaussianLikelihood, Likelihood
from ebm.regularized.lista import LISTA
from ebm.regularized.mixture_regression import MixtureRegression
from ebm.regularized.noisy_autoencoder import NoisyAutoEncoder
from ebm.regularized.pca import PCA
from ebm.regularized.ppca import ProbabilisticPCA
from ebm.regularized.quantizer import Quantizer
from ebm.regularized.reconstruction import Reconstruction
from ebm.regularized.residual_quantization import ResidualQuantization
from ebm.regularized.saturating import SaturatingAutoEncoder
from ebm.regularized.sparse_autoencoder import SparseAutoEncoder
from ebm.regularized.sparse_autoencoder_loss import DeadReconstruction, GateReconstruction, Revive
from ebm.regularized.sparse_coding import SparseCoding
from ebm.regularized.square_ica import SquareICA
from ebm.regularized.state_space import StateSpace
from ebm.regularized.vae import VAE, CategoricalVAE
from ebm.regularized.variational import categorical_free_energy, gaussian_free_energy
from ebm.regularized.vector_quantization import VectorQuantization
from ebm.regularized.vq_vae import VQVAE, QuantizedLoss

__all__ = [
    "ELBO",
    "LISTA",
    "PCA",
    "VAE",
    "VQVAE",
    "Amortized",
    "BernoulliLikelihood",
    "Categorical",
    "CategoricalEmission",
    "CategoricalVAE",
    "ContractiveAutoEncoder",
    "ConvolutionalReconstruction",
    "ConvolutionalSparseCoding",
    "DeadReconstruction",
    "DiagonalGaussian",
    "FastICA",
    "FiniteScalarQuantization",
    "Flow",
    "GateReconstruction",
    "GaussianEmission",
    "GaussianLikelihood",
    "GaussianMixture",
    "HiddenMarkov",
    "KMeans",
    "LatentPredictor",
    "Likelihood",
    "MixtureRegression",
    "NoisyAutoEncoder",
    "ProbabilisticPCA",
    "QuantizedLoss",
    "Quantizer",
    "Reconstruction",
    "ResidualQuantization",
    "Revive",
    "SaturatingAutoEncoder",
    "SigmoidEncoder",
    "SparseAutoEncoder",
    "SparseCoding",
    "SquareICA",
    "StateSpace",
    "VariationalBound",
    "VectorQuantization",
    "WithLatent",
    "categorical_free_energy",
    "gaussian_free_energy",
]
